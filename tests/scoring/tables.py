"""Feature tables of small histories, by the product's own window code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from features.catalogue import FEATURE_NAMES, FEATURES, feature_matrix
from features.history import Entries, country_code, mcc_code
from features.windows import WEEK_MS, aggregate, build_log
from local.generator import generate


def write_table(folder: Path, transactions: int, cards: int, seed: int) -> Path:
    """Generate a history and write its feature table; the path of the table."""
    generate(transactions, cards, seed, folder / "history")
    history = pl.read_parquet(folder / "history").sort("card_id", "event_time", maintain_order=True)
    table = folder / "features.parquet"
    _features(history).write_parquet(table)
    return table


def _features(history: pl.DataFrame) -> pl.DataFrame:
    rows = len(history)
    codes = {
        name: history[name].replace_strict({text: code(text) for text in history[name].unique()}).to_numpy()
        for name, code in (("country", country_code), ("merchant_category", mcc_code))
    }
    entries = Entries(
        time_ms=history["event_time"].dt.epoch("ms").to_numpy(),
        amount_minor=(history["amount"] * 100).cast(pl.Int64).to_numpy(),
        reversal=np.zeros(rows, np.bool_),
        clamped=np.zeros(rows, np.bool_),
        identity=np.arange(rows, dtype=np.uint64),
        country=codes["country"],
        mcc=codes["merchant_category"],
    )
    counts = history.group_by("card_id", maintain_order=True).len()["len"].cast(pl.Int64).to_numpy()
    windows = aggregate(build_log(entries, counts, WEEK_MS), np.arange(rows), WEEK_MS)
    matrix = feature_matrix(windows, np.full(rows, 2))
    types = {"int64": pl.Int64, "float64": pl.Float64}
    columns = [pl.Series(f.name, matrix[:, n]).cast(types[f.dtype]) for n, f in enumerate(FEATURES)]
    assert len(columns) == len(FEATURE_NAMES)
    keys = history.select("transaction_id", "card_id", pl.col("event_time").dt.replace_time_zone(None))
    return keys.with_columns(*columns, *history["is_fraud", "attack_id", "attack_position"].get_columns())
