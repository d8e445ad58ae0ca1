"""Rule files become a rule set, or one error that tells everything that is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, get_args

import msgspec
import polars as pl

from features.errors import RulesError
from scoring.decision import VERDICTS
from scoring.manifest import Costs, Thresholds
from scoring.rules.columns import FIELDS, MODEL_OUTCOME, TEXTS
from scoring.rules.entries import holds_card_number
from scoring.rules.expression import read_condition
from scoring.rules.fields import Fields, Problems
from scoring.rules.grammar import Condition
from scoring.rules.lists import ListDefinition, Match, checked_values, leaves, read_list_file
from scoring.rules.ruleset import Mode, Rule, RuleSet, every_row, row_wise
from scoring.rules.source import Item, SourceError, read_yaml
from scoring.rules.tokens import Problem
from scoring.stamp import stamp

MAX_FILES: Final = 100
MAX_RULES: Final = 500
MAX_LISTS: Final = 100
DEFAULT_PRIORITY: Final = 100
SUFFIXES: Final = (".yaml", ".yml")

_TOP: Final = ("mode", "thresholds", "lists", "rules")
_RULE: Final = ("id", "description", "when", "outcome", "priority", "reason", "enabled", "shadow")
_LIST: Final = ("field", "match", "redis", "values", "file", "includes")
_PLAIN_THRESHOLDS: Final = ("review", "block")
_COSTS: Final = ("review", "decline", "queue", "recovered", "rates")
_NOT_USED: Final = 1.0
"""Thresholds beside costs, which decide in their place."""


def load_rules(path: Path) -> RuleSet:
    """Load a rule file, or a folder of them as one rule set.

    Raises:
        RulesError: it cannot be used; one line for each problem, with file, line and rule.
    """
    loader = _Loader()
    for file in rule_files(path):
        loader.read(file)
    return loader.made()


def rule_files(path: Path) -> list[Path]:
    """The files of a rule set in order; raises RulesError where there is none."""
    if not path.is_dir():
        if not path.exists():
            raise RulesError(f"{path}: there is no such file or folder")
        return [path]
    files = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES and not file.name.startswith("."))
    if not files:
        raise RulesError(f"{path}: holds no file *.yaml")
    if len(files) > MAX_FILES:
        raise RulesError(f"{path}: holds more than {MAX_FILES} rule files")
    return files


def fingerprint(path: Path, rules: RuleSet | None = None) -> str:
    """A text that changes when a rule file or list file does: for whoever watches them; reads no content.

    Args:
        path: as for `load_rules`.
        rules: what was loaded from there, for the list files that it read.
    """
    try:
        files = [*rule_files(path), *(rules.files if rules is not None else ())]
    except (RulesError, OSError) as exc:
        return f"none: {exc}"
    return stamp(files)


class _Loader:
    """Gathers the content of files, then checks what only the whole can tell."""

    def __init__(self) -> None:
        self._problems = Problems()
        self._mode: Mode | None = None
        self._thresholds: Thresholds | None = None
        self._rules: list[tuple[Rule, Item]] = []
        self._lists: dict[str, ListDefinition] = {}
        self._files: list[Path] = []

    def read(self, file: Path) -> None:
        """Take one file in."""
        try:
            top = Fields(read_yaml(file), _TOP, self._problems)
        except SourceError as exc:
            self._problems.say(str(exc))
            return
        if top.item("mode"):
            mode = top.choice("mode", get_args(Mode))
            if self._mode not in {None, mode}:
                top.wrong("mode", f"another file says {self._mode}")
            self._mode = mode
        if (item := top.item("thresholds")) is not None:
            if self._thresholds is not None:
                top.wrong("thresholds", "another file gives thresholds too; they stand in one place")
            self._thresholds = self._read_thresholds(item)
        self._read_lists(top)
        self._read_rules(top)

    def _read_rules(self, top: Fields) -> None:
        item = top.item("rules")
        if item is None:
            return
        if not isinstance(item.value, Sequence) or isinstance(item.value, str):
            top.wrong("rules", "a list of rules is expected")
            return
        for one in item.value:
            self._read_rule(one)
        if len(self._rules) > MAX_RULES:
            top.wrong("rules", f"there are more than {MAX_RULES} rules")

    def _read_rule(self, item: Item) -> None:
        named = item.value if isinstance(item.value, Mapping) else {}
        own = named["id"].value if "id" in named else ""
        fields = Fields(item, _RULE, self._problems, own if isinstance(own, str) else "")
        rule = Rule(
            id=fields.name("id"),
            when=fields.text("when", longest=10_000),
            outcome=fields.choice("outcome", VERDICTS),
            priority=fields.whole("priority", DEFAULT_PRIORITY, 0, 1_000_000),
            reason=fields.text("reason", longest=500),
            description=fields.text("description", "", longest=5_000),
            enabled=fields.truth("enabled", default=True),
            shadow=fields.truth("shadow", default=False),
        )
        if holds_card_number(rule.reason):
            fields.wrong("reason", "holds a card number")
        for other, place in self._rules:
            if other.id == rule.id and rule.id:
                fields.wrong("id", f"there is another rule of this id, at {place.place}")
        self._rules.append((rule, item))

    def _read_thresholds(self, item: Item) -> Thresholds | None:
        named = item.value if isinstance(item.value, Mapping) else {}
        fields = Fields(item, ("costs",) if "costs" in named else _PLAIN_THRESHOLDS, self._problems)
        try:
            if "costs" in named:
                return Thresholds(_NOT_USED, _NOT_USED, costs=self._read_costs(named["costs"]))
            return Thresholds(fields.number("review"), fields.number("block"))
        except ValueError as exc:
            fields.wrong(None, str(exc))
            return None

    def _read_costs(self, item: Item) -> Costs:
        fields = Fields(item, _COSTS, self._problems)
        rates: dict[str, float] = {}
        if (given := fields.item("rates")) is not None:
            names = tuple(given.value) if isinstance(given.value, Mapping) else ()
            of = Fields(given, names, self._problems)
            rates = {name: of.number(name) for name in names}
        return Costs(
            fields.number("review"), fields.number("decline"), fields.number("queue", 0.0),
            fields.number("recovered", 1.0), rates,
        )  # fmt: skip

    def _read_lists(self, top: Fields) -> None:
        item = top.item("lists")
        if item is None:
            return
        known = tuple(item.value) if isinstance(item.value, Mapping) else ()
        Fields(item, known, self._problems)
        for name, one in item.value.items() if isinstance(item.value, Mapping) else ():
            fields = Fields(one, _LIST, self._problems)
            if name in self._lists:
                fields.wrong(None, f"there is another list of the name {name}")
            if not name.replace("_", "a").replace("-", "a").isalnum() or not name.isascii() or len(name) > 64:
                fields.wrong(None, "the name of a list has 1 to 64 letters, digits, _ and -")
            self._lists[name] = self._read_list(name, fields)
        if len(self._lists) > MAX_LISTS:
            top.wrong("lists", f"there are more than {MAX_LISTS} lists")

    def _read_list(self, name: str, fields: Fields) -> ListDefinition:
        field = fields.choice("field", (*TEXTS,))
        made = ListDefinition(
            name,
            field,
            fields.choice("match", get_args(Match), "exact"),
            redis=fields.truth("redis", default=False),
            includes=fields.texts("includes"),
        )
        values, file = fields.texts("values"), fields.text("file", "", longest=4_096)
        if made.redis + bool(values) + bool(file) > 1:
            fields.wrong(None, "the entries of a list stand in one place: redis, values or file")
        elif not (made.redis or values or file or made.includes):
            fields.wrong(None, "a list needs redis: true, values, file or includes")
        try:
            own = checked_values(values)
            if file:
                path = fields.place.file.parent / file
                self._files.append(path)
                own = read_list_file(path)
        except ValueError as exc:
            fields.wrong(None, f"list {name}: {exc}")
            return made
        return msgspec.structs.replace(made, values=own)

    def made(self) -> RuleSet:
        """The rule set; raises RulesError with all that was found."""
        for name in self._lists:
            try:
                leaves(name, self._lists)
            except ValueError as exc:
                self._problems.say(f"lists: {exc}")
                break
        fields_of = {name: one.field for name, one in self._lists.items()}
        conditions: dict[str, Condition] = {}
        for rule, item in self._rules:
            try:
                conditions[rule.id] = _checked(rule, fields_of)
            except Problem as exc:
                self._at(rule, item, exc)
        if not self._rules and self._thresholds is None and not self._problems:
            self._problems.say("there is neither a rule nor a threshold in it")
        if self._problems:
            raise RulesError(str(self._problems))
        return RuleSet(
            [rule for rule, _ in self._rules],
            conditions,
            self._mode or "first_matched",
            self._lists,
            self._thresholds,
            self._files,
        )

    def _at(self, rule: Rule, item: Item, problem: Problem) -> None:
        """Tell a problem of a condition with the line that it stands in."""
        when = item.value["when"] if isinstance(item.value, Mapping) and "when" in item.value else item
        place = when.place
        if when.block and isinstance(when.value, str):
            # Below the sign that begins it; `when` was stripped, so leading lines count too.
            skipped = len(when.value) - len(when.value.lstrip())
            lines = when.value[: skipped + problem.at].count("\n")
            place = msgspec.structs.replace(place, line=place.line + 1 + lines)
        self._problems.add(place, f"when, character {problem.at + 1}: {problem}", rule.id)


def _checked(rule: Rule, lists: Mapping[str, str]) -> Condition:
    """The condition of a rule, tried on two rows: one of values, one of nothing."""
    condition = read_condition(rule.when, FIELDS, lists)
    columns = [_probe(name) for name in condition.fields]
    columns += [pl.Series(look_up.column, [True, None], dtype=pl.Boolean) for look_up in condition.look_ups]
    try:
        found = pl.DataFrame([every_row(2), *columns]).select(row_wise(condition)).to_series()
    except pl.exceptions.PolarsError as exc:
        raise Problem(f"cannot be evaluated: {str(exc).splitlines()[0]}", 0) from exc
    if found.dtype != pl.Boolean:
        raise Problem(f"is of the type {found.dtype}; a condition is true or false", 0)
    return condition


def _probe(name: str) -> pl.Series:
    if FIELDS[name] == "number":
        return pl.Series(name, [1.0, None], dtype=pl.Float64)
    return pl.Series(name, ["approve" if name == MODEL_OUTCOME else "a", None], dtype=pl.String)
