"""Bytes to transaction: a fast way for what is plainly right, the exact way for everything else.

The fast way never refuses a record and never names a reason: whatever it cannot vouch for goes to
`features.decode_exact`, which alone is the authority. Both meet in the handling of card numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from features import pan
from features.decode_exact import decode_exact
from features.errors import DecodeError
from features.money import EXPONENTS, minor_units
from features.native import native_decode
from features.times import MAX_EVENT_MS, parse_rfc3339
from features.transaction import AUTHORIZATION, REVERSAL, Transaction
from features.wire import MAX_BYTES, MAX_DEPTH, OPTIONAL, WireTransaction, fit_id

_WIRE: Final = msgspec.json.Decoder(WireTransaction)
_OWN_PAN_IN: Final = ("transaction_id", "original_transaction_id", *OPTIONAL)
_OTHERS_PAN_IN: Final = ("merchant_id", "device_id", "email")


class Decoder:
    """Decodes and validates records, and turns card numbers into tokens."""

    def __init__(self, pan_key: bytes | None, old_pan_keys: Sequence[bytes] = ()) -> None:
        """Keep the keys.

        Args:
            pan_key: key of the card-number tokens; None or empty: records with a card number are refused.
            old_pan_keys: keys that made tokens before; a transaction names the tokens of its card under them too.
        """
        self._pan_key = pan_key or None
        self._old_keys = tuple(dict.fromkeys(key for key in old_pan_keys if key and key != pan_key))

    def decode(self, value: bytes | None) -> Transaction:
        """A validated transaction.

        Raises:
            DecodeError: the record is not a transaction; the reason is a code of the contract.

        >>> value = b'{"transaction_id":"1","card_id":"c","amount":"12.5","currency":"EUR","event_time":1700000000000}'
        >>> Decoder(None).decode(value).amount_minor
        1250
        """
        transaction = _quick(value) if value is not None and len(value) <= MAX_BYTES else None
        if transaction is None:
            return self._protect(decode_exact(value))
        # Most ids tell by their look that they hold no card number.
        t = transaction
        if (
            t.card_id[0].isalpha()
            and (t.merchant_id is None or len(t.merchant_id) < pan.MIN_DIGITS)
            and (t.device_id is None or len(t.device_id) < pan.MIN_DIGITS)
            and not pan.may_hold_others(t.email)
        ):
            return transaction
        return self._protect(transaction)

    def _protect(self, transaction: Transaction) -> Transaction:
        """The transaction without card numbers."""
        own = pan.pan_digits(transaction.card_id)
        if own is None:
            free = (transaction.merchant_id, transaction.device_id, transaction.email)
            if not any(map(pan.may_hold_others, free)):
                return transaction
            return msgspec.structs.replace(transaction, **_masked(transaction, None, self._pan_key))
        if self._pan_key is None:
            raise DecodeError("pan_without_key", "card_id is a card number and FRAUD_PAN_KEY is not set")
        return msgspec.structs.replace(
            transaction,
            card_id=pan.token(self._pan_key, own),
            card_last4=own[-4:],
            home_id=own.encode(),
            old_card_ids=tuple(pan.token(key, own) for key in self._old_keys),
            **_masked(transaction, own, self._pan_key),
        )


def _masked(transaction: Transaction, own: str | None, key: bytes | None) -> dict[str, str]:
    """The fields that hold card numbers, masked: its own in every field, others in the free identifiers."""
    masked: dict[str, str] = {}
    if own is not None:
        texts = {name: getattr(transaction, name) for name in _OWN_PAN_IN}
        masked = {name: pan.mask_own(text, own) for name, text in texts.items() if text is not None}
    for name in _OTHERS_PAN_IN:
        text = masked.get(name, getattr(transaction, name))
        if pan.may_hold_others(text):
            masked[name] = pan.mask_others(text, key)
    return masked


def _quick(value: bytes) -> Transaction | None:
    """The transaction of a record that is right in every field, by the quickest way that knows it."""
    if native_decode is not None:
        transaction = native_decode.plain(value, EXPONENTS, Transaction, AUTHORIZATION)
        if transaction is not None:
            return transaction
    return decode_plain(value)


def decode_plain(value: bytes) -> Transaction | None:
    """The transaction of a record of at most MAX_BYTES that is right in every field, its card id as sent; else None.

    msgspec reads JSON as strictly as the standard library, except that it takes any bytes in strings which it skips:
    so UTF-8 is checked before. It refuses lone surrogates anywhere, and nesting at a depth of its own: the exact way
    judges those records.
    """
    # The common record is flat, and looking is cheaper than counting.
    if (value.find(b"{", 1) >= 0 or value.find(b"[", 1) >= 0) and value.count(b"{") + value.count(b"[") > MAX_DEPTH:
        return None
    try:
        wire = _WIRE.decode(value if value.isascii() else value.decode())
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    exponent = EXPONENTS.get(wire.currency)
    event: int | str = wire.event_time
    # The type has seen to their length; what is printable holds nothing that is unfit.
    ids_fit = wire.transaction_id.isprintable() and wire.card_id.isprintable()
    if exponent is None or not (ids_fit or (fit_id(wire.transaction_id) and fit_id(wire.card_id))):
        return None
    amount_minor = minor_units(str(wire.amount, "utf-8").strip('"'), exponent)
    event_ms = parse_rfc3339(event) if isinstance(event, str) else event
    if amount_minor is None or event_ms is None or not 0 <= event_ms <= MAX_EVENT_MS:
        return None
    original = None
    if wire.type != AUTHORIZATION:
        original = wire.original_transaction_id
        if wire.type != REVERSAL or not original or not fit_id(original):
            return None
    return Transaction(
        wire.transaction_id,
        wire.card_id,
        amount_minor,
        wire.currency,
        exponent,
        event_ms,
        wire.type,
        original,
        wire.merchant_id,
        wire.merchant_category,
        wire.country,
        wire.channel,
        wire.device_id,
        wire.ip_address,
        wire.email,
        None,
        (),
        wire.card_id.encode(),
    )
