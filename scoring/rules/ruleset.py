"""A loaded rule set, and what it decides: one engine for batches of the score role and for backtests."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from scoring.decision import Verdict
from scoring.manifest import Thresholds
from scoring.reasons import rule_reason
from scoring.rules.columns import FIELDS, OLD_CARD_IDS, Column
from scoring.rules.entries import CARD_ID
from scoring.rules.grammar import Condition, LookUp
from scoring.rules.lists import Entries, ListDefinition, Membership, Truths, leaves
from scoring.rules.needs import UNKNOWN_ENDS, Ends, may_be_true

Mode = Literal["first_matched", "all_matched"]
Rows = NDArray[np.intp]

_REVISION: Final = "1"
"""Of the language of conditions: what the same text means."""
_SEVERITY: Final[Mapping[Verdict, int]] = {"approve": 0, "review": 1, "block": 2}
NOBODY: Final = -1
_EVERY_ROW: Final = "every row"
_MAY_COLLAPSE: Final = ("CASE ", "COALESCE(", "NULLIF(", "LEAST(", "GREATEST(")
_NO_ROWS: Final[Rows] = np.empty(0, np.intp)


class Rule(msgspec.Struct, frozen=True):
    """A rule, checked.

    Attributes:
        id: unique in the rule set.
        when: condition as written.
        outcome: of what it matches.
        priority: rules of a lower number come first.
        reason: why, for people.
        description: for those who read the file.
        enabled: whether it is evaluated at all.
        shadow: whether it is evaluated without effect.
    """

    id: str
    when: str
    outcome: Verdict
    priority: int
    reason: str
    description: str = ""
    enabled: bool = True
    shadow: bool = False


class Decided(msgspec.Struct, frozen=True):
    """What the rules say about n authorizations.

    Attributes:
        rules: the rules that were evaluated, in the order in which they decide.
        hits: of each, the rows that it matches, ascending.
        deciding: of each row, the place of the rule that decides it in `rules`, or NOBODY; shape (n,).
    """

    rules: tuple[Rule, ...]
    hits: tuple[Rows, ...]
    deciding: NDArray[np.int16]

    def rule_ids(self) -> list[str | None]:
        """Of each row, the rule that decides it, or None: the model's verdict stands."""
        names: list[str | None] = [*(rule.id for rule in self.rules), None]
        return [names[place] for place in self.deciding.tolist()]

    def outcomes(self, model: Sequence[Verdict]) -> list[Verdict]:
        """Of each row the outcome: the deciding rule's, or else the model's."""
        if not (self.deciding >= 0).any():
            return list(model)
        return [
            own if place < 0 else self.rules[place].outcome
            for own, place in zip(model, self.deciding.tolist(), strict=True)
        ]

    def matched(self) -> list[tuple[str, ...]]:
        """Of each row, all rules with effect that match it, in their order."""
        found = self._by_row(shadow=False)
        return [found.get(row, ()) for row in range(len(self.deciding))]

    def shadow_matched(self) -> dict[int, tuple[str, ...]]:
        """All shadow rules that match a row, in their order, of the rows that any of them matches."""
        return self._by_row(shadow=True)

    def _by_row(self, *, shadow: bool) -> dict[int, tuple[str, ...]]:
        found: dict[int, tuple[str, ...]] = {}
        for rule, rows in zip(self.rules, self.hits, strict=True):
            if rule.shadow == shadow:
                for row in rows.tolist():
                    found[row] = (*found.get(row, ()), rule.id)
        return found


