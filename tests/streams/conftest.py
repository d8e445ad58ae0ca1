"""A small trained model, and roles as an operator starts them: the command, configured by variables alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from features.offline import build_table
from local.generator import generate
from local.stack import Stack
from scoring.training import train
from tests.streams.pipeline import Pipeline


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of 60,000 generated transactions: small, but it tells an attack from a purchase."""
    folder = tmp_path_factory.mktemp("model")
    generate(60_000, 120, 7, folder / "history")
    build_table(folder / "history", folder / "table.parquet")
    train(folder / "table.parquet", folder / "model", seed=7)
    return folder / "model"


@pytest.fixture
def pipeline(servers: Stack, unique: str, model_dir: Path, tmp_path: Path) -> Iterator[Pipeline]:
    """Topics of one test and the roles on them; whatever it started is stopped at the end."""
    made = Pipeline(servers.env(), unique, model_dir, tmp_path)
    made.setup()
    yield made
    made.stop_all()


@pytest.fixture
def make_pipeline(servers: Stack, unique: str, model_dir: Path, tmp_path: Path) -> Iterator[Callable[..., Pipeline]]:
    """As `pipeline`, with variables of the test's choice."""
    made: list[Pipeline] = []

    def make(**variables: str) -> Pipeline:
        made.append(Pipeline(servers.env(), unique, model_dir, tmp_path, **variables))
        made[-1].setup()
        return made[-1]

    yield make
    for one in made:
        one.stop_all()
