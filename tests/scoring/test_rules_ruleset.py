"""What a rule set decides: order, modes, shadow, lists, NULL; checked against a naive reading of the rules."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.catalogue import FEATURE_NAMES
from features.transaction import Transaction
from scoring.rules.columns import FIELDS, Scored, batch_columns
from scoring.rules.lists import Entries
from scoring.rules.load import load_rules

SEVERITY = {"approve": 0, "review": 1, "block": 2}


@pytest.fixture
def make(tmp_path):
    def make(text: str):
        (tmp_path / "rules.yaml").write_text(text)
        return load_rules(tmp_path / "rules.yaml")

    return make


def rule(identity: str, when: str, outcome: str = "review", **more: object) -> str:
    extra = "".join(f", {name}: {str(value).lower()}" for name, value in more.items())
    return f"  - {{id: {identity}, when: {when!r}, outcome: {outcome}, reason: because{extra}}}\n"


def test_the_first_matching_rule_decides(make):
    rules = make(
        "rules:\n"
        + rule("late", "amount > 1", "block", priority=9)
        + rule("allow", "amount > 10", "approve", priority=1)
        + rule("also", "amount > 1", "review", priority=9)
    )

    decided = rules.decide({"amount": [0.5, 2, 20]}, 3)

    assert decided.rule_ids() == [None, "late", "allow"]
    assert decided.outcomes(["review", "approve", "block"]) == ["review", "block", "approve"]
    assert decided.matched() == [(), ("late", "also"), ("allow", "late", "also")]


def test_of_all_matching_rules_the_most_severe_decides(make):
    rules = make(
        "mode: all_matched\nrules:\n"
        + rule("allow", "amount > 1", "approve", priority=1)
        + rule("second", "amount > 10", "block", priority=3)
        + rule("first", "amount > 10", "block", priority=2)
        + rule("look", "amount > 5", "review", priority=0)
    )

    decided = rules.decide({"amount": [0.5, 2, 7, 20]}, 4)

    assert decided.rule_ids() == [None, "allow", "look", "first"]
    assert decided.outcomes(["block"] * 4) == ["block", "approve", "review", "block"]


def test_a_shadow_rule_is_told_and_decides_nothing(make):
    rules = make("rules:\n" + rule("seen", "amount > 1", "block", shadow=True) + rule("done", "amount > 10"))

    decided = rules.decide({"amount": [2, 20]}, 2)

    assert decided.rule_ids() == [None, "done"]
    assert decided.matched() == [(), ("done",)]
    assert decided.shadow_matched() == {0: ("seen",), 1: ("seen",)}


def test_a_rule_that_is_off_is_not_asked(make):
    rules = make("rules:\n" + rule("off", "country = 'NO'", enabled=False) + rule("on", "amount > 1"))

    assert rules.columns == ("amount",)
    assert rules.decide({"amount": [2.0]}, 1).rule_ids() == ["on"]


def test_null_is_no_match_and_neither_is_a_division_by_zero(make):
    rules = make(
        "rules:\n"
        + rule("country", "country = 'NO'")
        + rule("not", "NOT (country = 'NO')")
        + rule("ratio", "amount / prev_amt > 2 OR amount / prev_amt <= 2")
        + rule("missing", "country IS NULL", priority=200)
    )

    decided = rules.decide({"country": ["NO", "SE", None], "amount": [1.0] * 3, "prev_amt": [0.0] * 3}, 3)

    assert decided.rule_ids() == ["country", "not", "missing"]


def test_constants_stand_for_every_row(make):
    rules = make("rules:\n" + rule("never", "1 > 2") + rule("all", "TRUE"))

    assert rules.columns == ()
    assert rules.decide({}, 3).rule_ids() == ["all"] * 3


def test_constants_beside_others(make):
    rules = make("rules:\n" + rule("one", "amount > 5") + rule("all", "1 = 1"))

    decided = rules.decide({"amount": [1.0, 9.0]}, 2)
    assert decided.rule_ids() == ["all", "one"]
    assert decided.matched() == [("all",), ("one", "all")]


def test_nothing_to_decide(make):
    rules = make("rules:\n" + rule("one", "amount > 5"))

    decided = rules.decide({"amount": []}, 0)
    assert decided.rule_ids() == decided.outcomes([]) == decided.matched() == []


def test_thresholds_alone_are_a_rule_set(make):
    rules = make("thresholds: {review: 0.1, block: 0.2}")

    assert rules.decide({}, 2).rule_ids() == [None, None]


LISTS = """
lists:
  cards: {field: card_id, values: [c1, c2]}
  shops: {field: merchant_id, match: prefix, values: [shop-, "7"]}
  live: {field: card_id, redis: true}
  both: {field: card_id, values: [c9], includes: [cards, live]}
