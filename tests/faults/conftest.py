"""The shortened matrix runs on the servers of the test run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from faults.rows import ROWS, Row
from faults.runner import Result, run_row
from local.stack import Stack

RATE = 500


@pytest.fixture
def run(servers: Stack, model_dir: Path, unique: str, tmp_path: Path) -> Callable[..., Result]:
    """Run a row of the matrix by its name, at a lower rate and, as told, otherwise changed."""

    def run_named(name: str, **changed: object) -> Result:
        (row,) = (row for row in ROWS if row.name == name)
        shorter: Row = msgspec.structs.replace(row, **changed)
        return run_row(shorter, servers, model_dir, tmp_path / "row", unique, RATE)

    return run_named
