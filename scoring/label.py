"""The label record of `fraud_labels`: what somebody found a transaction to be, and which of several labels stands."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from features.errors import DecodeError
from features.money import MAX_AMOUNT_MINOR
from features.pan import pan_digits, scrub
from features.times import format_rfc3339, parse_rfc3339
from features.wire import MAX_BYTES, Id, fit_id
from scoring.decision import TOP_SCORE, Verdict

MAX_NAME: Final = 128
MAX_NOTE: Final = 4000

Answer = Literal["fraud", "valid", "undecided", "withdrawn"]
"""`undecided` asks for a further look, `withdrawn` takes back what was said."""
LabelSource = Literal["analyst", "chargeback", "rule"]

_ANSWERS: Final[dict[str, int]] = {"fraud": 1, "valid": 0}
_RANK: Final[dict[str, int]] = {"rule": 0, "analyst": 1, "chargeback": 2}
_IDS: Final = ("label_id", "transaction_id", "card_id")
_ENCODER: Final = msgspec.json.Encoder()

_Time = Annotated[str, Meta(description="RFC 3339, UTC, milliseconds, Z", max_length=64)]
_Version = Annotated[str, Meta(max_length=256)]


class Label(msgspec.Struct, frozen=True, kw_only=True):
    """What a transaction was found to be, as published to the topic `fraud_labels` under its card id."""

    label_id: Annotated[Id, Meta(description="unique; a label that comes again counts once")]
    transaction_id: Id
    card_id: Annotated[Id, Meta(description="as in the outcome, never a card number")]
    label: Answer
    source: LabelSource
    labelled_at: _Time
    analyst: Annotated[str, Meta(max_length=MAX_NAME)] | UnsetType = UNSET
    note: Annotated[str, Meta(max_length=MAX_NOTE)] | UnsetType = UNSET
    event_time: Annotated[_Time, Meta(description="effective time of the transaction")] | UnsetType = UNSET
    # Copied from the outcome: precision by rule or model needs no look-up.
    outcome: Verdict | UnsetType = UNSET
    rule: _Version | UnsetType | None = UNSET
    score: Annotated[int, Meta(ge=0, le=TOP_SCORE)] | UnsetType = UNSET
    probability: Annotated[float, Meta(ge=0, le=1)] | UnsetType = UNSET
    model: _Version | UnsetType = UNSET
    ruleset: _Version | UnsetType = UNSET
    amount_minor: Annotated[int, Meta(ge=1, le=MAX_AMOUNT_MINOR)] | UnsetType = UNSET
    currency: Annotated[str, Meta(pattern="^[A-Z]{3}$")] | UnsetType = UNSET

    @property
    def is_fraud(self) -> int | None:
        """1 or 0; None where the label does not say."""
        return _ANSWERS.get(self.label)

    @property
    def labelled_at_ms(self) -> int:
        """When it was said, epoch milliseconds."""
        return _moment_ms("labelled_at", self.labelled_at)

    @property
    def event_ms(self) -> int | None:
        """Effective time of the transaction, epoch milliseconds; None where the label does not say."""
        return None if self.event_time is UNSET else _moment_ms("event_time", self.event_time)


def encode_label(label: Label) -> bytes:
    """The value of a `fraud_labels` record: free of card numbers, and read back without complaint.

    Raises:
        DecodeError: a field is not what the contract allows.
    """
    return _ENCODER.encode(decode_label(_ENCODER.encode(label)))


def decode_label(value: bytes | None) -> Label:
    """Read a label: times in one form, names and notes without card numbers.

    Raises:
        DecodeError: it is none (`too_large`, `empty`, `not_json`, `not_object`, `missing_field`, `bad_type`, `bad_id`,
            `bad_time`, `bad_field`); the text names the field, and no value.
    """
    label = _read(value)
    for name in _IDS:
        text: str = getattr(label, name)
        if not fit_id(text):
            raise DecodeError("bad_id", f"{name} holds control characters")
    if pan_digits(label.card_id) is not None:
        raise DecodeError("bad_id", "card_id is a card number; a label names the card as the outcome does")
    return msgspec.structs.replace(
        label,
        labelled_at=format_rfc3339(label.labelled_at_ms),
        event_time=UNSET if label.event_ms is None else format_rfc3339(label.event_ms),
        analyst=_scrubbed(label.analyst),
        note=_scrubbed(label.note),
    )


def precedence(label: Label) -> tuple[int, int, str]:
    """What orders the labels of one transaction: the greatest stands, in whatever order they come.

    The newest `labelled_at` goes first, then a chargeback over an analyst over a rule; the id settles the rest.
    """
    return label.labelled_at_ms, _RANK[label.source], label.label_id


def standing(labels: Iterable[Label]) -> dict[tuple[str, str], Label]:
    """The label that stands for each transaction: (card id, transaction id) -> label.

    Args:
        labels: of any transactions, in any order, repeated or not.
    """
    stands: dict[tuple[str, str], Label] = {}
    for label in labels:
        key = label.card_id, label.transaction_id
        if key not in stands or precedence(stands[key]) < precedence(label):
            stands[key] = label
    return stands


def label_schema() -> dict[str, Any]:
    """The JSON Schema of a label's value."""
    (_,), definitions = msgspec.json.schema_components([Label])
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **definitions["Label"], "title": "Label"}


def _read(value: bytes | None) -> Label:
    if not value:
        raise DecodeError("empty", "the record has no value")
    if len(value) > MAX_BYTES:
        raise DecodeError("too_large", "the value is over 256 KiB")
    try:
        fields = msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise DecodeError("not_json", "the value is not JSON") from None
    if not isinstance(fields, dict):
        raise DecodeError("not_object", "the value is not a JSON object")
    try:
        return msgspec.convert(fields, Label)
    except msgspec.ValidationError as exc:
        raise _unfit(str(exc)) from None


def _unfit(problem: str) -> DecodeError:
    """The reason of the contract for what the validator says; an unknown word is a value, and is left out."""
    path = problem.rpartition(" - at `$.")[2].rstrip("`") if " - at `$." in problem else ""
    if "missing required field" in problem:
        return DecodeError("missing_field", f"not a label: {problem}")
    if problem.startswith("Invalid enum value"):
        return DecodeError("bad_field", f"not a label: {path} is none of the words of the contract")
    if path in _IDS and "length" in problem:
        return DecodeError("bad_id", f"not a label: {problem}")
    if "Expected `str` matching" in problem or "length" in problem or any(sign in problem for sign in (">=", "<=")):
        return DecodeError("bad_field", f"not a label: {problem}")
    return DecodeError("bad_type", f"not a label: {problem}")


def _moment_ms(name: str, text: str) -> int:
    moment_ms = parse_rfc3339(text)
    if moment_ms is None:
        raise DecodeError("bad_time", f"{name} is not an RFC 3339 time from 1970 to 9999")
    return moment_ms


def _scrubbed(text: str | UnsetType) -> str | UnsetType:
    return text if text is UNSET else scrub(text)
