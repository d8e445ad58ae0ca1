"""A labelled feature table in memory, in order of time, checked for everything that training relies on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.catalogue import FEATURE_NAMES
from features.errors import HistoryError
from features.mapping.spec import GROUP, INPUT, SPLIT
from scoring.learning.labels import LabelOptions, Resolved, resolve
from scoring.learning.levels import recoded
from scoring.manifest import InputColumn

SAME_ATTACK_MS: Final = 600_000
"""Fraudulent transactions of one card at most this far apart belong to one attack, where the table does not say."""

PARTS: Final = ("train", "validation", "test")
AGE: Final = "age_ms"
KNOWN: Final = "known_ms"
SOURCE: Final = "source"
NEVER_MS: Final = 1 << 62

Column = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Dataset:
    """Rows of a feature table in order of event time.

    Attributes:
        features: shape (n, columns): those of the catalogue in order, then further inputs; NaN where an input is
            missing.
        is_fraud: shape (n,).
        time_ms: event times, shape (n,), ascending.
        card: one number per card, shape (n,).
        position: 1 for an attack's first transaction, 2 for the second, ...; 0 for ordinary ones; shape (n,).
        fingerprint: hex SHA-256 of the table's features, labels and times.
        inputs: the columns beside the catalogue's; a categorical one holds places in its levels.
        more: what only reports look at, by name, shape (n,) each: `age_ms` since the card's first transaction of the
            table, `known_ms` when the label was given (-1: not said), `source` of the label, `split` (place in PARTS,
            -1: none), and groups under `g:<name>` as places in `levels`.
        levels: texts of the columns of `more` that are codes.
        counts: rows of the table that are not here, by reason, and others that a report should tell of.
        usable_until_ms: from here on only frauds are known, since ordinary labels have not matured.
    """

    features: NDArray[np.float32]
    is_fraud: NDArray[np.bool_]
    time_ms: NDArray[np.int64]
    card: NDArray[np.int64]
    position: NDArray[np.int64]
    fingerprint: str
    inputs: tuple[InputColumn, ...] = ()
    more: Mapping[str, Column] = field(default_factory=dict)
    levels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    usable_until_ms: int = NEVER_MS

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns of `features`."""
        return (*FEATURE_NAMES, *(one.name for one in self.inputs))

    def between(self, start_ms: int, stop_ms: int) -> Dataset:
        """The rows from `start_ms` on and before `stop_ms`; no copy."""
        first, last = np.searchsorted(self.time_ms, (start_ms, stop_ms))
        return self.rows(slice(int(first), int(last)))

    def rows(self, chosen: slice | NDArray[np.bool_] | NDArray[np.int64]) -> Dataset:
        """Some of the rows, in their order."""
        return replace(
            self,
            features=self.features[chosen],
            is_fraud=self.is_fraud[chosen],
            time_ms=self.time_ms[chosen],
            card=self.card[chosen],
            position=self.position[chosen],
            more={name: column[chosen] for name, column in self.more.items()},
        )

    def __len__(self) -> int:
        return len(self.time_ms)


def load_dataset(
    table: Path, labels: LabelOptions | None = None, inputs: Sequence[InputColumn] | None = None
) -> Dataset:
    """Read a feature table (a Parquet file or a folder of them), column by column.

    Args:
        table: from `build_table`.
        labels: labels from elsewhere, and what counts as known; without: the table's own, as they are.
        inputs: columns beside the catalogue's that a model has learned; without: all that the table has.

    Raises:
        HistoryError: it cannot be read, lacks a column, is empty, or holds a value that is no number.
    """
    try:
        return _load(pl.scan_parquet(table), table, labels or LabelOptions(), inputs)
    except (pl.exceptions.PolarsError, OSError) as exc:
        reason = str(exc).splitlines()[0] if str(exc) else type(exc).__name__
        raise HistoryError(f"cannot read the feature table {table}: {reason}") from exc


