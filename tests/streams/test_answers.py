"""Records written from columns are, byte for byte, those made of outcomes one after the other."""

from __future__ import annotations

import math
import struct

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from features.catalogue import FEATURES
from features.money import MAX_AMOUNT_MINOR
from features.times import MAX_EVENT_MS
from features.transaction import Transaction
from scoring.outcome import Shadow
from scoring.policy import Said
from scoring.reasons import Reason
from streams.answers import Answers
from streams.decided import At, Decided
from streams.intake import Incoming
from streams.records import NATIVE
from tests.properties import examples

pytestmark = pytest.mark.skipif(NATIVE is None, reason="the native piece was not built here")

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ['"', "\\", "\x00\x01\x1f", "\b\f\n\r\t", "\x7f", "ü\u2028😀", "a/b", "</script>", "x" * 256]
)
DOUBLES = (
    st.floats(allow_nan=True, allow_infinity=True)
    | st.integers(0, 2**64 - 1).map(lambda bits: struct.unpack("<d", struct.pack("<Q", bits))[0])
    | st.integers(-(10**15), 10**15).map(lambda cents: cents / 100)
    | st.tuples(st.integers(1, 10**17), st.integers(-330, 308)).map(lambda x: float(f"{x[0]}e{x[1]}"))
    | st.sampled_from(
        [0.0, -0.0, 5e-324, 1.7976931348623157e308, 2.2250738585072014e-308, 1e15, 1e16, 1e17, 1e-5, 1e-6]
    )
)
WHOLE = st.integers(0, 10**9).map(float)
INT64 = st.integers(-(2**63), 2**63 - 1)

FLAGS = {
    "late_by_ms": UNSET, "clock_skew_ms": 7, "beyond_grace": True, "duplicate": True, "conflict": UNSET,
    "dropped_fields": ("email",),
}  # fmt: skip

UNUSUAL = [{"late_by_ms": 5}, {"late_by_ms": UNSET}, FLAGS, {"shadow": Shadow(rules=("r",))}]

transactions = st.builds(
    Transaction,
    transaction_id=TEXT, card_id=TEXT, amount_minor=st.just(1), currency=st.sampled_from(["EUR", "JPY", "KWD"]),
    exponent=st.integers(0, 4), event_ms=st.just(0), merchant_id=st.none() | TEXT, merchant_category=st.none() | TEXT,
    country=st.none() | TEXT, channel=st.none() | TEXT, device_id=st.none() | TEXT, ip_address=st.none() | TEXT,
    email=st.none() | TEXT, card_last4=st.none() | st.just("4242"),
)  # fmt: skip
rows = st.fixed_dictionaries(
    {
        "item": st.builds(
            Incoming, transaction=transactions, partition=st.integers(0, 2**31 - 1), offset=st.integers(0, 2**63 - 1),
            broker_ms=st.integers(0, MAX_EVENT_MS),
        ),
        "x": st.tuples(*(WHOLE if feature.dtype == "int64" else DOUBLES for feature in FEATURES)),
        "probability": st.floats(0, 1, width=32),
        "score": st.integers(0, 1000),
        "verdict": st.sampled_from(["approve", "review", "block"]),
        "rule": st.none() | TEXT,
        "amount_minor": st.integers(1, MAX_AMOUNT_MINOR),
        "event_ms": st.integers(0, MAX_EVENT_MS),
        "reasons": st.none() | st.lists(st.builds(Reason, code=TEXT, text=TEXT, feature=st.none(), value=st.none())),
        "unusual": st.none() | st.sampled_from(UNUSUAL),
        "canary": st.booleans(),
    }
)  # fmt: skip


PLAIN = {
    "item": Incoming(Transaction("t", "c", 1, "EUR", 2, 0), 0, 0, 0), "x": (0.0,) * len(FEATURES), "probability": 0.5,
    "score": 500, "verdict": "review", "rule": None, "amount_minor": 1, "event_ms": 0, "reasons": None, "unusual": None,
    "canary": False,
}  # fmt: skip


