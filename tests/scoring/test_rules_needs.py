"""A rule that is passed over because it cannot match would not have matched."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring.rules.columns import FIELDS
from scoring.rules.expression import read_condition
from scoring.rules.lists import ListDefinition
from scoring.rules.needs import Every, Found, Number, Some, Text
from scoring.rules.ruleset import Rule, RuleSet
from tests.properties import examples

LISTS = {"risky": "country"}
NUMBERS, COUNTRIES = (-1.0, -0.0, 0.0, 1.0, 2.5, 7.0), ("DE", "FR", "it's")
LEAVES = [
    *(f"amount {sign} {value}" for sign in ("=", "<>", "<", "<=", ">", ">=") for value in ("-1", "0", "2.5")),
    *(f"{value} {sign} score" for sign in ("=", "!=", "<", "<=", ">", ">=") for value in ("1", "7")),
    "country = 'DE'", "'it''s' = country", "country <> 'FR'", "country IS NULL", "IN_LIST(country, 'risky')",
    "amount BETWEEN 0 AND 1", "amount > score", "amount + 1 > 2", "country IN ('DE')",
]  # fmt: skip
CONDITIONS = st.recursive(
    st.sampled_from(LEAVES),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["AND", "OR"]), inner).map(lambda parts: f"({' '.join(parts)})"),
        inner.map(lambda one: f"(NOT {one})"),
    ),
    max_leaves=6,
)


@examples(80)
@given(st.data())
def test_what_is_passed_over_would_not_have_matched(data: st.DataObject) -> None:
    texts = data.draw(st.lists(CONDITIONS, min_size=1, max_size=4))
    n = data.draw(st.integers(1, 5))
    number = st.sampled_from([*NUMBERS, float("nan"), float("inf")])
    columns = {name: data.draw(st.lists(number, min_size=n, max_size=n)) for name in ("amount", "score")}
    country = data.draw(st.lists(st.sampled_from([None, *COUNTRIES]), min_size=n, max_size=n))
    rules = rule_set(texts)

    looked_at = rules.decide({**{k: np.array(v) for k, v in columns.items()}, "country": country}, n)
    evaluated = rules.decide({**{k: pl.Series(v) for k, v in columns.items()}, "country": pl.Series(country, dtype=pl.String)}, n)  # fmt: skip # noqa: E501

    assert [rows.tolist() for rows in looked_at.hits] == [rows.tolist() for rows in evaluated.hits]
    assert looked_at.deciding.tolist() == evaluated.deciding.tolist()


def rule_set(texts: list[str]) -> RuleSet:
    rules = [Rule(f"r{place}", text, "review", place, "because") for place, text in enumerate(texts)]
    conditions = {rule.id: read_condition(rule.when, FIELDS, LISTS) for rule in rules}
    return RuleSet(rules, conditions, "first_matched", {"risky": ListDefinition("risky", "country", values=("FR",))})


@pytest.mark.parametrize(
    ("text", "need"),
    [
        ("amount > 5 AND country = 'DE'", Every((Number("amount", ">", 5.0), Text("country", "DE")))),
        ("-5 < amount", Number("amount", ">", -5.0)),
        ("(amount > 5 OR IN_LIST(country, 'risky'))", Some((Number("amount", ">", 5.0), Found("country in risky")))),
        ("amount > 5 AND score / amount > 2", Every((Number("amount", ">", 5.0),))),
        ("amount > 5 OR score / amount > 2", None),
        ("NOT amount > 5", None),
        ("amount <> 5", None),
    ],
)
def test_what_a_condition_needs(text: str, need: object) -> None:
    assert read_condition(text, FIELDS, LISTS).need == need
