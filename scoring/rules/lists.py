"""Lists that rules look fields up in: cards, merchants, devices, countries, or how they begin."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec
import polars as pl

from features.wire import MAX_TEXT
from scoring.rules.entries import holds_card_number

Match = Literal["exact", "prefix"]
Truths = list[bool | None]

MAX_ENTRIES: Final = 1_000_000
MAX_FILE_BYTES: Final = 64 << 20
_FEW: Final = 64
"""Beginnings that are tried one by one faster than by their lengths."""


class ListDefinition(msgspec.Struct, frozen=True):
    """A list as a rule file declares it.

    Attributes:
        name: unique in the rule set.
        field: what it is of; a look-up of another field is refused.
        match: whether an entry is a whole value or how values begin.
        redis: whether its entries are in Redis (`fraudstream list`).
        values: its own entries, sorted; empty for a list in Redis.
        includes: lists of the same field and match whose entries count as well.
    """

    name: str
    field: str
    match: Match = "exact"
    redis: bool = False
    values: tuple[str, ...] = ()
    includes: tuple[str, ...] = ()


class Entries:
    """Entries of one list, for look-ups.

    Args:
        values: what is in the list; where entries are whole values, it may lose some while it is used.
        match: what an entry stands for.
    """

    def __init__(self, values: Collection[str], match: Match) -> None:
        self.values, self.match = values, match
        self.lengths = sorted({len(value) for value in values}) if match == "prefix" else []
        self._few = tuple(values) if match == "prefix" and len(values) <= _FEW else ()

    def has(self, value: str) -> bool:
        """Whether a value is in the list."""
        if self.match == "exact":
            return value in self.values
        if self._few:
            return value.startswith(self._few)
        return any(value[:length] in self.values for length in self.lengths)

    def mark(self, column: pl.Series) -> pl.Series:
        """`has` for many values at once; NULL for a value that is not there."""
        entries = pl.Series(list(self.values), dtype=pl.String)
        if self.match == "exact":
            return column.is_in(entries)
        found = column.is_in(entries.clear())
        for length in self.lengths:
            found |= column.str.head(length).is_in(entries.filter(entries.str.len_chars() == length))
        return found


class Membership:
    """One look-up: the entries of a list and of those that it includes.

    Args:
        parts: entries of each; None where they are not known yet.
    """

    def __init__(self, parts: Sequence[Entries | None]) -> None:
        self._known = [part for part in parts if part is not None]
        self._complete = len(self._known) == len(parts)

    def look_up(self, column: Sequence[str | None], aliases: Sequence[Sequence[str]] | None = None) -> Truths:
        """Whether each value is in the list; None where it is missing, or where the list is not known entirely.

        Args:
            column: values, length n.
            aliases: other values that stand for the same, length n.
        """
        if not self._known and not self._complete:
            return [None] * len(column)
        found = self._find(column)
        if aliases is not None and any(aliases):
            for row, others in enumerate(aliases):
                if others and not found[row] and any(map(self._has, others)):
                    found[row] = True
        return found

    def _find(self, column: Sequence[str | None]) -> Truths:
        if not self._complete:
            return [None if value is None else self._has(value) or None for value in column]
        has = self._has
        if len(self._known) == 1:
            (only,) = self._known
            if only.match == "exact":
                values = only.values
                return [None if value is None else value in values for value in column]
            has = only.has
        return [None if value is None else has(value) for value in column]

    def look_up_series(self, column: pl.Series) -> pl.Series:
        """`look_up` of a column of Polars, for large ones."""
        found = pl.Series([False], dtype=pl.Boolean).new_from_index(0, len(column))
        for part in self._known:
            found |= part.mark(column).fill_null(value=False)
        known = column.is_not_null() & (found | self._complete)
        return found.set(~known, None)

    def _has(self, value: str) -> bool:
        return any(part.has(value) for part in self._known)


def leaves(name: str, lists: Mapping[str, ListDefinition]) -> tuple[str, ...]:
    """The list itself and all that it includes, directly or not.

    Raises:
        ValueError: a list includes one that is not there, that is of another kind, or itself.
    """
    found: dict[str, None] = {}

    def visit(current: str, path: tuple[str, ...]) -> None:
        if current in path:
            raise ValueError(f"lists include each other in a circle: {' -> '.join((*path, current))}")
        found[current] = None
        for inner in lists[current].includes:
            if inner not in lists:
                raise ValueError(f"the list {current} includes {inner}, which is not there")
            if (lists[inner].field, lists[inner].match) != (lists[current].field, lists[current].match):
                raise ValueError(f"the list {current} includes {inner}, which is of another field or match")
            visit(inner, (*path, current))

    visit(name, ())
    return tuple(found)


def read_list_file(file: Path) -> tuple[str, ...]:
    """Entries of a list file: one a line; empty lines and lines that begin with `#` are none.

    Raises:
        ValueError: it cannot be read, is too large, or a line cannot be an entry; names the line and never quotes it.
    """
    try:
        size = file.stat().st_size
        if size > MAX_FILE_BYTES:
            raise ValueError(f"{file} is larger than {MAX_FILE_BYTES >> 20} MiB")
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError as exc:
        raise ValueError(f"{file} cannot be read: {exc.strerror or exc}") from None
    except UnicodeDecodeError as exc:
        raise ValueError(f"{file} is not UTF-8 (byte {exc.start})") from None
    if len(lines) > MAX_ENTRIES:
        raise ValueError(f"{file} has more than {MAX_ENTRIES:,} lines")
    found = set()
    for number, line in enumerate(lines, 1):
        entry = line.strip()
        if entry and not entry.startswith("#"):
            found.add(_checked(entry, f"{file}, line {number}"))
    return tuple(sorted(found))


def checked_values(values: Sequence[str]) -> tuple[str, ...]:
    """Entries that stand in a rule file; raises ValueError for one that cannot be."""
    return tuple(sorted({_checked(value.strip(), f"value {number}") for number, value in enumerate(values, 1)}))


def _checked(entry: str, where: str) -> str:
    if not 0 < len(entry) <= MAX_TEXT:
        raise ValueError(f"{where}: an entry has 1 to {MAX_TEXT} characters")
    if holds_card_number(entry):
        raise ValueError(
            f"{where} is a card number; a file must not hold any: use a list in Redis and `fraudstream list add`, "
            "which keeps the token alone"
        )
    return entry
