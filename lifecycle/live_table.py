"""A training table up to the present: features of a history, and of live transactions as they were served."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.catalogue import FEATURE_NAMES, FEATURES
from features.errors import HistoryError
from lifecycle.traffic import Traffic

_DAY_MS: Final = 86_400_000
_KEYS: Final = ("transaction_id", "card_id", "event_time", "is_fraud")
_TYPES: Final = {"int64": pl.Int64, "float64": pl.Float64}


class Joined(msgspec.Struct, frozen=True):
    """What a table was made of.

    Attributes:
        history: rows of the history.
        live: live transactions whose answer is known.
        unknown: live transactions left out, for nobody knows yet what they are.
        incomplete: live transactions left out, for a feature is missing.
        repeated: live transactions that the history has already.
        days: from the first to the last row.
    """

    history: int
    live: int
    unknown: int
    incomplete: int
    repeated: int
    days: float


def live_rows(traffic: Traffic, known: NDArray[np.int64]) -> pl.DataFrame:
    """Live transactions whose answer is known, as rows of a feature table: with the very values that were served.

    Args:
        traffic: n transactions.
        known: 1 fraud, 0 ordinary, -1 not known, shape (n,).
    """
    rows = np.flatnonzero((known >= 0) & np.isfinite(traffic.x).all(axis=1))
    keys = [traffic.keys[row] for row in rows.tolist()]
    columns = {
        "transaction_id": pl.Series([transaction for _, transaction in keys], dtype=pl.String),
        "card_id": pl.Series([card for card, _ in keys], dtype=pl.String),
        "event_time": pl.Series(traffic.event_ms[rows]).cast(pl.Datetime("ms", "UTC")),
        "is_fraud": pl.Series(known[rows]).cast(pl.Int8),
    }
    values = {
        feature.name: pl.Series(traffic.x[rows, place]).cast(_TYPES[feature.dtype])
        for place, feature in enumerate(FEATURES)
    }
    return pl.DataFrame(columns | values)


def join_tables(base: Path | None, traffic: Traffic, known: NDArray[np.int64], out: Path) -> Joined:
    """Write the feature table of a history and of live traffic.

    Places in attacks are left out, so that they are told from cards and times alike in both.

    Args:
        base: feature table of a labelled history; None: live traffic alone.
        traffic: n transactions.
        known: see `live_rows`.
        out: Parquet file; replaced.

    Raises:
        HistoryError: nothing is left to learn from, or a table cannot be read or written.
    """
    live = live_rows(traffic, known)
    unknown = int(np.count_nonzero(known < 0))
    incomplete = len(traffic) - unknown - len(live)
    try:
        parts, before = [live], 0
        if base is not None:
            casts = [pl.col(feature.name).cast(_TYPES[feature.dtype]) for feature in FEATURES]
            moment = pl.col("event_time").dt.replace_time_zone(None).cast(pl.Datetime("ms")).dt.replace_time_zone("UTC")
            history = (
                pl.scan_parquet(base)
                .select(*_KEYS, *FEATURE_NAMES)
                .with_columns(moment, pl.col("is_fraud").cast(pl.Int8), *casts)
                .collect()
            )
            before = len(history)
            parts = [history, live.join(history, on=["card_id", "transaction_id"], how="anti")]
        joined = pl.concat(parts)
        if not len(joined):
            raise HistoryError(
                f"nothing to learn from: of {len(traffic):,} live transactions the answer of none is known; wait for "
                "labels, or give a labelled history with --history"
            )
        joined = joined.sort("event_time")
        joined.write_parquet(out)
    except (pl.exceptions.PolarsError, OSError) as exc:
        raise HistoryError(f"cannot join the history with live traffic: {str(exc).splitlines()[0]}") from exc
    added = len(joined) - before
    moments = joined["event_time"].dt.epoch("ms")
    days = (int(moments[-1]) - int(moments[0])) / _DAY_MS
    return Joined(before, added, unknown, incomplete, len(live) - added, days)
