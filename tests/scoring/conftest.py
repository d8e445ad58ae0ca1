"""One small model for all tests of the room."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.catalogue import FEATURE_NAMES
from scoring.model import Model
from scoring.training import train
from tests.scoring.tables import write_table

SEED = 3


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_table(tmp_path_factory.mktemp("table"), 120_000, 222, 1)


@pytest.fixture(scope="session")
def folder(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("model")
    train(table, out, seed=SEED)
    return out


@pytest.fixture(scope="session")
def model(folder: Path) -> Model:
    return Model.load(folder)


@pytest.fixture(scope="session")
def rows(table: Path) -> np.ndarray:
    """Features of the whole table, shape (120000, features)."""
    return pl.read_parquet(table).select(FEATURE_NAMES).cast(pl.Float64).to_numpy()


@pytest.fixture
def new_card() -> Callable[..., np.ndarray]:
    """Features of a card's very first purchases, one row per amount."""

    def row(*amounts: float) -> np.ndarray:
        def values(amount: float) -> dict[str, float]:
            averages = dict.fromkeys((name for name in FEATURE_NAMES if "_amt_" in name), amount)
            return averages | {
                "num_trans_last_10m": 1, "num_trans_last_1w": 1, "amt_ratio1": 1, "amt_ratio2": 1, "count_ratio": 1,
                "amount": amount, "secs_since_last": 604_800, "prev_amt": 0, "hour_of_day": 12,
                "num_countries_last_10m": 1, "num_mccs_last_10m": 1,
            }  # fmt: skip

        return np.array([[values(amount)[name] for name in FEATURE_NAMES] for amount in amounts], dtype=np.float64)

    return row
