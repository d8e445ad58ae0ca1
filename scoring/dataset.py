"""A labelled feature table in memory, in order of time, checked for everything that training relies on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.catalogue import FEATURE_NAMES
from features.errors import HistoryError

SAME_ATTACK_MS: Final = 600_000
"""Fraudulent transactions of one card at most this far apart belong to one attack, where the table does not say."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Rows of a feature table in order of event time.

    Attributes:
        features: shape (n, features), columns of the catalogue in order.
        is_fraud: shape (n,).
        time_ms: event times, shape (n,), ascending.
        card: one number per card, shape (n,).
        position: 1 for an attack's first transaction, 2 for the second, ...; 0 for ordinary ones; shape (n,).
        fingerprint: hex SHA-256 of the table's features, labels and times.
    """

    features: NDArray[np.float32]
    is_fraud: NDArray[np.bool_]
    time_ms: NDArray[np.int64]
    card: NDArray[np.int64]
    position: NDArray[np.int64]
    fingerprint: str

    def between(self, start_ms: int, stop_ms: int) -> Dataset:
        """The rows from `start_ms` on and before `stop_ms`; no copy."""
        first, last = np.searchsorted(self.time_ms, (start_ms, stop_ms))
        rows = slice(first, last)
        return Dataset(
            self.features[rows],
            self.is_fraud[rows],
            self.time_ms[rows],
            self.card[rows],
            self.position[rows],
            self.fingerprint,
        )

    def __len__(self) -> int:
        return len(self.time_ms)


def load_dataset(table: Path) -> Dataset:
    """Read a feature table (a Parquet file or a folder of them), column by column.

    Raises:
        HistoryError: it cannot be read, lacks a column, is empty, or holds a value that is no number.
    """
    try:
        return _load(pl.scan_parquet(table), table)
    except (pl.exceptions.PolarsError, OSError) as exc:
        reason = str(exc).splitlines()[0] if str(exc) else type(exc).__name__
        raise HistoryError(f"cannot read the feature table {table}: {reason}") from exc


def _load(frame: pl.LazyFrame, table: Path) -> Dataset:
    schema = frame.collect_schema()
    missing = [name for name in ("card_id", "event_time", "is_fraud", *FEATURE_NAMES) if name not in schema]
    if missing:
        raise HistoryError(f"the feature table {table} lacks {', '.join(missing)}; make it from a labelled history")
    keys = frame.select(
        pl.col("event_time").cast(pl.Datetime("ms")).dt.epoch("ms"),
        pl.col("card_id").cast(pl.Categorical).to_physical().cast(pl.Int64),
        pl.col("is_fraud").cast(pl.Int64),
    ).collect()
    if not len(keys):
        raise HistoryError(f"the feature table {table} has no rows")
    for name in keys.columns:
        if keys[name].null_count():
            raise HistoryError(f"the feature table {table} has rows without {name}")
    order = np.argsort(keys["event_time"].to_numpy(), kind="stable")
    labels, time_ms, card = (keys[name].to_numpy()[order] for name in ("is_fraud", "event_time", "card_id"))
    if not np.isin(labels, (0, 1)).all():
        raise HistoryError(f"is_fraud in {table} must be 0 or 1")
    digest = hashlib.sha256(time_ms.tobytes() + labels.astype(np.int8).tobytes())
    features = np.empty((len(keys), len(FEATURE_NAMES)), dtype=np.float32)
    for number, name in enumerate(FEATURE_NAMES):
        column = _numbers(frame, name, table)[order]
        digest.update(name.encode() + column.tobytes())
        features[:, number] = column
    is_fraud = labels.astype(np.bool_)
    if "attack_position" in schema:
        position = (
            frame.select(pl.col("attack_position").fill_null(0).cast(pl.Int64)).collect().to_series().to_numpy()[order]
        )
    else:
        position = attack_positions(time_ms, card, is_fraud)
    return Dataset(features, is_fraud, time_ms, card, position, digest.hexdigest())


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
