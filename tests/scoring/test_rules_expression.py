"""Conditions: what they mean is checked against DuckDB, which shares no code with Polars; what they must not be."""

from __future__ import annotations

import duckdb
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring.rules.expression import read_condition
from scoring.rules.ruleset import every_row, row_wise
from scoring.rules.tokens import MAX_CHARS, Problem
from tests.properties import examples

FIELDS = {"a": "number", "b": "number", "c": "number", "s": "text", "t": "text"}
LISTS = {"blocked": "s"}

numbers = st.sampled_from([0.0, 1.0, -1.0, 2.5, 3.0, 100.0, 1e15])
rows = st.lists(
    st.fixed_dictionaries(
        {
            **{name: st.none() | numbers for name in "abc"},
            **{name: st.none() | st.sampled_from(["", "x", "X", "xy", "a.c", "abc", "a%c", "é'"]) for name in "st"},
        }
    ),
    min_size=1,
    max_size=8,
)


def joined(*parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(*parts).map("".join)


def number_of(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        joined(st.just("("), inner, st.sampled_from([" + ", " - ", " * "]), inner, st.just(")")),
        # DuckDB divides by zero to infinity; here it is NULL, which is said in the oracle's own words.
        joined(st.just("("), inner, st.just(" / NULLIF("), inner, st.just(", 0))")),
        joined(st.just("COALESCE("), inner, st.just(", "), inner, st.just(")")),
        joined(st.just("GREATEST("), inner, st.just(", "), inner, st.just(")")),
        joined(st.just("ABS("), inner, st.just(")")),
        joined(st.just("CASE WHEN "), inner, st.just(" > 1 THEN "), inner, st.just(" ELSE "), inner, st.just(" END")),
    )


number = st.recursive(st.sampled_from(["a", "b", "c", "0", "1", "2.5", "-3"]), number_of, max_leaves=4)
text = st.sampled_from(["s", "t", "'x'", "'a.c'", "''", "LOWER(s)", "UPPER(t)", "LEFT(s, 1)", "SUBSTR(t, 2, 2)"])
pattern = st.sampled_from(["'x%'", "'%'", "'a.c'", "'a_c'", "'a%c'", "''", "'%y'"])
compared = st.sampled_from([" = ", " <> ", " != ", " < ", " > ", " <= ", " >= "])
atom = st.one_of(
    joined(number, compared, number),
    joined(text, compared, text),
    joined(number, st.sampled_from([" BETWEEN ", " NOT BETWEEN "]), number, st.just(" AND "), number),
    joined(number, st.sampled_from([" IN (1, 2.5)", " NOT IN (0, -1)", " IS NULL", " IS NOT NULL"])),
    joined(text, st.sampled_from([" IN ('x', 'a.c')", " NOT IN ('x')", " IS NULL", " IS NOT NULL"])),
    joined(text, st.sampled_from([" LIKE ", " NOT LIKE ", " ILIKE "]), pattern),
    joined(st.just("STARTS_WITH("), text, st.just(", 'x')")),
    joined(number, st.sampled_from([" IS DISTINCT FROM ", " IS NOT DISTINCT FROM "]), number),
    joined(st.just("LENGTH("), text, st.just(") > 1")),
)
condition = st.recursive(
    atom,
    lambda inner: st.one_of(
        joined(inner, st.sampled_from([" AND ", " OR "]), inner),
        joined(st.just("NOT ("), inner, st.just(")")),
        joined(st.just("("), inner, st.just(") IS NOT TRUE")),
    ),
    max_leaves=5,
)


def frame_of(table: list[dict[str, object]]) -> pl.DataFrame:
    return pl.DataFrame(table, schema={**dict.fromkeys("abc", pl.Float64), **dict.fromkeys("st", pl.String)})


def by_polars(when: str, frame: pl.DataFrame) -> list[bool | None]:
    condition = read_condition(when, FIELDS, LISTS)
    # Beside another column, as rules stand beside each other.
    return (
        frame.select(every_row(len(frame)), *FIELDS).select(row_wise(condition).alias("found"), "a")["found"].to_list()
    )


@pytest.fixture(scope="module")
def database():
    """One for all examples: to open one takes longer than all that is asked of it."""
    with duckdb.connect() as made:
        yield made


@examples(100)
@given(when=condition, table=rows)
def test_a_condition_means_what_it_means_to_another_database(database, when, table):
    frame = frame_of(table)

    with database.cursor() as other:
        other.register("table_of_rows", frame.to_arrow())
        expected = [row[0] for row in other.execute(f"SELECT ({when}) FROM table_of_rows").fetchall()]
    assert by_polars(when, frame) == expected, when


@examples(60)
@given(when=condition, table=rows)
def test_a_row_is_decided_as_if_it_were_alone(when, table):
    frame = frame_of(table)

    assert by_polars(when, frame) == [by_polars(when, frame[i])[0] for i in range(len(frame))]


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("a / b > 1", [None, None, True]),
        ("a / b > 1 OR s = 'x'", [True, None, True]),
        ("NOT (a / b > 1)", [None, None, False]),
        ("a / 0 IS NULL", [True, True, True]),
        ("a - 1 - 1 = 0", [True, False, True]),
        ("a / 2 * 2 = a", [True, True, True]),
        ("2 + 3 * a = 8", [True, False, True]),
        ("-a < -1", [True, False, True]),
        ('"a" = 2', [True, False, True]),
        ("a IN (2, -1)", [True, False, True]),
    ],
)
def test_worked_out_by_hand(when, expected):
    frame = frame_of([{"a": 2.0, "b": 0.0, "s": "x"}, {"a": 0.0, "b": 0.0, "s": "y"}, {"a": 2.0, "b": 1.0, "s": None}])
    if when == "2 + 3 * a = 8":
        assert by_polars(when, frame) == expected
    assert by_polars(when, frame) == expected


