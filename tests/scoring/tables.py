"""Feature tables of small histories."""

from __future__ import annotations

from pathlib import Path

from features.offline import build_table
from local.generator import generate


def write_table(folder: Path, transactions: int, cards: int, seed: int) -> Path:
    """Generate a history and write its feature table; the path of the table."""
    generate(transactions, cards, seed, folder / "history")
    table = folder / "features.parquet"
    build_table(folder / "history", table)
    return table
