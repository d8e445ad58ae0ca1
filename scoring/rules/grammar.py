"""What a rule's condition may be made of: kinds of values, words that are taken, functions."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Final, Literal, NamedTuple

from scoring.rules.entries import holds_card_number
from scoring.rules.needs import Need, comparison
from scoring.rules.tokens import Problem, Token

Kind = Literal["number", "text", "truth"]

MAX_NUMBER: Final = 1e18
MAX_COUNT: Final = 1_000
IN_LIST: Final = "IN_LIST"
RESERVED: Final = frozenset(
    ("AND", "OR", "NOT", "IN", "BETWEEN", "LIKE", "ILIKE", "IS", "NULL", "TRUE", "FALSE", "DISTINCT", "FROM",
     "CASE", "WHEN", "THEN", "ELSE", "END", "SELECT", "OVER", "EXISTS", "WITH")
)  # fmt: skip
_TURNED: Final = str.maketrans("<>", "><")
COMPARISONS: Final = frozenset(("=", "<>", "!=", "<", ">", "<=", ">="))
ONE_ROW: Final = "a condition sees one transaction at a time: no aggregates, no windows, no subqueries"

_CALLED: Final[dict[Kind | None, str]] = {
    "number": "a number",
    "text": "a text",
    "truth": "true or false",
    None: "NULL",
}


class Function(NamedTuple):
    """A function's arguments and result; of `same` all arguments are of one kind, which is the result's.

    A `count` is written as a whole number. The last argument of a variadic function may be repeated.
    """

    arguments: tuple[Kind | Literal["same", "count"], ...]
    result: Kind | Literal["same"]
    variadic: bool = False


FUNCTIONS: Final[Mapping[str, Function]] = {
    "ABS": Function(("number",), "number"),
    "CEIL": Function(("number",), "number"),
    "COALESCE": Function(("same", "same"), "same", variadic=True),
    "ENDS_WITH": Function(("text", "text"), "truth"),
    "FLOOR": Function(("number",), "number"),
    "GREATEST": Function(("number", "number"), "number", variadic=True),
    "LEAST": Function(("number", "number"), "number", variadic=True),
    "LEFT": Function(("text", "count"), "text"),
    "LENGTH": Function(("text",), "number"),
    "LOWER": Function(("text",), "text"),
    "NULLIF": Function(("same", "same"), "same"),
    "STARTS_WITH": Function(("text", "text"), "truth"),
    "SUBSTR": Function(("text", "count", "count"), "text"),
    "UPPER": Function(("text",), "text"),
}


class Part(NamedTuple):
    """A part of a condition as SQL for Polars; the kind None is that of a bare NULL, which fits every other.

    Of a number or a text as it is written, `value` is what it says; of a condition, `need` is what must hold for it.
    """

    sql: str
    kind: Kind | None
    at: int
    value: float | str | None = None
    need: Need | None = None


class LookUp(NamedTuple):
    """A field looked up in a list."""

    field: str
    list_name: str

    @property
    def column(self) -> str:
        """Name of the column with the answers."""
        return f"{self.field} in {self.list_name}"


class Condition(NamedTuple):
    """A condition that can be evaluated.

    Attributes:
        sql: for Polars.
        fields: the columns that it reads.
        look_ups: the lists that it asks.
        need: what must hold for it; None where that is not known.
    """

    sql: str
    fields: frozenset[str]
    look_ups: frozenset[LookUp]
    need: Need | None = None


def must_be(part: Part, kind: Kind, where: str) -> None:
    """Raise Problem for a part of another kind; a bare NULL can be a number or a text, but no condition."""
    if part.kind != kind and (part.kind is not None or kind == "truth"):
        raise Problem(f"{where} stands {_CALLED[kind]}, not {_CALLED[part.kind]}", part.at)


def common_kind(parts: Iterable[Part], at: int) -> Kind | None:
    """The kind of all parts; raises Problem where they are of several."""
    kinds = list(dict.fromkeys(part.kind for part in parts if part.kind is not None))
    if len(kinds) > 1:
        raise Problem(f"{_CALLED[kinds[0]]} and {_CALLED[kinds[1]]} do not go together", at)
    return kinds[0] if kinds else None


def condition_kind(part: Part) -> None:
    """Raise Problem for what is no condition."""
    if part.kind != "truth":
        raise Problem(f"is {_CALLED[part.kind]}; a condition is true or false", part.at)


def literal(token: Token) -> Part:
    """A number or a text; a number becomes a float, so that arithmetic neither wraps nor truncates."""
    if token.kind == "text":
        if holds_card_number(token.text):
            raise Problem("a card number stands here; put it into a list with: fraudstream list add", token.at)
        return Part(text_sql(token.text), "text", token.at, token.text)
    value = float(token.text)
    if value > MAX_NUMBER:
        raise Problem(f"the number is larger than {MAX_NUMBER:g}", token.at)
    return Part(repr(value), "number", token.at, value)


def text_sql(text: str) -> str:
    """A text between quotes.

    >>> text_sql("it's")
    "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"


def compared(left: Part, sign: str, right: Part, fields: Mapping[str, Kind]) -> Need | None:
    """What the comparison of a field with a number or a text needs; None of any other comparison."""
    for field, its_sign, other in ((left, sign, right), (right, sign.translate(_TURNED), left)):
        if field.sql in fields and other.value is not None:
            return comparison(field.sql, its_sign, other.value)
    return None


def nearest(name: str, known: Iterable[str]) -> str:
    """What was probably meant, as the end of a sentence."""
    close = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {close[0]}?" if close else ""
