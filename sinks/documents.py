"""An outcome of `processed_transactions` as OpenSearch stores it: which index, which id, which body.

Index and id come from fields that never change for a record, so an outcome that is written again (a replay, a second
delivery, another copy of the transaction) overwrites itself.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any

import msgspec

from features.errors import DecodeError
from features.times import MAX_EVENT_MS

INDEX_ALIAS = "processed_transactions"
CHARTED = (
    "num_trans_last_10m",
    "num_trans_last_1w",
    "avg_amt_last_10m",
    "avg_amt_last_1w",
    "amt_ratio1",
    "amt_ratio2",
    "count_ratio",
    "secs_since_last",
)
"""Features that a card's page draws: `fraud.features` is stored only, these are charted too."""
OLDER_SUFFIX = "older"
OLDER_AFTER_MS = 400 * 86_400_000
MAX_ID_BYTES = 512

_HOUR_MS = 3_600_000
_DAY_MS = 86_400_000
_WEEKDAYS = ("4 Thu", "5 Fri", "6 Sat", "7 Sun", "1 Mon", "2 Tue", "3 Wed")  # 1970 began on a Thursday
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_MILLISECOND = timedelta(milliseconds=1)
_NUMBERS = frozenset({int, float})  # a boolean is no number to the engine

_Instant = Annotated[datetime, msgspec.Meta(tz=True)]
_Name = Annotated[str, msgspec.Meta(min_length=1)]


class Document(msgspec.Struct, frozen=True, gc=False):
    """One document: `body` is its JSON in one line; of an update, what the engine shall do to the one that is there."""

    index: str
    id: str
    body: bytes
    is_update: bool = False


class _Verdict(msgspec.Struct, gc=False):
    """What is read of the outcome's `fraud` object."""

    outcome: str
    scored_at: _Instant
    latency_ms: float
    clock_skew_ms: Annotated[int, msgspec.Meta(ge=0)] = 0
    late_by_ms: int = 0
    degraded: str | None = None
    duplicate: bool = False
    probability: float = 0.0


class _Outcome(msgspec.Struct, gc=False):
    """What is read of an outcome; everything else passes through as it is."""

    transaction_id: _Name
    card_id: _Name
    event_time: _Instant
    fraud: _Verdict
    amount: float = 0.0


def outcome_document(value: bytes | None, *, index_prefix: str, indexed_at_ms: int) -> Document:
    """Make the document of one outcome.

    Args:
        value: the outcome's JSON, as in the topic.
        index_prefix: put before the index name.
        indexed_at_ms: when this is done, epoch milliseconds.

    Raises:
        DecodeError: the value is not an outcome (`empty`, `not_json`, `not_object`, `missing_field`, `bad_type`,
            `bad_time`).
    """
    fields = _decoded(value)
    outcome = _checked(fields)
    effective_ms = _epoch_ms(outcome.event_time) - outcome.fraud.clock_skew_ms
    if not 0 <= effective_ms <= MAX_EVENT_MS:
        raise DecodeError("bad_time", "the effective time lies outside 1970 to 9999")
    broker_ms = _epoch_ms(outcome.fraud.scored_at) - round(outcome.fraud.latency_ms)
    _derive(fields, outcome, effective_ms, indexed_at_ms)
    return Document(
        index=index_name(effective_ms, broker_ms, index_prefix),
        id=document_id(outcome.card_id, outcome.transaction_id),
        body=msgspec.json.encode(fields),
    )


def document_id(card_id: str, transaction_id: str) -> str:
    """The `_id`: unique per card and transaction, whatever characters the two hold.

    >>> document_id("tok:1", "tx-9")
    'tok%3A1:tx-9'
    """
    escaped = card_id.replace("%", "%25").replace(":", "%3A")
    plain = f"{escaped}:{transaction_id}"
    encoded = plain.encode()
    return plain if len(encoded) <= MAX_ID_BYTES else f"sha256:{hashlib.sha256(encoded).hexdigest()}"


def index_name(effective_ms: int, broker_ms: int, index_prefix: str = "") -> str:
    """The index: one per UTC day of the effective time, one for all that came more than 400 days late.

    >>> index_name(effective_ms=1_767_323_045_678, broker_ms=1_767_323_046_000)
    'processed_transactions-2026.01.02'
    """
    late = broker_ms - effective_ms > OLDER_AFTER_MS
    return f"{index_prefix}{INDEX_ALIAS}-{OLDER_SUFFIX if late else day_of(effective_ms)}"


def _decoded(value: bytes | None) -> dict[str, Any]:
    if not value:
        raise DecodeError("empty", "the record has no value")
    try:
        fields = msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise DecodeError("not_json", "the value is not JSON") from None
    if not isinstance(fields, dict):
        raise DecodeError("not_object", "the value is not a JSON object")
    return fields


def _checked(fields: dict[str, Any]) -> _Outcome:
    try:
        return msgspec.convert(fields, _Outcome)
    except msgspec.ValidationError as exc:
        # The validator's texts name paths and types, never values.
        reason = "missing_field" if "missing required field" in str(exc) else "bad_type"
        raise DecodeError(reason, f"not an outcome: {exc}") from None


def _derive(fields: dict[str, Any], outcome: _Outcome, effective_ms: int, indexed_at_ms: int) -> None:
    """Add what dashboards need: 0/1 numbers, since an average of them is a rate and a boolean has no average."""
    verdict = outcome.fraud
    fields["indexed_at"] = _rfc3339(indexed_at_ms)
    fields["hour"] = effective_ms // _HOUR_MS % 24
    fields["weekday"] = _WEEKDAYS[effective_ms // _DAY_MS % 7]
    fields["fraud"] |= {
        "is_block": int(verdict.outcome == "block"),
        "is_review": int(verdict.outcome == "review"),
        "is_late": int(verdict.late_by_ms > 0),
        "is_degraded": int(verdict.degraded is not None),
        "is_duplicate": int(verdict.duplicate),
    }
    # As they stand: to have them checked with the rest takes as long as all the rest.
    features = fields["fraud"].get("features")
    if isinstance(features, dict):
        fields["charted"] = {name: features[name] for name in CHARTED if type(features.get(name)) in _NUMBERS}
    if verdict.outcome == "review":
        fields["review"] = {
            "state": "open",
            "opened_at": fields["fraud"]["scored_at"],
            "expected_loss": verdict.probability * outcome.amount,
        }


def _epoch_ms(instant: datetime) -> int:
    return (instant - _EPOCH) // _MILLISECOND


@lru_cache(maxsize=16)
def _rfc3339(ts_ms: int) -> str:
    return (_EPOCH + ts_ms * _MILLISECOND).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def day_of(moment_ms: int) -> str:
    """The UTC day of a moment as `YYYY.MM.DD`."""
    return _day(moment_ms // _DAY_MS)


@lru_cache(maxsize=1024)
def _day(day: int) -> str:
    """Days since 1970 as `YYYY.MM.DD`."""
    return date.fromordinal(_EPOCH_ORDINAL + day).isoformat().replace("-", ".")
