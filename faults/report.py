"""The table: printed, and written into the documentation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
from rich.table import Table

from bench.machine import Machine
from faults.runner import Result

COMMAND: Final = "make faults"
_NAME_WIDTH: Final = 45
_TEMPLATE: Final = Path(__file__).with_name("page.md")
_COLUMNS: Final = (
    "fault",
    "lost",
    "wrong",
    "repeated",
    "differing repeats",
    "dead letters",
    "degraded",
    "longest pause, s",
    "catch-up, s",
    "index pause, s",
    "index catch-up, s",
    "workers ended with",
)


class Report(msgspec.Struct, frozen=True):
    """A run of the matrix.

    Attributes:
        began: RFC 3339.
        rate: asked for, records per second.
        seconds: of the whole run.
    """

    began: str
    rate: int
    seconds: float
    machine: Machine
    servers: dict[str, str]
    results: list[Result]


def cells(result: Result) -> list[str]:
    """A row's cells, in the order of the columns."""
    if not result.finished:
        return [result.name, "not finished", *["-"] * (len(_COLUMNS) - 2)]
    return [
        result.name,
        f"{result.lost}",
        f"{result.wrong}",
        f"{result.repeated:,}",
        f"{result.differing}",
        f"{result.dead_letters:,}",
        f"{result.degraded:,}",
        f"{result.pause_s:.1f}",
        f"{result.catch_up_s:.1f}",
        f"{result.index_pause_s:.1f}",
        f"{result.index_catch_up_s:.1f}",
        ", ".join(map(str, result.ends)) or "-",
    ]


def table_of(results: Sequence[Result]) -> Table:
    """The table for a terminal; a row that misses the goal is red."""
    table = Table(title="Fault matrix", title_justify="left")
    for number, column in enumerate(_COLUMNS):
        table.add_column(column, justify="right" if number else "left", min_width=0 if number else _NAME_WIDTH)
    for result in results:
        table.add_row(*cells(result), style="" if result.good else "red")
    return table


def summary(result: Result) -> str:
    """One line for whoever watches."""
    figures = (
        f"lost {result.lost}, wrong {result.wrong}, repeated {result.repeated} of {result.bound} allowed, "
        f"pause {result.pause_s:.1f} s, catch-up {result.catch_up_s:.1f} s"
    )
    return "; ".join([f"{result.seconds:.0f} s: {figures}", *result.notes])


def markdown(report: Report) -> str:
    """The document `docs/reliability.md`."""
    rows = [_COLUMNS, ["---", *["--:"] * (len(_COLUMNS) - 1)], *(cells(result) for result in report.results)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    records = sum(result.records for result in report.results)
    slowest = min((result.rate for result in report.results if result.finished), default=0.0)
    machine = report.machine
    versions = {**report.servers, **machine.versions}
    bad = [result.name for result in report.results if not result.good]
    verdict = f"Rows that missed the goal: {', '.join(bad)}." if bad else "Every row met the goal."
    return _TEMPLATE.read_text().format(
        command=COMMAND,
        began=report.began,
        minutes=f"{report.seconds / 60:.0f}",
        rows=len(report.results),
        records=f"{records:,}",
        rate=f"{report.rate:,}",
        slowest=f"{slowest:,.0f}",
        machine=f"{machine.processor}, {machine.cores} cores, {machine.memory_bytes / 2**30:.0f} GiB, {machine.system}",
        load=machine.load_before,
        python=machine.python,
        versions=", ".join(f"{name} {version}" for name, version in versions.items()),
        verdict=verdict,
        table=table,
    )
