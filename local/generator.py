"""A labelled card history with the reference's distribution: `fraudstream generate`.

The same arguments give the same bytes. Rows are drawn as integers, sorted by time, and only turned into text part by
part, so memory stays at some 30 bytes per transaction plus one part.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from local import population, regime
from local.regime import Change

START_MS: Final = 1_767_225_600_000
"""First moment of a history: 2026-01-01T00:00:00Z."""
SPAN_MS: Final = 151 * 86_400_000
"""Length of a history: five months."""
PART_ROWS: Final = 1_000_000
"""Rows per Parquet file."""
FEWEST_TRANSACTIONS: Final = population.ATTACK_LENGTHS[1]
"""One attack of any length fits."""
MOST_TRANSACTIONS: Final = 1_000_000_000
_AMOUNT_TYPE: Final = pl.Decimal(18, 2)


class GeneratorError(Exception):
    """A history with these arguments cannot be made or written; the message says what to change."""

    exit_code: ClassVar[int] = 64


@dataclass(frozen=True, slots=True)
class Summary:
    """What was written."""

    transactions: int
    cards: int
    frauds: int
    attacks: int
    files: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class _Rows:
    """Transactions in order of time; every array has shape (n,)."""

    time_ms: NDArray[np.int64]
    card: NDArray[np.int64]
    amount_minor: NDArray[np.int64]
    attack: NDArray[np.int64]  # -1: ordinary
    position: NDArray[np.int64]  # 1: the head; 0: ordinary

    def part(self, start: int, stop: int) -> _Rows:
        return _Rows(*(column[start:stop] for column in self.columns()))

    def sorted_by_time(self) -> _Rows:
        order = np.argsort(self.time_ms, kind="stable")
        return _Rows(*(column[order] for column in self.columns()))

    def columns(self) -> tuple[NDArray[np.int64], ...]:
        return (self.time_ms, self.card, self.amount_minor, self.attack, self.position)


def generate(
    transactions: int,
    cards: int,
    seed: int,
    out: Path,
    progress: Callable[[int], None] = lambda _rows: None,
    change: Change | None = None,
) -> Summary:
    """Write a labelled history as Parquet files `history-<part>.parquet` into a folder.

    Args:
        transactions: rows in all, attacks included; at least 10.
        cards: cards that they are spread over.
        seed: same seed, same bytes.
        out: folder; made when it is not there, history files already in it are replaced.
        progress: called with the number of rows written, part after part.
        change: attacks of a new kind from some moment on; None: none.

    Returns:
        Counts and the files in order of time.

    Raises:
        GeneratorError: an argument is out of range or the folder cannot be written.
    """
    if not FEWEST_TRANSACTIONS <= transactions <= MOST_TRANSACTIONS:
        raise GeneratorError(f"transactions must be {FEWEST_TRANSACTIONS} to {MOST_TRANSACTIONS}, not {transactions}")
    if cards < 1 or seed < 0:
        raise GeneratorError(f"cards must be at least 1 and seed at least 0, not {cards} and {seed}")
    rows_seed, *part_seeds = np.random.SeedSequence(seed).spawn(1 + -(-transactions // PART_ROWS))
    rng = np.random.default_rng(rows_seed)
    rows = _draw_rows(rng, transactions, cards)
    if change is not None:
        rows = _changed(rng, rows, change)
    files = []
    try:
        _empty(out)
        for number, part_seed in enumerate(part_seeds):
            start = number * PART_ROWS
            part = rows.part(start, start + PART_ROWS)
            path = out / f"history-{number:05d}.parquet"
            _frame(part, start, np.random.default_rng(part_seed)).write_parquet(path, statistics=True)
            files.append(path)
            progress(len(part.time_ms))
    except OSError as exc:
        raise GeneratorError(f"cannot write the history to {out}: {exc.strerror or exc}") from exc
    attacks = int(rows.attack.max(initial=-1)) + 1
    return Summary(transactions, cards, int(np.count_nonzero(rows.position)), attacks, tuple(files))


def _empty(out: Path) -> None:
    """Make the folder and take out the parts of an earlier, perhaps longer, history."""
    out.mkdir(parents=True, exist_ok=True)
    for stale in out.glob("history-*.parquet"):
        stale.unlink()


def _draw_rows(rng: np.random.Generator, transactions: int, cards: int) -> _Rows:
    lengths = _attack_lengths(rng, transactions)
    chain_lengths = lengths - 1
    ordinary = transactions - int(chain_lengths.sum())

    time_ms = START_MS + rng.integers(SPAN_MS, size=ordinary)
    card = rng.integers(cards, size=ordinary)
    amount_minor = population.ordinary_amounts(rng, ordinary)
    attack = np.full(ordinary, -1, dtype=np.int64)
    position = np.zeros(ordinary, dtype=np.int64)
    # A head is an ordinary purchase with its own amount and time: nothing gives it away.
    heads = rng.choice(ordinary, size=len(lengths), replace=False)
    attack[heads] = np.arange(len(lengths))
    position[heads] = 1

    first = np.repeat(heads, chain_lengths)
    chain_start = np.repeat(np.cumsum(chain_lengths) - chain_lengths, chain_lengths)
    return _Rows(
        np.concatenate((time_ms, time_ms[first] + population.chain_delays_ms(rng, chain_lengths))),
        np.concatenate((card, card[first])),
        np.concatenate((amount_minor, population.chain_amounts(rng, chain_lengths))),
        np.concatenate((attack, attack[first])),
        np.concatenate((position, 2 + np.arange(len(first)) - chain_start)),
    ).sorted_by_time()


def _changed(rng: np.random.Generator, rows: _Rows, change: Change) -> _Rows:
    """The same number of rows, some ordinary ones made into attacks of the new kind."""
    candidates = np.flatnonzero((rows.position == 0) & (rows.time_ms >= change.at_ms))
    drains = regime.draw(rng, candidates, change.share)
    if not len(drains.row):
        raise GeneratorError(
            f"{len(candidates)} ordinary transactions after the change are too few for one new attack; give more "
            "transactions, or an earlier change"
        )
    time_ms, card, amount_minor, attack, position = (column.copy() for column in rows.columns())
    time_ms[drains.row] = rows.time_ms[drains.source] + drains.delay_ms
    card[drains.row] = rows.card[drains.source]
    chain = drains.position > 1
    amount_minor[drains.row[chain]] = drains.amount_minor[chain]
    attack[drains.row] = int(rows.attack.max(initial=-1)) + 1 + drains.attack
    position[drains.row] = drains.position
    return _Rows(time_ms, card, amount_minor, attack, position).sorted_by_time()


def _attack_lengths(rng: np.random.Generator, transactions: int) -> NDArray[np.int64]:
    """Lengths of as many attacks as fit into the fraud share, at least one."""
    shortest = population.ATTACK_LENGTHS[0]
    frauds = max(round(transactions * population.FRAUD_SHARE), shortest)
    lengths = population.attack_lengths(rng, frauds // shortest)
    lengths[0] = min(lengths[0], frauds)
    return lengths[np.cumsum(lengths) <= frauds]


def _frame(rows: _Rows, start: int, rng: np.random.Generator) -> pl.DataFrame:
    """The contract's fields as columns, and the labels."""
    details = population.purchase_details(rng, rows.card)
    codes = pl.DataFrame({"card": rows.card, "row": np.arange(start, start + len(rows.card))} | details._asdict())
    card, attack = pl.col("card"), pl.Series("attack", rows.attack)
    return codes.select(
        pl.format("tx-{}", pl.col("row").cast(pl.String).str.zfill(10)).alias("transaction_id"),
        pl.format("card-{}", card.cast(pl.String).str.zfill(7)).alias("card_id"),
        _money(pl.Series("amount", rows.amount_minor)),
        pl.lit(population.CURRENCY).alias("currency"),
        pl.Series("event_time", rows.time_ms).cast(pl.Datetime("ms", "UTC")),
        pl.format("merchant-{}", pl.col("merchant").cast(pl.String).str.zfill(4)).alias("merchant_id"),
        _named("category", population.CATEGORIES).alias("merchant_category"),
        _named("country", population.COUNTRIES),
        _named("channel", population.CHANNELS),
        pl.format("device-{}-{}", card, pl.col("device")).alias("device_id"),
        _named("ip_address", population.IP_ADDRESSES),
        pl.format("cardholder{}@example.com", card).alias("email"),
        pl.Series("is_fraud", rows.position > 0).cast(pl.Int8),
        pl.select(pl.when(attack >= 0).then(attack)).to_series().cast(pl.Int64).alias("attack_id"),
        pl.Series("attack_position", rows.position).replace(0, None).cast(pl.Int8),
    )


def _named(column: str, names: tuple[str, ...]) -> pl.Expr:
    return pl.lit(pl.Series(names)).gather(pl.col(column)).alias(column)


def _money(minor: pl.Series) -> pl.Series:
    """Cents as exact decimals."""
    cents = minor.cast(pl.Decimal(18, 0))
    return pl.select((cents * pl.lit("0.01").cast(_AMOUNT_TYPE)).cast(_AMOUNT_TYPE)).to_series().alias(minor.name)
