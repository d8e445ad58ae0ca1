"""The outcome record: what is published for every transaction (contract, section 3.3)."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from features.times import format_rfc3339
from features.transaction import Transaction
from scoring.reasons import Reason

Verdict = Literal["approve", "review", "block"]
FeatureValues = dict[str, int | float]

_OPTIONAL: Final = (
    "card_last4", "merchant_id", "merchant_category", "country", "channel", "device_id", "ip_address", "email",
)  # fmt: skip


class Source(msgspec.Struct, frozen=True):
    """Where the record was read, as processed."""

    topic: str
    partition: int
    offset: int


class Fraud(msgspec.Struct, frozen=True, kw_only=True):
    """The decision and everything needed to make it again; a reversal carries no score and no features."""

    score: Annotated[int, Meta(ge=0, le=1000)] | UnsetType = UNSET
    probability: Annotated[float, Meta(ge=0, le=1)] | UnsetType = UNSET
    outcome: Verdict
    rule: str | None = None
    reasons: list[Reason] | UnsetType = UNSET
    features: FeatureValues | UnsetType = UNSET
    model: str
    ruleset: str
    feature_set: str
    scored_at: str
    latency_ms: int
    source: Source
    late_by_ms: int | UnsetType = UNSET
    clock_skew_ms: int | UnsetType = UNSET
    beyond_grace: bool | UnsetType = UNSET
    duplicate: bool | UnsetType = UNSET
    conflict: bool | UnsetType = UNSET
    dropped_fields: tuple[str, ...] | UnsetType = UNSET
    degraded: str | UnsetType = UNSET
    reversed: str | UnsetType = UNSET
    reversal: Literal["applied", "unknown_original", "repeated"] | UnsetType = UNSET


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """The transaction's known fields, normalised, and the decision."""

    transaction_id: str
    card_id: str
    type: Literal["authorization", "reversal"]
    original_transaction_id: str | UnsetType = UNSET
    amount: msgspec.Raw
    amount_minor: int
    currency: str
    event_time: str
    card_last4: str | UnsetType = UNSET
    merchant_id: str | UnsetType = UNSET
    merchant_category: str | UnsetType = UNSET
    country: str | UnsetType = UNSET
    channel: str | UnsetType = UNSET
    device_id: str | UnsetType = UNSET
    ip_address: str | UnsetType = UNSET
    email: str | UnsetType = UNSET
    fraud: Fraud


_ENCODER: Final = msgspec.json.Encoder()


def amount_text(amount_minor: int, exponent: int) -> str:
    """The amount as decimal text with the currency's decimals.

    >>> amount_text(1250, 2), amount_text(7, 3), amount_text(500, 0)
    ('12.50', '0.007', '500')
    """
    if exponent == 0:
        return str(amount_minor)
    digits = str(amount_minor).rjust(exponent + 1, "0")
    return f"{digits[:-exponent]}.{digits[-exponent:]}"


def outcome_of(transaction: Transaction, fraud: Fraud, *, amount_minor: int, event_ms: int) -> Outcome:
    """Join a transaction and its decision.

    Args:
        transaction: as decoded.
        fraud: the decision.
        amount_minor: the amount that stands: the first copy's, where this one is a copy.
        event_ms: the event time that stands, likewise.
    """
    known = {name: value for name in _OPTIONAL if (value := getattr(transaction, name)) is not None}
    if transaction.original_transaction_id is not None:
        known["original_transaction_id"] = transaction.original_transaction_id
    return Outcome(
        transaction_id=transaction.transaction_id,
        card_id=transaction.card_id,
        type=transaction.type,  # type: ignore[arg-type]  # decode lets the two words through and no other
        amount=msgspec.Raw(amount_text(amount_minor, transaction.exponent).encode()),
        amount_minor=amount_minor,
        currency=transaction.currency,
        event_time=format_rfc3339(event_ms),
        fraud=fraud,
        **known,
    )


def encode_outcome(outcome: Outcome) -> bytes:
    """The value of a `processed_transactions` record."""
    return _ENCODER.encode(outcome)


def outcome_headers(outcome: Outcome) -> list[tuple[str, str | bytes | None]]:
    """Headers by which consumers filter without decoding."""
    headers: list[tuple[str, str | bytes | None]] = [
        ("outcome", outcome.fraud.outcome.encode()),
        ("transaction_id", outcome.transaction_id.encode()),
    ]
    if outcome.fraud.score is not UNSET:
        headers.append(("score", str(outcome.fraud.score).encode()))
    return headers


def outcome_schema() -> dict[str, Any]:
    """JSON Schema of the outcome, made from the types."""
    schema = msgspec.json.schema(Outcome)
    # Raw is "anything" to the generator; the text in it is always a JSON number.
    schema["$defs"]["Outcome"]["properties"]["amount"] = {"type": "number", "exclusiveMinimum": 0}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
