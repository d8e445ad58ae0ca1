"""Run the fault matrix: `python -m faults [--only ROW ...] [--rate N] [--list]`."""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import structlog
from redis import Redis
from rich.console import Console

from bench.machine import this_machine
from faults.fault import FaultError
from faults.fleet import ROOT, FleetError
from faults.load import LoadError
from faults.report import Report, markdown, summary, table_of
from faults.rows import ROWS, Row
from faults.runner import Result, not_finished, run_row
from features.offline import build_table
from features.times import format_rfc3339
from local.errors import LocalStackError
from local.generator import generate
from local.opensearch import COORDINATES
from local.stack import Stack
from scoring.training import train

RATE: Final = 2_000
_WIDTH: Final = 150
_PAGE: Final = ROOT / "docs" / "reliability.md"


def main() -> int:
    """Run the rows, print the table, write the page; returns the exit code."""
    options = _options()
    rows = [row for row in ROWS if not options.only or any(word.lower() in row.name.lower() for word in options.only)]
    if options.list or not rows:
        sys.stdout.writelines(f"{row.name}  ({', '.join(row.kinds)}; {row.load_s:g} s)\n" for row in rows or ROWS)
        return 0 if rows else 2
    for name in [name for name in os.environ if name.startswith("FRAUD_")]:
        del os.environ[name]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    logging.getLogger("opensearch").setLevel(logging.CRITICAL)  # a server that is away is meant to be
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    console = Console(stderr=True)
    try:
        report = _run(rows, options.rate, console)
    except LocalStackError as exc:
        console.print(f"faults: {exc}", markup=False)
        return 1
    wide = Console(width=max(Console().width, _WIDTH))
    wide.print(table_of(report.results))
    for result in report.results:
        for note in result.notes:
            wide.print(f"{result.name}: {note}", markup=False, highlight=False)
    if len(rows) == len(ROWS):
        _PAGE.write_text(markdown(report))
        console.print(f"written: {_PAGE.relative_to(ROOT)}")
    return 0 if all(result.good for result in report.results) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m faults", description="The fault matrix, on local servers.")
    parser.add_argument("--only", nargs="+", metavar="ROW", help="rows whose name contains a word; writes no page")
    parser.add_argument("--rate", type=int, default=RATE, help=f"transactions per second (default {RATE:,})")
    parser.add_argument("--list", action="store_true", help="name the rows and end")
    return parser.parse_args()


def _run(rows: list[Row], rate: int, console: Console) -> Report:
    began_s, began = time.monotonic(), format_rfc3339(time.time_ns() // 1_000_000)
    machine = this_machine()
    results: list[Result] = []
    with _servers(console) as (stack, model):
        redis_version = _redis_version(stack)
        for number, row in enumerate(rows, 1):
            console.print(f"{number} of {len(rows)}: {row.name} ...", style="dim", highlight=False)
            prefix = f"f{uuid.uuid4().hex[:8]}-"
            folder = model.parent / f"row-{number}"
            try:
                result = run_row(row, stack, model, folder, prefix, rate, seed=number)
            except (FaultError, FleetError, LoadError, LocalStackError, TimeoutError) as exc:
                result = not_finished(row, rate, exc)
            results.append(result)
            console.print(f"  {summary(result)}", style="dim" if result.good else "red", markup=False)
    servers = {"Kafka": machine.kafka, "OpenSearch": COORDINATES[0].rpartition(":")[2], "Redis": redis_version}
    return Report(began, rate, time.monotonic() - began_s, machine, servers, results)


def _redis_version(stack: Stack) -> str:
    with Redis.from_url(stack.env()["FRAUD_REDIS_URL"]) as client:
        return str(client.info("server")["redis_version"])


@contextmanager
def _servers(console: Console) -> Iterator[tuple[Stack, Path]]:
    """Servers and two models, in a folder that is gone afterwards."""
    (ROOT / ".stack").mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="faults-", dir=ROOT / ".stack"))
    stack = Stack(folder / "servers")
    try:
        stack.start(lambda text: console.print(text, style="dim", highlight=False))
        console.print("training two models", style="dim")
        generate(60_000, 120, 7, folder / "history")
        build_table(folder / "history", folder / "table.parquet")
        for name, seed in (("model", 7), ("model-2", 8)):
            train(folder / "table.parquet", folder / name, seed=seed)
        yield stack, folder / "model"
    finally:
        stack.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
