"""The outcome record: what is published for every transaction (contract, section 3.3)."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, get_args

import msgspec
from msgspec import UNSET, Meta, UnsetType

from features.catalogue import FEATURES
from features.transaction import Transaction
from scoring.decision import TOP_SCORE, Verdict
from scoring.reasons import Reason

Reversed = Literal["applied", "unknown_original", "repeated"]

FeatureRow: Final = msgspec.defstruct(
    "FeatureRow", [(f.name, int if f.dtype == "int64" else float) for f in FEATURES], frozen=True, gc=False
)
"""The features of one authorization, in the order of the catalogue: the exact values used."""


class Source(msgspec.Struct, frozen=True, gc=False):
    """Where the record was read, as processed."""

    topic: str
    partition: int
    offset: int


class Shadow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What was found beside the decision, without effect.

    Attributes:
        model: the other model: a challenger, or on a card that the challenger decides, the champion.
        score, probability, outcome: what it says by itself, before rules.
        rules: shadow rules that match.
    """

    model: str | UnsetType = UNSET
    score: Annotated[int, Meta(ge=0, le=1000)] | UnsetType = UNSET
    probability: Annotated[float, Meta(ge=0, le=1)] | UnsetType = UNSET
    outcome: Verdict | UnsetType = UNSET
    rules: tuple[str, ...] | UnsetType = UNSET


class Fraud(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The decision and everything needed to make it again; a reversal carries no score and no features."""

    score: Annotated[int, Meta(ge=0, le=1000)] | UnsetType = UNSET
    probability: Annotated[float, Meta(ge=0, le=1)] | UnsetType = UNSET
    outcome: Verdict
    rule: str | None = None
    reasons: list[Reason] | UnsetType = UNSET
    features: FeatureRow | UnsetType = UNSET  # type: ignore[valid-type]  # made of the catalogue when this is imported
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
    reversal: Reversed | UnsetType = UNSET
    shadow: Shadow | UnsetType = UNSET


class Outcome(msgspec.Struct, frozen=True, kw_only=True, gc=False):
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
VERDICT_HEADERS: Final = {verdict: ("outcome", verdict.encode()) for verdict in get_args(Verdict)}
SCORE_HEADERS: Final = [("score", str(score).encode()) for score in range(TOP_SCORE + 1)]


def amount_text(amount_minor: int, exponent: int) -> str:
    """The amount as decimal text with the currency's decimals.

    >>> amount_text(1250, 2), amount_text(7, 3), amount_text(500, 0)
    ('12.50', '0.007', '500')
    """
    if exponent == 2:  # nearly all money
        whole, cents = divmod(amount_minor, 100)
        return f"{whole}.{cents:02d}"
    if exponent == 0:
        return str(amount_minor)
    digits = str(amount_minor).rjust(exponent + 1, "0")
    return f"{digits[:-exponent]}.{digits[-exponent:]}"


def outcome_of(transaction: Transaction, fraud: Fraud, *, amount_minor: int, event_time: str) -> Outcome:
    """Join a transaction and its decision.

    Args:
        transaction: as decoded.
        fraud: the decision.
        amount_minor: the amount that stands: the first copy's, where this one is a copy.
        event_time: RFC 3339 of the event time that stands, likewise.
    """
    t = transaction
    # Written out: a loop over the names takes longer than all the rest.
    return Outcome(
        transaction_id=t.transaction_id,
        card_id=t.card_id,
        type=t.type,  # type: ignore[arg-type]  # decode lets the two words through and no other
        original_transaction_id=UNSET if t.original_transaction_id is None else t.original_transaction_id,
        amount=msgspec.Raw(amount_text(amount_minor, t.exponent)),
        amount_minor=amount_minor,
        currency=t.currency,
        event_time=event_time,
        card_last4=UNSET if t.card_last4 is None else t.card_last4,
        merchant_id=UNSET if t.merchant_id is None else t.merchant_id,
        merchant_category=UNSET if t.merchant_category is None else t.merchant_category,
        country=UNSET if t.country is None else t.country,
        channel=UNSET if t.channel is None else t.channel,
        device_id=UNSET if t.device_id is None else t.device_id,
        ip_address=UNSET if t.ip_address is None else t.ip_address,
        email=UNSET if t.email is None else t.email,
        fraud=fraud,
    )


def encode_outcome(outcome: Outcome) -> bytes:
    """The value of a `processed_transactions` record."""
    return _ENCODER.encode(outcome)


def outcome_headers(outcome: Outcome) -> list[tuple[str, str | bytes | None]]:
    """Headers by which consumers filter without decoding."""
    fraud = outcome.fraud
    named = ("transaction_id", outcome.transaction_id.encode())
    if fraud.score is UNSET:
        return [VERDICT_HEADERS[fraud.outcome], named]
    return [VERDICT_HEADERS[fraud.outcome], named, SCORE_HEADERS[fraud.score]]


def outcome_schema() -> dict[str, Any]:
    """JSON Schema of the outcome, made from the types."""
    schema = msgspec.json.schema(Outcome)
    # Raw is "anything" to the generator; the text in it is always a JSON number.
    # Which features there are is the feature set's matter, and a consumer may meet outcomes of several.
    del schema["$defs"]["FeatureRow"]["required"]
    schema["$defs"]["Outcome"]["properties"]["amount"] = {"type": "number", "exclusiveMinimum": 0}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
