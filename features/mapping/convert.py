"""A foreign data set becomes a history of ours: Parquet files with the transaction's fields, labels, further inputs.

Rows keep their order; the offline builder sorts them (`by_time`). Nothing is dropped in silence: whatever is left out
is counted under its reason.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.errors import HistoryError
from features.history_columns import codes, fit_ids
from features.mapping.columns import (
    Moments,
    Money,
    decimal_texts,
    input_column,
    label_column,
    plain_text,
    text_column,
)
from features.mapping.reading import chunks, data_files, header_of, require
from features.mapping.spec import (
    GROUP,
    INPUT,
    LABELLED_AT,
    SPLIT,
    TEXTS,
    InputOf,
    Mapping,
    SplitOf,
    check_input_name,
)
from features.money import EXPONENTS

Bool = NDArray[np.bool_]
Progress = Callable[[int, int | None], None]

_PARTS: Final = ("train", "validation", "test")
_SIMULATED: Final = "simulated-"


class Converted(msgspec.Struct, frozen=True):
    """What was read.

    Attributes:
        rows: of the data set.
        written: of the history.
        left_out: rows that are not in it, by reason.
        changed: rows that are in it with another value than they had, by what was done.
        inputs: the model's further columns, with `numeric` or `categorical`.
        missing: rows without a value, by input; those with none are not in it.
    """

    rows: int
    written: int
    left_out: dict[str, int]
    changed: dict[str, int]
    inputs: dict[str, str]
    missing: dict[str, int]


def convert(source: Path, mapping: Mapping, out: Path, progress: Progress = lambda _done, _all: None) -> Converted:
    """Write a foreign data set as a history.

    Args:
        source: a CSV or Parquet file, or a folder of them.
        mapping: what its columns mean.
        out: a folder; made when it is not there, files of a history in it are replaced.
        progress: called with the rows read so far, and None: how many there are is not known before.

    Raises:
        HistoryError: the set cannot be read, lacks a column, or a row is no transaction and `bad_rows` says refuse.
    """
    files = data_files(source, mapping.files)
    try:
        out.mkdir(parents=True, exist_ok=True)
        for old in out.glob("*.parquet"):
            old.unlink()
    except OSError as exc:
        raise HistoryError(f"cannot write the history to {out}: {exc.strerror or exc}") from exc
    work = _Conversion(mapping, header_of(files[0], mapping.csv), files[0])
    number = rows = 0
    for file in files:
        for frame in _read(file, work, out):
            made = work.convert(frame, file, rows)
            rows += len(frame)
            if len(made):
                made.write_parquet(out / f"part-{number:06d}.parquet", compression="lz4", statistics=False)
                number += 1
            progress(rows, None)
    if not number:
        raise HistoryError(f"{source}: no row is left; left out: {work.reasons()}")
    return work.summary(rows)


def _read(file: Path, work: _Conversion, out: Path) -> Iterator[pl.DataFrame]:
    require(work.columns, header_of(file, work.mapping.csv), file)
    with tempfile.TemporaryDirectory(dir=out, prefix=".reading-") as folder:
        yield from chunks(file, work.columns, work.mapping.csv, Path(folder))


class _Conversion:
    """Converts frame by frame, and counts."""

    def __init__(self, mapping: Mapping, header: list[str], file: Path) -> None:
        self.mapping = mapping
        self._texts = {name: given for name in TEXTS if (given := mapping.text(name)) is not None}
        self._inputs = _expanded(mapping, header, file)
        declared = mapping.time_zone != "UTC"
        self._time = Moments(mapping.time, mapping.time_zone, declared=declared)
        self._label = mapping.truth
        at = self._label.at if self._label is not None else None
        self._labelled = Moments(at, mapping.time_zone, declared=declared) if at is not None else None
        self._known = {
            name: Moments(one.known_at, mapping.time_zone, declared=declared)
            for name, one in self._inputs.items()
            if one.known_at is not None
        }
        self._split = mapping.split if isinstance(mapping.split, SplitOf) else None
        self.columns = self._wanted(header)
        self._left_out: Counter[str] = Counter()
        self._changed: Counter[str] = Counter()
        self._missing: Counter[str] = Counter()
        self._written = 0
        self._check_leaks()

    def _check_leaks(self) -> None:
        label = self._label
        if label is None:
            return
        forbidden = {label.column, *(label.at.names if label.at is not None else ())}
        for name, one in self._inputs.items():
            if forbidden.intersection(one.names):
                raise HistoryError(
                    f"input {name} reads the label's own column: that is known only after the event; take it out of "
                    "inputs"
                )

    def _wanted(self, header: list[str]) -> list[str]:
        names: list[str] = []
        for given in self._texts.values():
            names += [given.column] if given.column is not None else given.columns
        names += [self.mapping.money.column, *self.mapping.time.names, *self.mapping.groups]
        if self._label is not None:
            names += [self._label.column, *(self._label.at.names if self._label.at is not None else ())]
        for one in self._inputs.values():
            names += one.names
        if self._split is not None and self._split.column is not None:
            names.append(self._split.column)
        # In the file's order: of a set without any of them, the first column is read, so that rows are counted.
        wanted = [name for name in header if name in set(names)]
        return wanted + [name for name in dict.fromkeys(names) if name not in wanted]

    def convert(self, frame: pl.DataFrame, file: Path, first_row: int) -> pl.DataFrame:
        """The rows of the history that some rows of the set make."""
        texts = {name: text_column(given, frame, first_row) for name, given in self._texts.items()}
        if self.mapping.simulated_cards:
            texts["card_id"] = _SIMULATED + texts["card_id"]
        exponent = codes(texts["currency"], lambda code: EXPONENTS.get(code or "", -1)).to_numpy().astype(np.int64)
        event_ms = self._time.read(frame)
        money = Money(self.mapping.money, frame[self.mapping.money.column], np.maximum(exponent, 0))
        keep = np.ones(len(frame), np.bool_)
        where = _Where(file, first_row, keep, self._left_out)
        strict = self.mapping.bad_rows == "refuse"
        unfit = "is missing, or no text of 1 to 128 printable characters"
        where.drop(~fit_ids(texts["card_id"]), f"card_id {unfit}", refuse=strict)
        where.drop(~fit_ids(texts["transaction_id"]), f"transaction_id {unfit}", refuse=strict)
        where.drop(exponent < 0, "currency is no active ISO 4217 code with minor units", refuse=strict)
        where.drop(event_ms < 0, f"event_time is none in the format {self._format()}", refuse=strict)
        minor = self._amounts(money, where, strict=strict)
        columns: dict[str, pl.Series] = {
            **{name: text for name, text in texts.items() if name != "currency"},
            "currency": texts["currency"],
            "amount": decimal_texts(minor, np.maximum(exponent, 0)),
            "event_time": pl.Series(event_ms).cast(pl.Datetime("ms", "UTC")),
        }
        columns |= self._labels(frame, where, strict=strict)
        for name, one in self._inputs.items():
            columns[INPUT + name] = self._input(name, one, frame, event_ms)
        columns |= {GROUP + name: plain_text(frame[name]) for name in self.mapping.groups}
        if self._split is not None:
            columns[SPLIT] = _parts_of(self._split, frame, file)
        made = pl.DataFrame(columns).filter(pl.Series(keep))
        self._written += len(made)
        return made

    def _format(self) -> str:
        given = self.mapping.time
        return f"{given.unit} since {given.since}" if given.since is not None else repr(given.format)

    def _amounts(self, money: Money, where: _Where, *, strict: bool) -> NDArray[np.int64]:
        given, minor = self.mapping.money, money.minor
        advice = "; say what such rows are with amount: {{column: ..., {0}: ...}} in the mapping"
        if given.negative != "absolute":
            reason = "amount is negative" + advice.format("negative")
            where.drop(money.negative, reason, refuse=given.negative == "refuse")
        else:
            self._changed["negative amounts taken without their sign"] += int(np.count_nonzero(money.negative))
        if given.zero == "least":
            self._changed["amounts of 0 taken as the least unit of the currency"] += int(np.count_nonzero(money.zero))
            minor = np.where(money.zero, 1, minor)
        else:
            where.drop(money.zero, "amount rounds to 0" + advice.format("zero"), refuse=given.zero == "refuse")
        where.drop((minor == 0) & where.keep, "amount is no number of 1 to 10^15 minor units", refuse=strict)
        return minor

    def _labels(self, frame: pl.DataFrame, where: _Where, *, strict: bool) -> dict[str, pl.Series]:
        if self._label is None:
            return {}
        label, odd = label_column(self._label, frame)
        where.drop(odd, f"label {self._label.column} has a value that is neither fraud nor ordinary", refuse=strict)
        made = {"is_fraud": label}
        if self._labelled is not None:
            at = self._labelled.read(frame)
            made[LABELLED_AT] = pl.Series(at).cast(pl.Datetime("ms", "UTC")).set(pl.Series(at < 0), None)
        return made

    def _input(self, name: str, given: InputOf, frame: pl.DataFrame, event_ms: NDArray[np.int64]) -> pl.Series:
        column = input_column(given, frame, event_ms)
        if name in self._known:
            known_ms = self._known[name].read(frame)
            late = np.flatnonzero((known_ms > event_ms) & (event_ms >= 0))
            if len(late):
                raise HistoryError(
                    f"input {name} is a leak: {len(late):,} values or more were known only after their event; take it "
                    "out of inputs"
                )
        self._missing[name] += column.null_count()
        return column

    def reasons(self) -> str:
        """What was left out, for people."""
        return "; ".join(f"{count:,} {reason}" for reason, count in self._left_out.items()) or "nothing"

    def summary(self, rows: int) -> Converted:
        """All that was counted."""
        kinds = {n: "categorical" if one.type == "categorical" else "numeric" for n, one in self._inputs.items()}
        left_out, changed, missing = (
            {name: count for name, count in one.items() if count}
            for one in (self._left_out, self._changed, self._missing)
        )
        return Converted(rows, self._written, left_out, changed, kinds, missing)


class _Where(msgspec.Struct):
    """Rows being checked: `keep` says which are still in."""

    file: Path
    first_row: int
    keep: Bool
    left_out: Counter[str]

    def drop(self, wrong: Bool, reason: str, *, refuse: bool) -> None:
        """Leave rows out, or refuse the first of them."""
        wrong = wrong & self.keep
        if not wrong.any():
            return
        if refuse:
            row = int(np.argmax(wrong)) + 1
            raise HistoryError(
                f"{self.file}: {reason}; such rows: {np.count_nonzero(wrong):,} or more, the first at row "
                f"{self.first_row + row:,} of the set (bad_rows: leave_out counts them instead)"
            )
        self.left_out[reason.partition(";")[0]] += int(np.count_nonzero(wrong))
        self.keep &= ~wrong


def _expanded(mapping: Mapping, header: list[str], file: Path) -> dict[str, InputOf]:
    """The inputs by their names, patterns replaced by the columns that they match."""
    found: dict[str, InputOf] = {}
    for one in mapping.extra:
        column = one.column or ""
        several = "*" in column
        names = [name for name in header if fnmatchcase(name, column)] if several else [column]
        if not names:
            raise HistoryError(f"{file} has no column {column}")
        for name in names:
            plain = one.name if one.name is not None and not several else _plain(name)
            try:
                check_input_name(plain)
            except ValueError as exc:
                raise HistoryError(f"the mapping: {exc}") from exc
            if plain in found:
                raise HistoryError(f"the mapping declares the input {plain} twice; give one of them another `name:`")
            found[plain] = msgspec.structs.replace(one, column=name) if one.column is not None else one
    return found


def _plain(name: str) -> str:
    return "".join(char if char.isalnum() or char in "_.-" else "_" for char in name)


def _parts_of(split: SplitOf, frame: pl.DataFrame, file: Path) -> pl.Series:
    """`train`, `validation`, `test`, or null for a row of no part."""
    if split.files:
        own = next((part for part in _PARTS if part in split.files and fnmatchcase(file.name, split.files[part])), None)
        return pl.Series([own], dtype=pl.String).extend_constant(own, len(frame) - 1)
    text = plain_text(frame[split.column or ""]).str.strip_chars().str.to_lowercase()
    words = {str(value).strip().lower(): part for part in _PARTS for value in getattr(split, part)}
    return text.replace_strict(list(words), list(words.values()), default=None, return_dtype=pl.String)