def decided_of(some, degraded=UNSET):
    matrix = np.array([row["x"] for row in some], np.float64).reshape(-1, len(FEATURES))
    said = Said(
        np.array([row["probability"] for row in some], np.float32),
        np.array([row["score"] for row in some], np.int64),
        [],
    )
    return Decided(
        [row["item"] for row in some], matrix, said, [row["verdict"] for row in some], [row["rule"] for row in some],
        *(np.array([row[name] for row in some], np.int64) for name in ("amount_minor", "event_ms")),
        {place: row["reasons"] for place, row in enumerate(some) if row["reasons"]},
        {place: row["unusual"] for place, row in enumerate(some) if row["unusual"]},
        np.array([row["canary"] for row in some], np.bool_),
        At(1_700_000_000_000, "2023-11-14T22:13:20.000Z", degraded, 'm-"1', "m-2", "r-1", "tränsactions"),
    )  # fmt: skip


@examples(60)
@given(st.lists(rows, min_size=1, max_size=4), st.just(UNSET) | st.just("store_away"))
def test_records_are_those_of_outcomes(some, degraded):
    decided = decided_of(some, degraded)
    assert Answers(decided, {}).records("out") == Answers(decided, {}, native=None).records("out")


def test_doubles_are_written_as_msgspec_writes_them():
    """Few examples would never meet the hard cases: doubles between two equally short decimals, powers of two."""
    random = np.random.default_rng(7)
    bits = random.integers(0, 2**64, 200_000, np.uint64).view(np.float64)
    powers = np.ldexp(1.0, np.arange(-1074, 1024))
    near = np.concatenate([powers, np.nextafter(powers, 0), np.nextafter(powers, np.inf)])
    tens = np.array([float(f"{digit}e{power}") for digit in (1, 2, 5, 9) for power in range(-323, 309)])
    money = random.integers(0, 10**9, 100_000) / random.choice([1, 10, 100, 1000, 3, 7, 604_800], 100_000)
    values = np.concatenate([bits, near, tens, money])
    columns = sum(feature.dtype != "int64" for feature in FEATURES)
    matrix = np.zeros((-(-len(values) // columns), len(FEATURES)))
    of_doubles = [place for place, feature in enumerate(FEATURES) if feature.dtype != "int64"]
    padded = np.resize(values, (len(matrix), columns))
    matrix[:, of_doubles] = padded
    decided, n = decided_of([PLAIN]), len(matrix)
    many = msgspec.structs.replace(
        decided, items=decided.items * n, x=matrix, verdicts=decided.verdicts * n, rules=decided.rules * n,
        said=Said(np.repeat(decided.said.probability, n), np.repeat(decided.said.score, n), []),
        amount_minor=np.repeat(decided.amount_minor, n), event_ms=np.repeat(decided.event_ms, n),
        canary=np.repeat(decided.canary, n),
    )  # fmt: skip
    native = Answers(many, {}).records("out")
    plain = Answers(many, {}, native=None).records("out")
    assert native == plain


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e300])
def test_a_count_that_is_none_is_an_error_and_not_a_number(value):
    x = tuple(value if feature.dtype == "int64" else 0.0 for feature in FEATURES)
    with pytest.raises(ValueError, match="no whole number"):
        Answers(decided_of([{**PLAIN, "x": x}]), {}).records("out")


def test_columns_of_another_length_are_refused():
    decided = decided_of([PLAIN, PLAIN])
    for name in ("amount_minor", "event_ms"):
        cut = msgspec.structs.replace(decided, **{name: getattr(decided, name)[:1]})
        with pytest.raises(TypeError, match="length"):
            Answers(cut, {}).records("out")
    with pytest.raises(ValueError, match="length"):
        Answers(msgspec.structs.replace(decided, rules=[None]), {}).records("out")