@pytest.mark.parametrize(
    ("when", "said", "at"),
    [
        ("amout > 1", "no field amout", 0),
        ("a > 1 AND bb > 2", "no field bb", 10),
        ("a > 'x'", "a number and a text do not go together", 2),
        ("s > 1", "a text and a number", 2),
        ("a + 1", "a condition is true or false", 0),
        ("s", "a condition is true or false", 0),
        ("NULL", "a condition is true or false", 0),
        ("a = NULL", "IS NULL", 2),
        ("SUM(a) > 1", "one transaction at a time", 0),
        ("a > AVG(b)", "one transaction at a time", 4),
        ("a > (SELECT 1)", "no subqueries", 5),
        ("ROW_NUMBER() OVER () = 1", "one transaction at a time", 0),
        ("EXISTS (SELECT 1)", "no subqueries", 0),
        ("a > 1; DROP TABLE x", "';' cannot stand here", 5),
        ("a > 1 -- note", "no field note", 9),
        ("a >", "ends too early", 3),
        ("(a > 1", "ends too early; ) was expected", 6),
        ("a > 1)", "')' cannot stand here", 5),
        ("a > 1 b", "'b' cannot stand here", 6),
        ("s = 'x", "a text begins that does not end", 4),
        ("s LIKE t", "behind LIKE stands a text", 7),
        ("a LIKE 'x'", "before LIKE stands a text, not a number", 0),
        ("a IN ('x')", "a number and a text", 6),
        ("a IN (b)", "behind IN stand numbers or texts", 6),
        ("a AND b", "beside AND stands true or false, not a number", 0),
        ("NULL IS NOT TRUE", "before IS TRUE stands true or false, not NULL", 0),
        ("NOT a", "behind NOT stands true or false", 4),
        ("s + 1 = 2", "beside + stands a number, not a text", 0),
        ("(a > 1) < (b > 1)", "have no order", 8),
        ("CASE WHEN a > 1 THEN 's' ELSE 1 END = 's'", "a text and a number", 0),
        ("LEFT(s, a) = 'x'", "a whole number from 1 to 1000", 8),
        ("ABS(s) = 1", "here stands a number, not a text", 4),
        ("ABS(a, b) = 1", "at most 1 arguments", 7),
        ("NULLIF(a) = 1", "takes 2 arguments", 0),
        ("IN_LIST(s, 'bloked')", "did you mean blocked?", 11),
        ("IN_LIST(t, 'blocked')", "is one of s", 8),
        ("IN_LIST('x', 'blocked')", "takes a field and a list", 8),
        ("a > 1e400", "larger than", 4),
        ("a > 1x", "cannot stand here", 4),
        ("s = '4111 1111 1111 1111'", "a card number stands here", 4),
        ("", "ends too early", 0),
        ("(" * 40 + "a > 1" + ")" * 40, "levels inside each other", 12),
        (" OR ".join(["a > 1"] * 700), "characters", 0),
        ("a " * 1_500, "words", 2001),
    ],
)
def test_what_is_no_condition_is_refused_with_its_place(when, said, at):
    with pytest.raises(Problem, match=None) as caught:
        read_condition(when, FIELDS, LISTS)

    assert said in str(caught.value)
    assert caught.value.at == at


def test_the_deepest_condition_that_is_read_can_be_evaluated():
    deep = "a > 1"
    for _ in range(11):
        deep = f"(-1 > a OR b / c > 2 AND {deep})"
    frame = frame_of([{"a": 2.0, "b": 1.0, "c": 1.0, "s": "x", "t": "y"}])

    assert by_polars(deep, frame) == [False]


def test_the_longest_condition_can_be_evaluated():
    long = " OR ".join(["a = 1"] * 249)
    assert len(long) < MAX_CHARS

    assert by_polars(long, frame_of([{"a": 1.0}, {"a": 2.0}])) == [True, False]


@pytest.mark.parametrize(
    "when",
    ["0 = COALESCE(a, 0)", "0 = CASE WHEN a > 1 THEN a ELSE 0 END", "NULLIF(1, 2) = 1", "1 > 0", "0 = GREATEST(0, 0)"],
)
def test_what_comes_to_a_constant_is_still_an_answer_for_every_row(when):
    frame = frame_of([{"b": 1.0}, {"b": 2.0}])

    assert by_polars(when, frame) == [True, True]
