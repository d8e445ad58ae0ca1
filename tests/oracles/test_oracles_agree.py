"""The oracles against each other on generated traffic, and the traffic against what it promises."""

import json
import random
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal

from hypothesis import given

from tests.properties import examples

from .naive import DAY_MS, NO_LAST_S, WEEK_MS, Event, NaiveCards
from .sql import Row, sql_resolve, sql_windows
from .traffic import SPAN_MS, awkward, small_streams, wire

T = 1_700_000_000_000
KEEP_MS = WEEK_MS + DAY_MS
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def assert_agree(events, cards, given_answers, rows):
    """The features of every row by SQL equal the naive ones, and there is a row for each authorization applied."""
    applied = [i for i, a in enumerate(given_answers) if a.features is not None and not a.duplicate]
    found = sql_windows(rows, cards.grace_ms)
    assert [w["seq"] for w in found] == applied
    for w in found:
        answer = given_answers[w["seq"]]
        unit = 10 ** events[w["seq"]].exponent
        expected = {
            "num_trans_last_10m": w["num_10m"],
            "num_trans_last_1w": w["num_1w"],
            "avg_amt_last_10m": w["sum_10m"] / w["num_10m"] / unit,
            "avg_amt_last_1w": w["sum_1w"] / w["num_1w"] / unit,
            "min_amt_last_10m": w["min_10m"] / unit,
            "max_amt_last_10m": w["max_10m"] / unit,
            "max_amt_last_1w": w["max_1w"] / unit,
            "prev_amt": 0.0 if w["prev_amount"] is None else w["prev_amount"] / unit,
            "secs_since_last": NO_LAST_S if w["since_last_ms"] is None else w["since_last_ms"] / 1000,
        }
        assert {name: answer.features[name] for name in expected} == expected
        assert answer.late_by_ms == w["late_by_ms"]


def rows_of(cards):
    applied = sorted(cards.authorizations(), key=lambda a: a.seq)
    return [Row(a.seq, a.event.card, a.event.t_ms, a.event.amount_minor, a.taken_out_at) for a in applied]


@examples(60)
@given(small_streams(far=False))
def test_naive_agrees_with_sql_that_resolves_copies_and_reversals_itself(events):
    cards = NaiveCards()
    given_answers = [cards.apply(event) for event in events]
    assert_agree(events, cards, given_answers, sql_resolve(events))


@examples(60)
@given(small_streams())
def test_naive_agrees_with_sql_windows_when_history_is_forgotten(events):
    cards = NaiveCards()
    given_answers = [cards.apply(event) for event in events]
    assert_agree(events, cards, given_answers, rows_of(cards))


def test_naive_agrees_with_sql_on_awkward_traffic():
    events = awkward(seed=7, n=6_000, cards=200, base_ms=T)
    cards = NaiveCards()
    given_answers = [cards.apply(event) for event in events]
    assert_agree(events, cards, given_answers, rows_of(cards))


def test_awkward_traffic_holds_every_awkward_kind():
    events = awkward(seed=3, n=6_000, cards=200, base_ms=T)
    cards = NaiveCards()
    given_answers = [cards.apply(event) for event in events]
    first = [a for a in given_answers if a.features is not None and not a.duplicate]
    copies = [a for a in given_answers if a.duplicate]
    assert len(events) == 6_000
    assert len({e.card for e in events}) == 200
    assert {e.exponent for e in events} == {0, 2, 3}
    assert {a.reversal for a in given_answers} == {None, "applied", "unknown_original", "repeated"}
    assert {(a.beyond_grace, a.conflict) for a in copies} == {(x, y) for x in (False, True) for y in (False, True)}
    assert {DAY_MS - 1, DAY_MS, DAY_MS + 1, KEEP_MS - 1, KEEP_MS, KEEP_MS + 1} <= {a.late_by_ms for a in first}
    assert {0.0, 599.999, 600.0, 600.001, 604_799.999} <= {a.features["secs_since_last"] for a in first}
    assert any(a.taken_out_at is not None and a.taken_out_at < a.seq for a in cards.authorizations())
    ids = [(a.event.card, a.event.transaction_id) for a in cards.authorizations()]
    assert len(ids) > len(set(ids))  # a copy of something gone was applied anew
    assert {1, 10**15} <= {e.amount_minor for e in events}


def test_awkward_traffic_is_reproducible_and_never_ahead():
    events = awkward(seed=3, n=2_000, cards=50, base_ms=T)
    assert events == awkward(seed=3, n=2_000, cards=50, base_ms=T)
    assert events != awkward(seed=4, n=2_000, cards=50, base_ms=T)
    assert max(e.t_ms for e in events) <= T + SPAN_MS


def decoded(value):
    """The contract's reading of a record, as plainly as Python allows; only what an event holds."""
    record = json.loads(value, parse_float=Decimal, parse_int=Decimal)
    exponent = {"USD": 2, "EUR": 2, "JPY": 0, "KWD": 3}[record["currency"]]
    amount = Decimal(record["amount"]).scaleb(exponent).quantize(Decimal(1), rounding=ROUND_HALF_EVEN)
    when = record["event_time"]
    if isinstance(when, str):
        # Python cuts digits beyond six and takes the missing zone for local time.
        moment = datetime.fromisoformat(when)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        when = (moment - EPOCH) // timedelta(milliseconds=1)
    optional = (record.get("merchant_category"), record.get("country"))
    mcc, country = (v if isinstance(v, str) and len(v) <= 256 else None for v in optional)
    return Event(
        card=record["card_id"],
        transaction_id=record["transaction_id"],
        kind=record.get("type", "authorization"),
        t_ms=int(when),
        amount_minor=int(amount),
        exponent=exponent,
        currency=record["currency"],
        original=record.get("original_transaction_id"),
        mcc=mcc,
        country=country,
    )


def test_every_spelling_on_the_wire_decodes_to_the_event():
    rng = random.Random(5)
    for event in awkward(seed=5, n=4_000, cards=60, base_ms=T):
        assert decoded(wire(event)) == event
        assert decoded(wire(event, rng)) == event
