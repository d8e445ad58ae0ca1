"""The outcome on the wire: golden bytes, exact numbers, a schema that fits, and an index template that knows it all."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from features.transaction import Transaction
from scoring.outcome import (
    Fraud,
    Outcome,
    Source,
    amount_text,
    encode_outcome,
    outcome_headers,
    outcome_of,
    outcome_schema,
)
from scoring.reasons import Reason
from sinks.index_template import mappings

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "data" / "wire"


def decided(**fields: object) -> Fraud:
    known: dict[str, object] = {
        "score": 912,
        "probability": 0.9120000243186951,
        "outcome": "block",
        "reasons": [Reason("BURST", "0.5 of the week's transactions", "count_ratio", 0.5)],
        "features": {"num_trans_last_10m": 7, "avg_amt_last_10m": 0.1},
        "model": "xgb-1",
        "ruleset": "none",
        "feature_set": "fs-1",
        "scored_at": "2026-01-02T03:04:06.000Z",
        "latency_ms": 12,
        "source": Source("transactions", 3, 9_007_199_254_740_993),
    }
    return Fraud(**{**known, **fields})  # type: ignore[arg-type]


def transaction(**fields: object) -> Transaction:
    known: dict[str, object] = {
        "transaction_id": "t-1",
        "card_id": "c:1",
        "amount_minor": 1230,
        "currency": "EUR",
        "exponent": 2,
        "event_ms": 1_767_323_045_678,
        "merchant_id": "m-1",
        "home_id": b"never shown",
    }
    return Transaction(**{**known, **fields})  # type: ignore[arg-type]


def made(**fields: object) -> Outcome:
    return outcome_of(transaction(), decided(**fields), amount_minor=1230, event_time="2026-01-02T03:04:05.678Z")


REVERSAL = outcome_of(
    transaction(type="reversal", original_transaction_id="t-0"),
    decided(
        score=UNSET,
        probability=UNSET,
        reasons=UNSET,
        features=UNSET,
        outcome="approve",
        reversed="t-0",
        reversal="applied",
    ),
    amount_minor=1230,
    event_time="2026-01-02T03:04:05.678Z",
)


RULED = made(
    rule="risky",
    reasons=[
        Reason("rule:risky", "an odd category (merchant category 7995)", None, None),
        Reason("BURST", "5 transactions in the last 10 minutes: 50 % of the week's", "count_ratio", 0.5, 1.25),
    ],
)


@pytest.mark.parametrize(("name", "outcome"), [("authorization", made()), ("reversal", REVERSAL), ("rule", RULED)])
def test_the_bytes_are_as_ever(name: str, outcome: Outcome) -> None:
    assert encode_outcome(outcome).decode() == (GOLDEN / f"outcome-v1-{name}.json").read_text().strip()


def test_the_committed_schema_is_up_to_date_and_fits() -> None:
    schema = json.loads((ROOT / "schemas" / "outcome.schema.json").read_text())
    assert schema == json.loads(json.dumps(outcome_schema()))
    validator = jsonschema.Draft202012Validator(schema)
    for outcome in (made(), REVERSAL, RULED, made(late_by_ms=5, duplicate=True, dropped_fields=("email",))):
        validator.validate(json.loads(encode_outcome(outcome)))
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(json.loads(encode_outcome(made(outcome="perhaps"))))


def test_headers_say_what_the_body_says() -> None:
    assert dict(outcome_headers(made())) == {"outcome": b"block", "score": b"912", "transaction_id": b"t-1"}
    assert dict(outcome_headers(REVERSAL)) == {"outcome": b"approve", "transaction_id": b"t-1"}


def test_the_card_id_as_sent_never_leaves() -> None:
    assert b"never shown" not in encode_outcome(made())


@given(st.integers(1, 10**15), st.integers(0, 4))
def test_an_amount_is_written_exactly(amount_minor: int, exponent: int) -> None:
    text = amount_text(amount_minor, exponent)
    assert Decimal(text) * 10**exponent == amount_minor
    assert json.loads(text) > 0
    assert len(text.partition(".")[2]) == exponent


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_feature_survives_the_wire_bit_for_bit(value: float) -> None:
    body = json.loads(encode_outcome(made(features={"amount": value})))
    assert body["fraud"]["features"]["amount"].hex() == value.hex()


def test_the_index_template_knows_every_field() -> None:
    known = mappings()["properties"]
    assert set(Outcome.__struct_fields__) <= set(known)
    assert set(Fraud.__struct_fields__) <= set(known["fraud"]["properties"])
    assert set(Source.__struct_fields__) <= set(known["fraud"]["properties"]["source"]["properties"])
    assert set(Reason.__struct_fields__) <= set(known["fraud"]["properties"]["reasons"]["properties"])
