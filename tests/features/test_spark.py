"""Beyond one machine: the table that Spark makes is the offline table, bit for bit."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.catalogue import FEATURES
from features.errors import HistoryError
from features.offline import build_table
from tests.features.test_offline import BASE_MS, write
from tests.oracles.traffic import awkward

pytest.importorskip("pyspark", reason="pyspark is not installed: pip install 'fraudstream[spark]', and a Java 17 or 21")

ORDER = "seq"


@pytest.fixture(scope="module")
def spark():
    from pyspark.sql import SparkSession

    if "JAVA_HOME" not in os.environ and shutil.which("java") is None:
        pytest.skip("Spark needs a Java 17 or 21: set JAVA_HOME, or put java on the PATH")
    os.environ["PYSPARK_PYTHON"] = sys.executable
    session = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .getOrCreate()
    )
    yield session
    session.stop()


def history(folder: Path) -> Path:
    """Awkward events of a few cards, with the order in which they count as a column."""
    file = write(folder / "plain.parquet", awkward(21, 1_500, 12, BASE_MS))
    rows = pl.read_parquet(file).with_row_index(ORDER).with_columns(pl.col(ORDER).cast(pl.Int64))
    labelled = rows.with_columns((pl.col(ORDER) % 50 == 0).cast(pl.Int8).alias("is_fraud"))
    labelled.write_parquet(folder / "history.parquet")
    return folder / "history.parquet"


@pytest.mark.filterwarnings("ignore")  # of Spark's own
def test_spark_makes_the_same_bits(spark, tmp_path):
    from features.spark import build_table as build_on_spark

    file = history(tmp_path)
    build_table(file, tmp_path / "offline.parquet")
    frame = spark.read.parquet(str(file)).repartition(7)
    build_on_spark(frame, order=(ORDER,)).write.parquet(str(tmp_path / "spark"))
    keys = ["card_id", "transaction_id", "event_time", *(f.name for f in FEATURES)]
    offline = pl.read_parquet(tmp_path / "offline.parquet").with_columns(pl.col("event_time").dt.epoch("ms"))
    made = pl.read_parquet(str(tmp_path / "spark" / "*.parquet"))
    assert set(made.columns) == set(offline.columns)
    offline, made = (one.sort(keys) for one in (offline, made.select(offline.columns)))
    for column in offline.columns:
        if offline[column].dtype == pl.Float64:
            wanted, got = (one[column].to_numpy().view(np.int64) for one in (offline, made))
            assert np.array_equal(wanted, got), column
        else:
            assert offline[column].to_list() == made[column].to_list(), column


def test_an_order_that_is_not_there_is_refused(spark, tmp_path):
    from features.spark import build_table as build_on_spark

    with pytest.raises(HistoryError, match="no column sequence to order"):
        build_on_spark(spark.read.parquet(str(history(tmp_path))), order=("sequence",))
