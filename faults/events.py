"""What is sent: transactions and records that are none, each with what it means; nothing here decodes."""

from __future__ import annotations

import base64
import hmac
import json
import random
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import msgspec

from features.partition import home_partition

PAN_KEY: Final = "fault-matrix-0123456789abcdef-0123"
"""Key of the card-number tokens in every row."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


class Event(msgspec.Struct, frozen=True, gc=False):
    """A transaction as it must come out of decoding.

    Attributes:
        card: card id as stored; a card number is its token here.
        transaction_id: unique per card, but for copies.
        event_ms: the event's own time.
        amount_minor: in minor units of `currency`, which has `exponent` decimals.
        original: what a reversal takes back; None on an authorization.
        last4: last digits of a card number.
        dropped: optional fields that are sent unfit.
    """

    card: str
    transaction_id: str
    event_ms: int
    amount_minor: int
    currency: str
    exponent: int
    original: str | None = None
    mcc: str | None = None
    country: str | None = None
    last4: str | None = None
    dropped: tuple[str, ...] = ()


class Planned(msgspec.Struct, frozen=True, gc=False):
    """A record to publish.

    Attributes:
        value: its bytes; what they mean is `event`, or, of no transaction, the dead letter's `reason`.
        key: of the record.
        partition: where its producer puts it.
        home: partition where its card's order counts; -1 of no transaction.
        secret: digits that must not appear in anything published.
    """

    value: bytes | None
    key: bytes | None
    partition: int
    home: int = -1
    event: Event | None = None
    reason: str = ""
    secret: bytes | None = None


def rfc3339(ts_ms: int) -> str:
    """Epoch milliseconds as the outcomes spell them.

    >>> rfc3339(1_700_000_000_123)
    '2023-11-14T22:13:20.123Z'
    """
    return (_EPOCH + ts_ms * _MILLISECOND).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def token(digits: str) -> str:
    """The stored id of a card number, worked out from the contract's words."""
    mac = hmac.digest(PAN_KEY.encode(), digits.encode(), "sha256")
    return "tok_" + base64.b32encode(mac).decode().rstrip("=").lower()


def card_number(serial: int) -> str:
    """A card number of a made-up issuer: 16 digits that pass Luhn.

    >>> card_number(7)
    '4000990000000079'
    """
    body = f"400099{serial:09d}"
    doubled = (int(d) * 2 if at % 2 == 0 else int(d) for at, d in enumerate(body))
    total = sum(d - 9 if d > 9 else d for d in doubled)
    return f"{body}{-total % 10}"


class Speller:
    """Spells events as records, in various ways that all mean the same.

    Args:
        rng: chooses the spelling.
        partitions: of the topic.
    """

    def __init__(self, rng: random.Random, partitions: int) -> None:
        self._rng, self._partitions = rng, partitions

    def plan(self, event: Event, *, digits: str = "", stray: bool = False) -> Planned:
        """The event as a record, keyed by its card id as sent.

        Args:
            event: what it means.
            digits: the card number, where the card has one.
            stray: from a producer that partitions otherwise: by CRC32, or at random without a key.
        """
        sent = self._grouped(digits) if digits else event.card
        home = home_partition((digits or event.card).encode(), self._partitions)
        key: bytes | None = sent.encode()
        partition = home_partition(sent.encode(), self._partitions)
        if stray and self._rng.random() < 0.5:
            partition = zlib.crc32(sent.encode()) % self._partitions
        elif stray:
            key, partition = None, self._rng.randrange(self._partitions)
        secret = digits.encode() if digits else None
        return Planned(self._json(event, sent), key, partition, home, event, secret=secret)

    def bad(self) -> Planned:
        """A record that is no transaction."""
        reason, value, key = self._rng.choice(BAD)(self._rng)
        partition = self._rng.randrange(self._partitions)
        return Planned(value, key, partition, reason=reason, secret=_LEAKED.encode())

    def _grouped(self, digits: str) -> str:
        style = self._rng.choice(("", " ", "-", "odd"))
        if style == "odd":
            return f"{digits[:1]} {digits[1:9]}-{digits[9:]}"
        return style.join(digits[at : at + 4] for at in range(0, 16, 4))

    def _json(self, event: Event, card: str) -> bytes:
        amount = format(Decimal(event.amount_minor).scaleb(-event.exponent), "f")
        text = self._rng.random() < 0.5
        fields: dict[str, Any] = {
            "transaction_id": event.transaction_id,
            "card_id": card,
            "amount": amount if text else msgspec.Raw(amount.encode()),
            "currency": event.currency,
            "event_time": event.event_ms if self._rng.random() < 0.3 else rfc3339(event.event_ms),
            "merchant_category": event.mcc,
            "country": event.country,
        }
        if event.original is not None:
            fields |= {"type": "reversal", "original_transaction_id": event.original}
        fields = {name: value for name, value in fields.items() if value is not None}
        fields |= dict.fromkeys(event.dropped, 7)
        if event.dropped:
            fields["x_unknown"] = {"amount": [1, None, "\u00e9"], "card_id": 7}
        return msgspec.json.encode(fields)