def _load(frame: pl.LazyFrame, table: Path, options: LabelOptions, inputs: Sequence[InputColumn] | None) -> Dataset:
    schema = frame.collect_schema()
    needed = ("card_id", "event_time", *(() if options.files else ("is_fraud",)), *FEATURE_NAMES)
    if missing := [name for name in needed if name not in schema]:
        raise HistoryError(f"the feature table {table} lacks {', '.join(missing)}; make it from a labelled history")
    time_ms, card, first_seen = _keys(frame, table)
    resolved = resolve(frame, time_ms, options, table)
    order = np.flatnonzero(resolved.keep)
    order = order[np.argsort(time_ms[order], kind="stable")]
    if not len(order):
        told = "; ".join(f"{count:,} {reason}" for reason, count in resolved.counts.items())
        raise HistoryError(f"the feature table {table} has only rows without is_fraud or that are left out: {told}")
    is_fraud, time_ms, card = resolved.is_fraud[order], time_ms[order], card[order]
    digest = hashlib.sha256(time_ms.tobytes() + is_fraud.astype(np.int8).tobytes())
    columns = _declared(frame, schema)
    features = np.empty((len(order), len(FEATURE_NAMES) + len(columns)), dtype=np.float32)
    for number, name in enumerate(FEATURE_NAMES):
        column = _numbers(frame, name, table)[order]
        digest.update(name.encode() + column.tobytes())
        features[:, number] = column
    for number, one in enumerate(columns, start=len(FEATURE_NAMES)):
        column = _input(frame, one, table)[order]
        digest.update(one.name.encode() + column.tobytes())
        features[:, number] = column
    if inputs is not None:
        features, columns = _as_learned(features, columns, inputs, table)
    if "attack_position" in schema:
        own = pl.col("attack_position").fill_null(0).cast(pl.Int64)
        position = frame.select(own).collect().to_series().to_numpy()[order]
    else:
        position = attack_positions(time_ms, card, is_fraud)
    more, levels = _more(frame, schema, resolved, order)
    more[AGE] = time_ms - first_seen[order]
    return Dataset(
        features, is_fraud, time_ms, card, position, digest.hexdigest(), columns, more, levels, resolved.counts,
        resolved.usable_until_ms,
    )  # fmt: skip


def _keys(frame: pl.LazyFrame, table: Path) -> tuple[Column, Column, Column]:
    """Times, cards, and the first time of each row's card."""
    keys = frame.select(
        pl.col("event_time").cast(pl.Datetime("ms")).dt.epoch("ms"),
        pl.col("card_id").cast(pl.Categorical).to_physical().cast(pl.Int64),
    ).collect()
    if not len(keys):
        raise HistoryError(f"the feature table {table} has no rows")
    for name in keys.columns:
        if keys[name].null_count():
            raise HistoryError(f"the feature table {table} has rows without {name}")
    time_ms, card = keys["event_time"].to_numpy(), keys["card_id"].to_numpy()
    first = np.full(int(card.max()) + 1, NEVER_MS)
    np.minimum.at(first, card, time_ms)
    return time_ms, card, first[card]


def _more(
    frame: pl.LazyFrame, schema: pl.Schema, resolved: Resolved, order: Column
) -> tuple[dict[str, Column], dict[str, tuple[str, ...]]]:
    more: dict[str, Column] = {KNOWN: resolved.known_ms[order], SOURCE: resolved.source[order]}
    levels: dict[str, tuple[str, ...]] = {SOURCE: resolved.sources}
    if SPLIT in schema:
        places = {name: place for place, name in enumerate(PARTS)}
        column = pl.col(SPLIT).replace_strict(places, default=-1, return_dtype=pl.Int64)
        more[SPLIT] = frame.select(column).collect().to_series().to_numpy()[order]
    for name in schema:
        if name.startswith(GROUP):
            texts = frame.select(pl.col(name).cast(pl.String).fill_null("(none)")).collect().to_series()
            known = texts.unique().sort()
            more[name] = texts.replace_strict(known, pl.Series(range(len(known))), return_dtype=pl.Int64).to_numpy()[
                order
            ]
            levels[name] = tuple(known)
    return more, levels


