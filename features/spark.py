"""The offline table beyond one machine: the same functions, card by card, under PySpark.

    frame = spark.read.parquet("history")
    build_table(frame, order=("timestamp_ms", "offset")).write.parquet("features")

Spark brings a card's rows together and hands them to Python as they are; there they go through the very code that the
offline builder calls. Card ids are hashed and sorted by nothing: the table's rows are in Spark's order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from features.catalogue import FEATURES
from features.errors import ConfigError, HistoryError
from features.history_file import LABELS, PASSED_ON, checked_frame
from features.offline import CLOCK_SKEW_MS, DAY_MS, table_of

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import DataFrame

_TYPES: Final = {"int64": "bigint", "float64": "double"}
_TIME: Final = "event_time"


def build_table(
    history: DataFrame,
    *,
    order: Sequence[str],
    grace_ms: int = DAY_MS,
    clock_skew_ms: int = CLOCK_SKEW_MS,
    pan_key: bytes | None = None,
) -> DataFrame:
    """The feature table of a history; bit for bit what `features.offline.build_table` makes.

    Args:
        history: the columns of a history file. Card numbers that several spellings stand for must be tokenised before:
            Spark groups by what stands there.
        order: columns that put a card's rows into the order in which they count: of an export `timestamp_ms`, then
            `offset`; of a set without either `event_time`, then `transaction_id`.
        grace_ms: how late an authorization may be and still be exact.
        clock_skew_ms: how far an event's time may lie after `timestamp_ms`.
        pan_key: key for card ids that are card numbers.

    Raises:
        ConfigError: PySpark is not installed.
        HistoryError: there is no column to order by. A row that is no transaction ends the Spark job with its error.
    """
    try:
        import pyspark  # noqa: F401, PLC0415 - an extra: nothing else needs it
    except ModuleNotFoundError as exc:
        raise ConfigError("pyspark is not installed; it needs: pip install 'fraudstream[spark]'") from exc
    names = history.columns
    if not order or (missing := [name for name in order if name not in names]):
        raise HistoryError(f"there is no column {', '.join(missing) if order else ''} to order a card's rows by")
    passed = [name for name in names if name in LABELS or name.startswith(PASSED_ON)]
    types = dict(history.dtypes)

    def features_of(card: pd.DataFrame) -> pd.DataFrame:
        rows = _as_polars(card.sort_values(list(order), kind="stable"))
        made = table_of(*checked_frame(rows, pan_key, clock_skew_ms), grace_ms, clock_skew_ms)
        # Spark has no time zones in its columns: milliseconds are the same everywhere.
        plain = made.with_columns(pl.col(_TIME).dt.epoch("ms"))
        return plain.select([*_KEYS, *(feature.name for feature in FEATURES), *passed]).to_pandas()

    columns = [
        "transaction_id string", "card_id string", f"{_TIME} bigint",
        *(f"{feature.name} {_TYPES[feature.dtype]}" for feature in FEATURES),
        *(f"`{name}` {'tinyint' if name == 'is_fraud' else types[name]}" for name in passed),
    ]  # fmt: skip
    return history.groupBy("card_id").applyInPandas(features_of, ", ".join(columns))


_KEYS: Final = ("transaction_id", "card_id", _TIME)


def _as_polars(card: Any) -> pl.DataFrame:  # noqa: ANN401 - pandas is there only where Spark is
    """Rows as Spark hands them over: nulls of texts are None, of numbers NaN, times without a zone are UTC."""
    return pl.from_pandas(card, nan_to_null=True)