rules:
"""


def test_lists(make):
    rules = make(LISTS + rule("card", "IN_LIST(card_id, 'cards')") + rule("shop", "IN_LIST(merchant_id, 'shops')"))

    decided = rules.decide(
        {"card_id": ["c1", "c3", "c3"], "merchant_id": ["x", "shop-9", None], "old_card_ids": [()] * 3}, 3
    )

    assert decided.rule_ids() == ["card", "shop", None]
    assert rules.redis_lists == {}


def test_a_list_that_is_not_known_yet_is_null(make):
    rules = make(LISTS + rule("in", "IN_LIST(card_id, 'both')") + rule("out", "NOT IN_LIST(card_id, 'both')"))
    columns = {"card_id": ["c1", "c5", "c6", "c9"], "old_card_ids": [()] * 4}

    assert list(rules.redis_lists) == ["live"]
    assert rules.decide(columns, 4).rule_ids() == ["in", None, None, "in"]
    known = {"live": Entries({"c5"}, "exact")}
    assert rules.decide(columns, 4, known).rule_ids() == ["in", "in", "out", "in"]


def test_a_card_is_found_by_its_older_tokens(make):
    rules = make(LISTS + rule("in", "IN_LIST(card_id, 'cards')"))

    decided = rules.decide({"card_id": ["c7", "c8"], "old_card_ids": [("c6", "c2"), ("c5",)]}, 2)

    assert decided.rule_ids() == ["in", None]


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.none() | st.text("ab1é", max_size=4), max_size=30),
    entries=st.sets(st.text("ab1é", min_size=1, max_size=3), max_size=80),
    more=st.sets(st.text("ab1é", min_size=1, max_size=3), max_size=3),
    match=st.sampled_from(["exact", "prefix"]),
    known=st.booleans(),
)
def test_look_ups_of_large_and_small_columns_agree_with_a_loop(values, entries, more, match, known):
    from scoring.rules.lists import Membership

    membership = Membership([Entries(frozenset(entries), match), Entries(more, match), *([] if known else [None])])
    found = [
        None
        if value is None
        else (
            any(value == e if match == "exact" else value.startswith(e) for e in entries | more)
            or (False if known else None)
        )
        for value in values
    ]

    assert membership.look_up(values) == found
    assert membership.look_up_series(pl.Series(values, dtype=pl.String)).to_list() == found


outcomes = st.sampled_from(["approve", "review", "block"])


@settings(max_examples=60, deadline=None)
@given(
    table=st.lists(st.tuples(st.integers(0, 5), outcomes, st.integers(0, 3), st.booleans(), st.booleans()), max_size=6),
    amounts=st.lists(st.integers(0, 6), min_size=1, max_size=6),
    mode=st.sampled_from(["first_matched", "all_matched"]),
)
def test_decisions_agree_with_a_naive_reading(tmp_path_factory, table, amounts, mode):
    file = tmp_path_factory.mktemp("rules") / "rules.yaml"
    named = [(f"r{n}", *row) for n, row in enumerate(table)]
    file.write_text(
        f"mode: {mode}\nthresholds: {{review: 0.1, block: 0.2}}\nrules:\n"
        + "".join(
            rule(name, f"amount > {limit}", outcome, priority=priority, enabled=enabled, shadow=shadow)
            for name, limit, outcome, priority, enabled, shadow in named
        )
        + ("  []\n" if not named else "")
    )
    expected = []
    for amount in amounts:
        hits = [r for r in named if r[4] and not r[5] and amount > r[1]]
        hits.sort(key=lambda r: (-SEVERITY[r[2]] if mode == "all_matched" else 0, r[3]))
        expected.append(hits[0][0] if hits else None)

    assert load_rules(file).decide({"amount": amounts}, len(amounts)).rule_ids() == expected


def test_every_field_is_made_from_a_batch(make):
    when = " OR ".join(f"{name} IS NULL" for name in FIELDS)
    rules = make("rules:\n" + rule("any", when) + rule("thursday", "day_of_week = 4 AND model_outcome = 'review'"))
    transaction = Transaction("t", "c", 1250, "EUR", 2, 0, merchant_id="m", country="NO")
    scored = Scored(
        x=np.arange(float(len(FEATURE_NAMES)))[np.newaxis],
        probability=np.array([0.5], np.float32),
        score=np.array([500]),
        model_outcome=["review"],
        amount_minor=np.array([1250]),
        event_ms=np.array([1_767_225_600_000]),
    )

    columns = batch_columns(rules.columns, [transaction], scored)

    assert set(columns) == set(FIELDS)
    assert rules.decide(columns, 1).matched() == [("any", "thursday")]
    assert columns["amount"][0] == FEATURE_NAMES.index("amount")