def _declared(frame: pl.LazyFrame, schema: pl.Schema) -> tuple[InputColumn, ...]:
    """The table's further inputs; of categorical ones all texts, in order."""
    found = []
    for name, dtype in schema.items():
        if not name.startswith(INPUT):
            continue
        if dtype.is_numeric():
            found.append(InputColumn(name.removeprefix(INPUT), "numeric"))
        else:
            texts = frame.select(pl.col(name).cast(pl.String).unique()).collect().to_series().drop_nulls().sort()
            found.append(InputColumn(name.removeprefix(INPUT), "categorical", tuple(texts)))
    return tuple(found)


def _as_learned(
    features: NDArray[np.float32], columns: tuple[InputColumn, ...], inputs: Sequence[InputColumn], table: Path
) -> tuple[NDArray[np.float32], tuple[InputColumn, ...]]:
    """The columns that a model has learned, in its order and its codes."""
    places = {one.name: place for place, one in enumerate(columns)}
    if missing := [one.name for one in inputs if one.name not in places]:
        raise HistoryError(
            f"{table} has no input {', '.join(missing)}, which the model takes; use the mapping it was trained with"
        )
    first = len(FEATURE_NAMES)
    chosen = [places[one.name] for one in inputs]
    kept = features[:, [*range(first), *(first + place for place in chosen)]]
    return recoded(kept, [columns[place] for place in chosen], inputs, first), tuple(inputs)


def _input(frame: pl.LazyFrame, one: InputColumn, table: Path) -> NDArray[np.float64]:
    name = INPUT + one.name
    if one.type == "categorical":
        places = pl.Series(np.arange(len(one.levels), dtype=np.float64))
        texts = frame.select(pl.col(name).cast(pl.String)).collect().to_series()
        coded = texts.replace_strict(list(one.levels), places, default=None, return_dtype=pl.Float64)
        return coded.fill_null(float("nan")).to_numpy()
    column = frame.select(pl.col(name).cast(pl.Float64).fill_null(float("nan"))).collect().to_series()
    if column.is_infinite().any():
        raise HistoryError(f"input {one.name} in {table} has infinite values; replace them before, or leave it out")
    return column.to_numpy()


def attack_positions(
    time_ms: NDArray[np.int64], card: NDArray[np.int64], is_fraud: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Place of each fraudulent transaction in its attack, told from cards and times alone.

    Args:
        time_ms: event times, ascending, shape (n,).
        card: shape (n,).
        is_fraud: shape (n,).

    Returns:
        1, 2, 3 ... for fraudulent transactions, 0 for the others; shape (n,).
    """
    position = np.zeros(len(time_ms), dtype=np.int64)
    frauds = np.flatnonzero(is_fraud)
    frauds = frauds[np.argsort(card[frauds], kind="stable")]
    if not len(frauds):
        return position
    begins = np.ones(len(frauds), dtype=np.bool_)
    begins[1:] = (np.diff(card[frauds]) != 0) | (np.diff(time_ms[frauds]) > SAME_ATTACK_MS)
    starts = np.flatnonzero(begins)
    position[frauds] = np.arange(len(frauds)) - starts[np.cumsum(begins) - 1] + 1
    return position


def _numbers(frame: pl.LazyFrame, name: str, table: Path) -> NDArray[np.float64]:
    column = frame.select(pl.col(name).cast(pl.Float64)).collect().to_series()
    if column.null_count() or not column.is_finite().all():
        raise HistoryError(f"{name} in {table} has values that are missing, NaN or infinite")
    return column.to_numpy()