_LEAKED: Final = card_number(123_456)
"""A card number inside records that are no transactions: dead letters must not show it."""

_GOOD: Final[dict[str, Any]] = {
    "transaction_id": "bad", "card_id": "nobody", "amount": "1.00", "currency": "EUR", "event_time": 1_700_000_000_000,
}  # fmt: skip

_Bad = tuple[str, bytes | None, bytes | None]


def _changed(reason: str, name: str, *values: object) -> Callable[[random.Random], _Bad]:
    def make(rng: random.Random) -> _Bad:
        fields = {**_GOOD, name: rng.choice(values), "note": f"{_LEAKED} {rng.random()}"}
        return reason, json.dumps(fields).encode(), b"key"

    return make


def _raw(reason: str, *values: bytes | None) -> Callable[[random.Random], _Bad]:
    return lambda rng: (reason, rng.choice(values), None)


def _missing(rng: random.Random) -> _Bad:
    left_out = rng.choice(tuple(_GOOD))
    return "missing_field", json.dumps({k: v for k, v in _GOOD.items() if k != left_out}).encode(), _LEAKED.encode()


def _too_large(rng: random.Random) -> _Bad:
    # Most are small, so that they do not outweigh everything else that is sent.
    if rng.random() < 0.9:
        return _missing(rng)
    return "too_large", json.dumps({**_GOOD, "filler": "x" * 263_000}).encode(), None


BAD: Final[tuple[Callable[[random.Random], _Bad], ...]] = (
    _raw("empty", None, b""),
    _raw("not_json", b"{", b"not json", b"\x00", b'{"a": NaN}', b"\xff\xfe", b"[" * 150 + b"]" * 150),
    _raw("not_json", f'{{"card_id": "{_LEAKED}"'.encode(), f"4{_LEAKED[1:4]} {_LEAKED[4:]}".encode() + b"\xff"),
    _raw("not_object", b"[]", b"7", b'"text"', b"null", b"true"),
    _missing,
    _too_large,
    _changed("bad_type", "card_id", 5, None, ["c"]),
    _changed("bad_type", "amount", None, [1], {}),
    _changed("bad_id", "transaction_id", "", "x" * 129, "a\x00b", "a\nb"),
    _changed("bad_amount", "amount", "0", "-1", "12,5", "1e16", "", " 1", "abc"),
    _changed("bad_currency", "currency", "EURO", "eur", "XAU", ""),
    _changed("bad_time", "event_time", "yesterday", -1, "2024-13-01T00:00:00Z", 10**15),
    _changed("bad_field", "type", "refund", None, "reversal"),
)
"""Makers of records that are no transactions: reason, value, key."""
