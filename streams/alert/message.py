"""What is told: alerts made of outcomes, and the messages that carry them."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from features.errors import DecodeError
from features.pan import scrub
from sinks.documents import document_id

_ID_CHARS: Final = 32
_MOST_CHARS: Final = 256
_NUMBER: Final = re.compile(rb"[0-9]{1,16}(\.[0-9]{1,4})?")


class Told(msgspec.Struct, frozen=True, gc=False):
    """What is read of a reason."""

    text: str


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """What is read of the outcome's `fraud` object."""

    outcome: str
    score: int | None = None
    rule: str | None = None
    reasons: tuple[Told, ...] = ()
    degraded: str | None = None


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What is read of an outcome; address, device and e-mail stay out of messages."""

    transaction_id: str
    card_id: str
    amount: msgspec.Raw
    currency: str
    event_time: str
    fraud: Verdict
    card_last4: str | None = None
    merchant_id: str | None = None
    merchant_category: str | None = None
    country: str | None = None
    channel: str | None = None


class Alert(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One outcome that somebody must hear of; free of card numbers.

    Attributes:
        id: of the transaction: the same in every repeat, after restarts too.
        route: the route that led it here.
        held_back: alerts of the same card or rule that the throttle kept back before this one.
        record: topic, partition and offset of the outcome.
    """

    id: str
    route: str
    outcome: str
    score: int | None
    rule: str | None
    transaction_id: str
    card_id: str
    amount: msgspec.Raw
    currency: str
    event_time: str
    record: str
    reasons: tuple[str, ...] = ()
    card_last4: str | UnsetType = UNSET
    merchant_id: str | UnsetType = UNSET
    merchant_category: str | UnsetType = UNSET
    country: str | UnsetType = UNSET
    channel: str | UnsetType = UNSET
    degraded: str | UnsetType = UNSET
    held_back: int = 0


class Message(msgspec.Struct, frozen=True):
    """What one channel is told at once; it never changes once it is made.

    Attributes:
        number: of its place in the spool.
        channel: name.
        id: the alert's, or the digest's.
        alerts: one, or those of a digest.
        made_ms: when, epoch milliseconds.
        attempts: that have failed so far.
    """

    number: int
    channel: str
    id: str
    alerts: Sequence[Alert]
    made_ms: int
    attempts: int = 0


_OUTCOMES: Final = msgspec.json.Decoder(Outcome)


def decode_outcome(value: bytes | None) -> Outcome:
    """Read an outcome; raises DecodeError (`empty`, `not_json`, `missing_field`, `bad_type`) where it is none."""
    if not value:
        raise DecodeError("empty", "the record has no value")
    try:
        outcome = _OUTCOMES.decode(value)
    except msgspec.ValidationError as exc:
        # The validator's texts name paths and types, never values.
        reason = "missing_field" if "missing required field" in str(exc) else "bad_type"
        raise DecodeError(reason, f"not an outcome: {exc}") from None
    except (msgspec.DecodeError, RecursionError):
        raise DecodeError("not_json", "the value is not JSON") from None
    if _NUMBER.fullmatch(bytes(outcome.amount)) is None:
        raise DecodeError("bad_amount", "not an outcome: the amount is no number")
    return outcome


def alert_of(outcome: Outcome, route: str, record: str) -> Alert:
    """The alert of an outcome, every text of it scrubbed of card numbers."""
    fraud = outcome.fraud
    return Alert(
        id=alert_id(outcome.card_id, outcome.transaction_id),
        route=route,
        outcome=fraud.outcome,
        score=fraud.score,
        rule=None if fraud.rule is None else scrub(fraud.rule),
        transaction_id=scrub(outcome.transaction_id),
        card_id=scrub(outcome.card_id),
        amount=outcome.amount,
        currency=outcome.currency,
        event_time=outcome.event_time,
        record=record,
        reasons=tuple(_short(reason.text) for reason in fraud.reasons),
        card_last4=_known(outcome.card_last4),
        merchant_id=_known(outcome.merchant_id),
        merchant_category=_known(outcome.merchant_category),
        country=_known(outcome.country),
        channel=_known(outcome.channel),
        degraded=_known(fraud.degraded),
    )


def alert_id(card_id: str, transaction_id: str) -> str:
    """The id of a transaction's alert: it says nothing, and fits wherever ids stand.

    >>> alert_id("tok_a", "tx-1")
    'al_m6zijto52z3supvyryedshgqeamaaqak'
    """
    return f"al_{_digest(document_id(card_id, transaction_id))}"


def digest_id(ids: Sequence[str]) -> str:
    """The id of a digest: that of its alerts, taken together."""
    return f"dg_{_digest(' '.join(ids))}"


def payload(message: Message) -> bytes:
    """The JSON that a webhook gets: the same bytes in every repeat."""
    body: dict[str, Any] = {"type": "alert", "id": message.id}
    if message.id.startswith("dg_"):
        body |= {"type": "digest", "alerts": message.alerts}
    else:
        body["alert"] = message.alerts[0]
    return msgspec.json.encode(body)


def _digest(text: str) -> str:
    return base64.b32encode(hashlib.sha256(text.encode()).digest()).decode().lower()[:_ID_CHARS]


def _known(text: str | None) -> str | UnsetType:
    return UNSET if text is None else _short(text)


def _short(text: str) -> str:
    return scrub(text)[:_MOST_CHARS]


def sample(channel: str) -> Message:
    """A made-up alert, to try a channel."""
    alert = Alert(
        id="al_test",
        route="test",
        outcome="review",
        score=0,
        rule=None,
        transaction_id="test",
        card_id="test",
        amount=msgspec.Raw(b"0"),
        currency="XTS",
        event_time="1970-01-01T00:00:00.000Z",
        record="none",
        reasons=("this is a test: nothing has happened",),
    )
    return Message(0, channel, alert.id, [alert], 0)
