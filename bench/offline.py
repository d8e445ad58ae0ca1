"""The offline feature table beside DuckDB's window functions on the same history: `python -m bench.offline`.

Each side is a process of its own with one thread to compute, which reads the Parquet files of the history and writes
the table as Parquet. Peak memory is the process's, libraries included.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import duckdb
import msgspec
from rich.console import Console
from rich.table import Table

from features.catalogue import FEATURES
from features.offline import build_table
from local.generator import generate

ROWS: Final = 5_400_000
CARDS: Final = 10_000
PRODUCT: Final = "fraudstream"
DUCKDB: Final = "duckdb"

# A column per feature, in the words of the contract for authorizations that came in order of time.
_SQL: Final = """
copy (
    with history as (
        select transaction_id, card_id, event_time, epoch_ms(event_time) as t, (amount * 100)::bigint as minor,
            merchant_category, country, is_fraud, attack_id, attack_position, row_number() over () as place
        from read_parquet($history)
    ), windows as (
        select *,
            count(*) over ten as n_10m, count(*) over week as n_1w,
            sum(minor) over ten as s_10m, sum(minor) over week as s_1w,
            min(minor) over ten as min_10m, max(minor) over ten as max_10m, max(minor) over week as max_1w,
            count(distinct country) over ten as countries, count(distinct merchant_category) over ten as mccs,
            lag(t) over earlier as last_t, lag(minor) over earlier as last_minor
        from history
        window ten as (partition by card_id order by t range between 600000 preceding and current row),
            week as (partition by card_id order by t range between 604800000 preceding and current row),
            earlier as (partition by card_id order by t, place)
    ), means as (
        select *, s_10m / n_10m / 100 as mean_10m, s_1w / n_1w / 100 as mean_1w, minor / 100 as amount,
            coalesce(t - last_t <= 604800000, false) as has_last
        from windows
    )
    select transaction_id, card_id, event_time,
        n_10m as num_trans_last_10m, n_1w as num_trans_last_1w,
        mean_10m as avg_amt_last_10m, mean_1w as avg_amt_last_1w,
        mean_10m / mean_1w as amt_ratio1, amount / mean_1w as amt_ratio2, n_10m / n_1w as count_ratio, amount,
        if(has_last, (t - last_t) / 1000, 604800.0) as secs_since_last,
        if(has_last, last_minor / 100, 0.0) as prev_amt,
        min_10m / 100 as min_amt_last_10m, max_10m / 100 as max_amt_last_10m, max_1w / 100 as max_amt_last_1w,
        t // 3600000 % 24 as hour_of_day, countries as num_countries_last_10m, mccs as num_mccs_last_10m,
        is_fraud, attack_id, attack_position
    from means order by card_id, place
) to '{out}' (format parquet, compression lz4)
"""
_SAMPLE_CARDS: Final = 500


class Side(msgspec.Struct, frozen=True):
    """What one side took: seconds by the clock and of the processor, and its peak memory."""

    seconds: float
    cpu_s: float
    peak_bytes: int


class Offline(msgspec.Struct, frozen=True):
    """Both sides on one history.

    Attributes:
        rows: transactions of the history.
        cards: its cards.
        product: `fraudstream features`.
        duckdb: the same table by window functions.
        ratio: seconds of the product by those of DuckDB.
        compared: values of features that were compared, of cards drawn by their ids.
        differing: those that differ in any bit.
    """

    rows: int
    cards: int
    product: Side
    duckdb: Side
    ratio: float
    compared: int
    differing: int


def measure_offline(folder: Path, say: Callable[[str], None], rows: int = ROWS, cards: int = CARDS) -> Offline:
    """Make a history, build its table both ways, and compare the values of some cards.

    Args:
        folder: for the files, some 200 bytes per row; they stay there.
        say: told what is going on.
        rows: transactions of the history.
        cards: its cards.
    """
    history = folder / "history"
    say(f"generating {rows:,} transactions")
    generate(rows, cards, 7, history)
    sides: dict[str, Side] = {}
    for name in (PRODUCT, DUCKDB):
        say(f"features by {name}")
        sides[name] = _in_its_own_process(name, history, folder / f"{name}.parquet")
    compared, differing = _compared(folder / f"{PRODUCT}.parquet", folder / f"{DUCKDB}.parquet")
    ratio = sides[PRODUCT].seconds / sides[DUCKDB].seconds
    return Offline(rows, cards, sides[PRODUCT], sides[DUCKDB], ratio, compared, differing)


def _in_its_own_process(name: str, history: Path, out: Path) -> Side:
    ran = subprocess.run(  # noqa: S603 - this very module
        [sys.executable, "-m", "bench.offline", "--side", name, "--history", str(history), "--out", str(out)],
        env={**os.environ, "POLARS_MAX_THREADS": "1"}, stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    return msgspec.json.decode(ran.stdout, type=Side)


def _build(name: str, history: Path, out: Path) -> Side:
    """Build the table in this process."""
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    if name == PRODUCT:
        build_table(history, out)
    else:
        with _one_thread() as database:
            database.execute(_SQL.format(out=out), {"history": f"{history}/*.parquet"})
    seconds, cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
    unit = 1 if sys.platform == "darwin" else 1024
    return Side(seconds, cpu_s, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


def _one_thread() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(config={"threads": 1})


def _compared(one: Path, other: Path) -> tuple[int, int]:
    """Values compared of a sample of cards, and how many of them differ."""
    differing = " + ".join(f"count(*) filter (one.{f.name} is distinct from other.{f.name})" for f in FEATURES)
    query = f"""
        with cards as (select distinct card_id from '{one}' order by hash(card_id) limit {_SAMPLE_CARDS})
        select count(*) * {len(FEATURES)}, {differing}
        from (from '{one}' semi join cards using (card_id)) one
        full join (from '{other}' semi join cards using (card_id)) other using (card_id, transaction_id)
    """  # noqa: S608 - paths and names of our own
    with _one_thread() as database:
        compared, differ = database.execute(query).fetchall()[0]
    return int(compared), int(differ)


def show_offline(found: Offline, console: Console) -> None:
    """Print both sides."""
    table = Table(title=f"offline features, {found.rows:,} transactions of {found.cards:,} cards")
    for name in ("", "seconds", "CPU seconds", "peak MiB", "rows/s"):
        table.add_column(name, justify="right" if name else "left")
    for name, side in ((PRODUCT, found.product), (DUCKDB, found.duckdb)):
        table.add_row(
            name, f"{side.seconds:.1f}", f"{side.cpu_s:.1f}", f"{side.peak_bytes / 2**20:,.0f}",
            f"{found.rows / side.seconds:,.0f}",
        )  # fmt: skip
    console.print(table)
    console.print(
        f"{found.ratio:.2f} x DuckDB; of {found.compared:,} values compared, {found.differing:,} differ",
        highlight=False,
    )


def main() -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.offline", description="Offline features beside DuckDB.")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--cards", type=int, default=CARDS)
    for internal in ("side", "history", "out"):
        parser.add_argument(f"--{internal}", help=argparse.SUPPRESS)
    settings = parser.parse_args()
    if settings.side:
        side = _build(settings.side, Path(settings.history), Path(settings.out))
        sys.stdout.buffer.write(msgspec.json.encode(side))
        return 0
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="bench-offline-") as folder:
        found = measure_offline(
            Path(folder), lambda text: console.print(text, style="dim", highlight=False), settings.rows, settings.cards
        )
    show_offline(found, Console())
    return 1 if found.differing else 0


if __name__ == "__main__":
    sys.exit(main())
