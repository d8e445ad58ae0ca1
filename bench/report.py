"""The figures as tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import msgspec
from rich.console import Console
from rich.table import Table

from bench.latency import Round as LatencyRound
from bench.machine import Machine
from bench.memory import Memory
from bench.stages import PARTS, STAGES, Spread, spread
from bench.throughput import Round as ThroughputRound

_STEPS_AT: Final = 500
R = TypeVar("R")


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """Everything measured in a run; written as JSON."""

    began: str
    quick: bool
    machine: Machine
    settings: dict[str, int]
    stages: dict[int, dict[str, Spread]]
    memory: Memory
    throughput: list[ThroughputRound]
    latency: list[LatencyRound]


def show(results: Results, console: Console) -> None:
    """Print the tables."""
    m = results.machine
    console.print(
        f"\n{m.processor}, {m.cores} cores, {m.system}, load before {m.load_before}\nPython {m.python}, Kafka {m.kafka}"
    )
    console.print(", ".join(f"{name} {version}" for name, version in m.versions.items()))
    for table in (_stages(results), _throughput(results), _latency(results), _memory(results)):
        console.print()
        console.print(table)


def _text(values: Spread, digits: int = 1) -> str:
    return " / ".join(f"{value:,.{digits}f}" for value in (values.least, values.middle, values.most))


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    return table


def _stages(results: Results) -> Table:
    sizes = list(results.stages)
    table = _table("CPU us per event by stage, min / median / max", "stage", *(f"batch of {size}" for size in sizes))
    for name in (*STAGES, *(f"of decide: {part}" for part in PARTS)):
        key = name.removeprefix("of decide: ")
        table.add_row(name, *(_text(results.stages[size][key]) for size in sizes))
    sums = {size: sum(results.stages[size][name].middle for name in STAGES) for size in sizes}
    table.add_row("sum of medians", *(f"{sums[size]:,.1f}" for size in sizes))
    if _STEPS_AT in sums:
        whole = spread([r.score.cpu_us for r in results.throughput]).middle
        rest = [f"{whole - sums[size]:,.1f}" if size == _STEPS_AT else "" for size in sizes]
        table.add_row("beyond these: Kafka, Redis client, loop", *rest)
    return table


def _throughput(results: Results) -> Table:
    table = _table("Throughput, preloaded topic, min / median / max", "", "score", "relay", "score : relay, by run")
    rows: list[tuple[str, Callable[[ThroughputRound, str], float], int]] = [
        ("events/s", lambda r, kind: float(getattr(r, kind).per_s), 0),
        ("CPU us/event, process", lambda r, kind: float(getattr(r, kind).cpu_us), 1),
        ("CPU us/event, Kafka", lambda r, kind: float(getattr(r, kind).kafka_cpu_us), 1),
        ("CPU us/event, Redis", lambda r, kind: float(getattr(r, kind).redis_cpu_us), 1),
    ]
    for name, value, digits in rows:
        _compare(table, name, results.throughput, value, digits, ratio=digits == 0)
    table.add_row("flagged", f"{spread([r.score.flagged for r in results.throughput]).middle:.2%}", "", "")
    return table


def _latency(results: Results) -> Table:
    title = f"Latency in ms at {results.settings['rate']:,} tx/s, open loop, due to readable, min / median / max"
    table = _table(title, "", "score", "relay", "score : relay, by run")
    points: list[tuple[str, Callable[[LatencyRound, str], float]]] = [
        ("p50", lambda r, kind: float(getattr(r, kind).p50_ms)),
        ("p99", lambda r, kind: float(getattr(r, kind).p99_ms)),
        ("p99.9", lambda r, kind: float(getattr(r, kind).p999_ms)),
        ("most", lambda r, kind: float(getattr(r, kind).most_ms)),
    ]
    for name, value in points:
        _compare(table, name, results.latency, value, 1, ratio=True)
    _compare(table, "CPU, % of a core", results.latency, lambda r, kind: float(getattr(r, kind).cpu_share) * 100, 1)
    _compare(table, "generator late, p99.9", results.latency, lambda r, kind: float(getattr(r, kind).lag_p999_ms), 1)
    return table


def _memory(results: Results) -> Table:
    m = results.memory
    table = _table("Redis memory", "", "bytes")
    table.add_row(f"per card, of {m.cards:,}", f"{m.per_card:.0f}")
    table.add_row(f"per live transaction, {m.live / m.cards:.1f} a card", f"{m.per_live:.1f}")
    return table


def _compare(
    table: Table, name: str, rounds: Sequence[R], value: Callable[[R, str], float], digits: int, *, ratio: bool = False
) -> None:
    columns = {kind: [value(r, kind) for r in rounds] for kind in ("score", "relay")}
    shares = [s / r for s, r in zip(columns["score"], columns["relay"], strict=True)] if ratio else []
    table.add_row(
        name,
        *(_text(spread(column), digits) for column in columns.values()),
        _text(spread(shares), 2) if shares else "",
    )
