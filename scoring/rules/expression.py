"""A rule's condition: read, checked for types, and written again for Polars.

What is understood is the row-wise part of SQL and no more: an aggregate, a window or a subquery is no word here, so it
is refused like any other unknown name. The SQL that comes out has every bracket written, so that no reader of it can
see another order of operations, and no division by zero: a divisor of 0 is NULL.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from scoring.rules.cursor import Cursor
from scoring.rules.grammar import (
    COMPARISONS,
    FUNCTIONS,
    IN_LIST,
    MAX_COUNT,
    ONE_ROW,
    RESERVED,
    Condition,
    Function,
    Kind,
    LookUp,
    Part,
    common_kind,
    compared,
    condition_kind,
    literal,
    must_be,
    nearest,
    text_sql,
)
from scoring.rules.needs import Found, every, some
from scoring.rules.tokens import Problem, Token, tokens

_CONSTANTS: Final[Mapping[str, Kind | None]] = {"NULL": None, "TRUE": "truth", "FALSE": "truth"}


def read_condition(text: str, fields: Mapping[str, Kind], lists: Mapping[str, str]) -> Condition:
    """Read and check a condition.

    Args:
        text: SQL boolean expression.
        fields: the columns that there are, and their kinds.
        lists: the lists that there are, and the field that each is for.

    Raises:
        Problem: it cannot be used; says where and why.

    >>> read_condition("amount / prev > 5", {"amount": "number", "prev": "number"}, {}).sql
    '((amount / NULLIF(prev, 0.0)) > 5.0)'
    """
    reader = _Reader(tokens(text), fields, lists)
    whole = reader.whole()
    condition_kind(whole)
    return Condition(whole.sql, frozenset(reader.read), frozenset(reader.look_ups), whole.need)


class _Reader(Cursor):
    """Recursive descent; every method reads one level of binding and gives it back as a part."""

    def __init__(self, words: list[Token], fields: Mapping[str, Kind], lists: Mapping[str, str]) -> None:
        super().__init__(words)
        self._fields, self._lists = fields, lists
        self.read: set[str] = set()
        self.look_ups: set[LookUp] = set()

    def whole(self) -> Part:
        part = self._either()
        if self.here.kind != "end":
            raise self.unexpected()
        return part

    def _either(self) -> Part:
        return self.deeper(lambda: self._joined("OR", self._both))

    def _both(self) -> Part:
        return self._joined("AND", self._not)

    def _joined(self, word: str, inner: Callable[[], Part]) -> Part:
        parts = [inner()]
        while self.accept(word):
            parts.append(inner())
        if len(parts) == 1:
            return parts[0]
        for part in parts:
            must_be(part, "truth", f"beside {word}")
        need = (every if word == "AND" else some)(part.need for part in parts)
        return Part(f"({f' {word} '.join(part.sql for part in parts)})", "truth", parts[0].at, need=need)

    def _not(self) -> Part:
        at = self.here.at
        if not self.accept("NOT"):
            return self._predicate()
        part = self.deeper(self._not)
        must_be(part, "truth", "behind NOT")
        return Part(f"(NOT {part.sql})", "truth", at)

    def _predicate(self) -> Part:
        left = self._sum()
        if self.here.kind == "sign" and self.here.text in COMPARISONS:
            return self._comparison(left, self.take())
        if self.accept("IS"):
            return self._is(left)
        negation = "NOT " if self.accept("NOT") else ""
        if self.accept("IN"):
            return self._in(left, negation)
        if self.accept("BETWEEN"):
            return self._between(left, negation)
        for word in ("LIKE", "ILIKE"):
            if self.accept(word):
                return self._like(left, f"{negation}{word}")
        if negation:
            raise self.unexpected("; IN, BETWEEN or LIKE was expected")
        return left

    def _comparison(self, left: Part, sign: Token) -> Part:
        right = self._sum()
        if left.kind is None or right.kind is None:
            raise Problem("nothing equals NULL; write IS NULL or IS NOT NULL", sign.at)
        if common_kind((left, right), sign.at) == "truth" and sign.text not in {"=", "<>", "!="}:
            raise Problem("true and false have no order", sign.at)
        need = compared(left, sign.text, right, self._fields)
        return Part(f"({left.sql} {sign.text} {right.sql})", "truth", left.at, need=need)

    def _is(self, left: Part) -> Part:
        negation = "NOT " if self.accept("NOT") else ""
        if self.accept("DISTINCT", "FROM"):
            right = self._sum()
            common_kind((left, right), right.at)
            return Part(f"({left.sql} IS {negation}DISTINCT FROM {right.sql})", "truth", left.at)
        if self.accept("NULL"):
            return Part(f"({left.sql} IS {negation}NULL)", "truth", left.at)
        for word in ("TRUE", "FALSE"):
            if self.accept(word):
                must_be(left, "truth", f"before IS {word}")
                # Not left to Polars, to which NULL IS NOT TRUE is NULL.
                asked = left.sql if word == "TRUE" else f"(NOT {left.sql})"
                answers = "FALSE ELSE TRUE" if negation else "TRUE ELSE FALSE"
                return Part(f"(CASE WHEN {asked} THEN {answers} END)", "truth", left.at)
        raise self.unexpected("; NULL, TRUE, FALSE or DISTINCT FROM was expected")

    def _in(self, left: Part, negation: str) -> Part:
        self.expect("(")
        values = [self._literal()]
        while self.accept(","):
            values.append(self._literal())
        self.expect(")")
        for value in values:
            common_kind((left, value), value.at)
        inside = ", ".join(value.sql for value in values)
        return Part(f"({left.sql} {negation}IN ({inside}))", "truth", left.at)

    def _literal(self) -> Part:
        at, minus = self.here.at, self.accept("-")
        token = self.take()
        if token.kind not in {"number", "text"} or (minus and token.kind == "text"):
            raise Problem("behind IN stand numbers or texts, between brackets", at)
        part = literal(token)
        return part._replace(sql=f"-{part.sql}") if minus else part

    def _between(self, left: Part, negation: str) -> Part:
        low = self._sum()
        self.expect("AND")
        high = self._sum()
        if common_kind((left, low, high), low.at) == "truth":
            raise Problem("true and false have no order", left.at)
        return Part(f"({left.sql} {negation}BETWEEN {low.sql} AND {high.sql})", "truth", left.at)

    def _like(self, left: Part, word: str) -> Part:
        must_be(left, "text", f"before {word}")
        pattern = self.take()
        if pattern.kind != "text":
            raise Problem(f"behind {word} stands a text, as in merchant_id {word} 'shop-%'", pattern.at)
        return Part(f"({left.sql} {word} {text_sql(pattern.text)})", "truth", left.at)

    def _sum(self) -> Part:
        return self._chain(("+", "-"), self._product)

    def _product(self) -> Part:
        return self._chain(("*", "/"), self._signed)

    def _chain(self, signs: tuple[str, ...], inner: Callable[[], Part]) -> Part:
        parts = [inner()]
        sql = parts[0].sql
        while self.here.kind == "sign" and self.here.text in signs:
            sign = self.take().text
            part = inner()
            for beside in (parts[-1], part):
                must_be(beside, "number", f"beside {sign}")
            sql += f" / NULLIF({part.sql}, 0.0)" if sign == "/" else f" {sign} {part.sql}"
            parts.append(part)
        return parts[0] if len(parts) == 1 else Part(f"({sql})", "number", parts[0].at)

    def _signed(self) -> Part:
        at = self.here.at
        if not self.accept("-"):
            return self._primary()
        if self.here.kind == "number":
            part = literal(self.take())
            return Part(f"-{part.sql}", "number", at, -float(part.sql))
        part = self.deeper(self._signed)
        must_be(part, "number", "behind -")
        return Part(f"(0.0 - {part.sql})", "number", at)

    def _primary(self) -> Part:
        token = self.here
        if self.accept("("):
            part = self._either()
            self.expect(")")
            return part
        if self.accept("CASE"):
            return self._case(token.at)
        if token.word in _CONSTANTS:
            self.take()
            return Part(token.word, _CONSTANTS[token.word], token.at)
        if token.kind in {"number", "text"}:
            self.take()
            return literal(token)
        if token.kind in {"end", "sign"} or token.word in RESERVED:
            raise self.unexpected(f"; {ONE_ROW}" if token.word in {"SELECT", "OVER", "EXISTS", "WITH"} else "")
        self.take()
        if token.kind == "name" and self.accept("("):
            return self._look_up(token) if token.word == IN_LIST else self._call(token)
        self.read.add(token.text)
        return Part(token.text, self._kind_of(token), token.at)

    def _kind_of(self, token: Token) -> Kind:
        kind = self._fields.get(token.text)
        if kind is None:
            raise Problem(f"there is no field {token.text}{nearest(token.text, self._fields)}", token.at)
        return kind

    def _case(self, at: int) -> Part:
        values: list[Part] = []
        sql = "CASE"
        while self.accept("WHEN"):
            when = self._either()
            must_be(when, "truth", "behind WHEN")
            self.expect("THEN")
            values.append(self._either())
            sql += f" WHEN {when.sql} THEN {values[-1].sql}"
        if not values:
            raise self.unexpected("; WHEN was expected")
        if self.accept("ELSE"):
            values.append(self._either())
            sql += f" ELSE {values[-1].sql}"
        self.expect("END")
        return Part(f"({sql} END)", common_kind(values, at), at)

    def _call(self, name: Token) -> Part:
        function = FUNCTIONS.get(name.word)
        if function is None:
            raise Problem(f"there is no function {name.text}{nearest(name.word, FUNCTIONS)}; {ONE_ROW}", name.at)
        arguments = [self._argument(function, 0)]
        while self.accept(","):
            arguments.append(self._argument(function, len(arguments)))
        self.expect(")")
        if len(arguments) < len(function.arguments):
            raise Problem(f"{name.text} takes {len(function.arguments)} arguments, not {len(arguments)}", name.at)
        kind = common_kind(arguments, name.at) if function.result == "same" else function.result
        return Part(f"{name.word}({', '.join(part.sql for part in arguments)})", kind, name.at)

    def _argument(self, function: Function, place: int) -> Part:
        last = len(function.arguments) - 1
        if place > last and not function.variadic:
            raise self.unexpected(f"; at most {last + 1} arguments were expected")
        wanted = function.arguments[min(place, last)]
        if wanted == "count":
            token = self.take()
            if not token.text.isdigit() or not 1 <= int(token.text) <= MAX_COUNT:
                raise Problem(f"here stands a whole number from 1 to {MAX_COUNT}", token.at)
            return Part(token.text, "number", token.at)
        part = self._either()
        if wanted != "same":
            must_be(part, wanted, "here")
        return part

    def _look_up(self, name: Token) -> Part:
        field = self.take()
        if field.kind not in {"name", "quoted"}:
            raise Problem(f"{IN_LIST} takes a field and a list, as in {IN_LIST}(card_id, 'blocked_cards')", field.at)
        self._kind_of(field)
        self.expect(",")
        wanted = self.take()
        if wanted.kind != "text" or wanted.text not in self._lists:
            raise Problem(f"there is no list {wanted.text!r}{nearest(wanted.text, self._lists)}", wanted.at)
        self.expect(")")
        if self._lists[wanted.text] != field.text:
            raise Problem(f"the list {wanted.text!r} is one of {self._lists[wanted.text]}", field.at)
        look_up = LookUp(field.text, wanted.text)
        self.look_ups.add(look_up)
        return Part(f'"{look_up.column}"', "truth", name.at, need=Found(look_up.column))