class RuleSet:
    """Rules that decide batches. It never changes; a new version is a new object.

    Args:
        rules: in the order of their files.
        conditions: of the enabled rules, by their id.
        mode: which of several matching rules decides.
        lists: by name.
        thresholds: used in place of the model's, where they are given.
        files: list files that it was read from.

    Attributes:
        version: `rs-` and 12 hex digits of everything that a decision depends on: not the descriptions, and not what
            is in lists in Redis.
        rules: all of them, those that are off too.
        evaluated: those that are on, in the order in which they decide.
        mode: as given.
        thresholds, files: as given.
        lists: as given.
        columns: what `decide` reads.
        redis_lists: lists in Redis that its rules ask, and the field of each.
        told: of each rule that is on, by its id, its reason as outcomes tell it.
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        conditions: Mapping[str, Condition],
        mode: Mode,
        lists: Mapping[str, ListDefinition],
        thresholds: Thresholds | None = None,
        files: Sequence[Path] = (),
    ) -> None:
        self.files = tuple(files)
        self.rules, self.mode, self.lists, self.thresholds = tuple(rules), mode, dict(lists), thresholds
        self.version = _version(self.rules, mode, self.lists, thresholds)
        self.evaluated = tuple(sorted((rule for rule in rules if rule.enabled), key=lambda rule: rule.priority))
        used = [conditions[rule.id] for rule in self.evaluated]
        self._conditions = tuple(used)
        self._expressions = [row_wise(condition).alias(str(place)) for place, condition in enumerate(used)]
        self._look_ups = sorted({look_up for condition in used for look_up in condition.look_ups})
        self._fields = sorted({name for condition in used for name in condition.fields})
        asked = {look_up.field for look_up in self._look_ups}
        old = [OLD_CARD_IDS] if CARD_ID in asked else []
        self.columns = (*sorted(asked | set(self._fields)), *old)
        self._leaves = {look_up.list_name: leaves(look_up.list_name, self.lists) for look_up in self._look_ups}
        self._fixed = {
            name: Entries(frozenset(one.values), one.match) for name, one in self.lists.items() if not one.redis
        }
        everything = {name for names in self._leaves.values() for name in names}
        self.redis_lists = {name: self.lists[name] for name in sorted(everything) if self.lists[name].redis}
        self._deciding_order = self._order_of_deciding()
        self.told = {
            rule.id: rule_reason(rule.id, rule.reason, condition.fields | {asked.field for asked in condition.look_ups})
            for rule, condition in zip(self.evaluated, used, strict=True)
        }

    def decide(
        self, columns: Mapping[str, Column | pl.Series], n: int, members: Mapping[str, Entries] | None = None
    ) -> Decided:
        """Evaluate every rule that is on for a batch.

        Args:
            columns: at least those named in `columns`, each of length n.
            n: number of authorizations.
            members: entries of the lists in Redis, as far as they are known.
        """
        if not self._expressions or not n:
            return Decided(self.evaluated, (_NO_ROWS,) * len(self.evaluated), np.full(n, NOBODY, np.int16))
        seen = _Seen(columns, {one.column: self._look_up(one, columns, members or {}) for one in self._look_ups})
        places = [place for place, one in enumerate(self._conditions) if may_be_true(one.need, seen)]
        hits = self._hits(places, seen, n)
        deciding = np.full(n, NOBODY, np.int16)
        for place in self._deciding_order:
            deciding[hits[place]] = place
        return Decided(self.evaluated, hits, deciding)

    def _hits(self, places: Sequence[int], seen: _Seen, n: int) -> tuple[Rows, ...]:
        """The rows that each rule matches, where only those at these places can match any."""
        if not places:
            return (_NO_ROWS,) * len(self._conditions)
        asked = [self._conditions[place] for place in places]
        fields = {name for condition in asked for name in condition.fields}
        look_ups = {one.column for condition in asked for one in condition.look_ups}
        frame = (
            every_row(n)
            .to_frame()
            .hstack(
                [
                    *(_series(name, seen.columns[name]) for name in sorted(fields)),
                    *(_truths(name, seen.look_ups[name]) for name in sorted(look_ups)),
                ]
            )
        )
        found = frame.select([self._expressions[place] for place in places])
        matched = {place: _rows(found[str(place)]) for place in places}
        return tuple(matched.get(place, _NO_ROWS) for place in range(len(self._conditions)))

    def _look_up(
        self, look_up: LookUp, columns: Mapping[str, Column | pl.Series], members: Mapping[str, Entries]
    ) -> Truths | pl.Series:
        parts = [self._fixed.get(name) or members.get(name) for name in self._leaves[look_up.list_name]]
        membership = Membership(parts)
        column = columns[look_up.field]
        if isinstance(column, pl.Series):
            return membership.look_up_series(column)
        aliases = columns.get(OLD_CARD_IDS) if look_up.field == CARD_ID else None
        return membership.look_up(column, aliases)  # type: ignore[arg-type]  # a text column holds texts

    def _order_of_deciding(self) -> list[int]:
        """Places of the rules with effect, the one that overrules all others last."""
        places = [place for place, rule in enumerate(self.evaluated) if not rule.shadow]
        if self.mode == "all_matched":
            places.sort(key=lambda place: -_SEVERITY[self.evaluated[place].outcome])
        return places[::-1]


class _Seen:
    """A batch, as far as it can be told cheaply what may be true of it; columns of Polars are not looked at."""

    def __init__(self, columns: Mapping[str, Column | pl.Series], look_ups: Mapping[str, Truths | pl.Series]) -> None:
        self.columns, self.look_ups = columns, look_ups
        self._ends: dict[str, Ends] = {}
        self._texts: dict[str, frozenset[object]] = {}

    def ends(self, field: str) -> Ends:
        """Smallest and largest of a column of numbers."""
        found = self._ends.get(field)
        if found is None:
            column = self.columns[field]
            found = (float(column.min()), float(column.max())) if isinstance(column, np.ndarray) else UNKNOWN_ENDS
            self._ends[field] = found
        return found

    def holds(self, field: str, text: str) -> bool:
        """Whether a text may be in a column."""
        column = self.columns[field]
        if isinstance(column, pl.Series):
            return True
        if field not in self._texts:
            self._texts[field] = frozenset(column)
        return text in self._texts[field]

    def found(self, column: str) -> bool:
        """Whether a look-up may have found something."""
        found = self.look_ups[column]
        return isinstance(found, pl.Series) or True in found


def _truths(name: str, column: Truths | pl.Series) -> pl.Series:
    return column.alias(name) if isinstance(column, pl.Series) else pl.Series(name, column, dtype=pl.Boolean)


def _series(name: str, column: Column | pl.Series) -> pl.Series:
    if isinstance(column, pl.Series):
        return column.cast(pl.String if FIELDS[name] == "text" else pl.Float64).alias(name)
    if FIELDS[name] == "text":
        return pl.Series(name, column, dtype=pl.String)
    # A contiguous array of the very type is taken over without a look at its values.
    return pl.Series(name, np.ascontiguousarray(column, np.float64))


def every_row(n: int) -> pl.Series:
    """What `row_wise` counts on: a column of truths, as long as the batch."""
    return pl.Series(_EVERY_ROW, np.ones(n, np.bool_))


def row_wise(condition: Condition) -> pl.Expr:
    """The condition as an expression over a frame with `every_row`, with an answer for each of its rows.

    Where a CASE or a function of one comes to a constant for all rows of a batch, Polars may answer with one row and
    then refuse it beside others: so the answer is joined to a column that has every row.
    """
    expression = pl.sql_expr(condition.sql)
    plain = (condition.fields or condition.look_ups) and not any(word in condition.sql for word in _MAY_COLLAPSE)
    return expression if plain else pl.col(_EVERY_ROW) & expression


def _rows(found: pl.Series) -> Rows:
    """Where a rule matches; NULL is no match, and in an array it is None, which is as false as False."""
    return np.flatnonzero(found.to_numpy()) if found.any() else _NO_ROWS


def _version(
    rules: Sequence[Rule], mode: Mode, lists: Mapping[str, ListDefinition], thresholds: Thresholds | None
) -> str:
    decisive = (
        _REVISION,
        mode,
        [msgspec.structs.replace(rule, description="") for rule in rules],
        [lists[name] for name in sorted(lists)],
        thresholds,
    )
    return f"rs-{hashlib.sha256(msgspec.json.encode(decisive)).hexdigest()[:12]}"
