"""Tables of how fast: throughput, latency, a load step, two processes, the index role, a start."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from rich.table import Table

from bench.index import Round as IndexRound
from bench.latency import Round as LatencyRound
from bench.pair import Pair
from bench.spread import spread
from bench.start import Start
from bench.step import HIGH_PER_S, LOW_PER_S, Step
from bench.tables import compare, over, table_of
from bench.throughput import Round as ThroughputRound

_FULL: Final = 0.85


def throughput(rounds: Sequence[ThroughputRound]) -> Table:
    """Events per second and CPU per event, beside the relay."""
    table = table_of("Throughput, preloaded topic, min / median / max", "", "score", "relay", "score : relay, by run")
    rows: list[tuple[str, Callable[[ThroughputRound, str], float], int]] = [
        ("events/s", lambda r, kind: float(getattr(r, kind).per_s), 0),
        ("CPU us/event, process", lambda r, kind: float(getattr(r, kind).cpu_us), 1),
        ("CPU us/event, Kafka", lambda r, kind: float(getattr(r, kind).kafka_cpu_us), 1),
        ("CPU us/event, Redis", lambda r, kind: float(getattr(r, kind).redis_cpu_us), 1),
    ]
    for name, value, digits in rows:
        compare(table, name, rounds, value, digits, ratio=digits == 0)
    table.add_row("flagged", f"{spread([r.score.flagged for r in rounds]).middle:.2%}", "", "")
    return table


def latency(rate: int, rounds: Sequence[LatencyRound]) -> Table:
    """Percentiles beside the relay's."""
    title = f"Latency in ms at {rate:,} tx/s, open loop, due to readable, min / median / max"
    table = table_of(title, "", "score", "relay", "score : relay, by run")
    points: list[tuple[str, Callable[[LatencyRound, str], float]]] = [
        ("p50", lambda r, kind: float(getattr(r, kind).p50_ms)),
        ("p99", lambda r, kind: float(getattr(r, kind).p99_ms)),
        ("p99.9", lambda r, kind: float(getattr(r, kind).p999_ms)),
        ("most", lambda r, kind: float(getattr(r, kind).most_ms)),
    ]
    for name, value in points:
        compare(table, name, rounds, value, 1, ratio=True)
    compare(table, "CPU, % of a core", rounds, lambda r, kind: float(getattr(r, kind).cpu_share) * 100, 1)
    compare(table, "generator late, p99.9", rounds, lambda r, kind: float(getattr(r, kind).lag_p999_ms), 1)
    return table


def step(runs: Sequence[Step]) -> Table:
    """A load step."""
    title = f"Load step, {LOW_PER_S:,} -> {HIGH_PER_S:,} tx/s for {runs[0].seconds} s -> {LOW_PER_S:,}"
    table = table_of(title, "", "min / median / max")
    table.add_row("sent", over(runs, lambda r: r.sent, 0))
    table.add_row("lost", over(runs, lambda r: r.lost, 0))
    table.add_row("repeated", over(runs, lambda r: r.repeated, 0))
    table.add_row("lag at most, transactions", over(runs, lambda r: r.lag_most, 0))
    table.add_row("lag back to zero after, s", over(runs, lambda r: max(r.caught_up_s, 0.0), 2))
    table.add_row("p99 within the step, ms", over(runs, lambda r: r.p99_ms))
    table.add_row("generator late at most, ms", over(runs, lambda r: r.late_most_ms))
    return table


def pair(rounds: Sequence[Pair]) -> Table:
    """Two processes beside one."""
    title = "Two score processes on halves of the partitions, min / median / max"
    table = table_of(title, "", "two", "one", "two : one, by run")
    compare(table, "events/s", rounds, lambda r, kind: float(getattr(r, kind).per_s), 0, ("two", "one"), ratio=True)
    for at, name in enumerate(("score", "Kafka", "Redis")):
        compare(table, f"cores busy, {name}", rounds, partial(_cores, at), 2, ("two", "one"))
    compare(table, "cores busy, all", rounds, lambda r, kind: float(getattr(r, kind).machine), 2, ("two", "one"))
    least = min(min(one.two.shares) for one in rounds)
    table.add_row("least share of a process", f"{least:.0%}", "", "")
    busy, cores = spread([one.busy for one in rounds]).middle, rounds[0].cores
    table.caption = (
        f"what limits two: {busy:.0%} of the machine's {cores} cores are busy"
        f"{': with the servers beside them, there is no core left for the second' if busy > _FULL else ''}"
    )
    return table


def index(rounds: Sequence[IndexRound]) -> Table:
    """The index role beside a bare bulk loop."""
    title = "Documents into OpenSearch, min / median / max"
    table = table_of(title, "", "index role", "bare bulk loop", "role : loop, by run")
    rows: list[tuple[str, Callable[[IndexRound, str], float], int]] = [
        ("documents/s", lambda r, kind: float(getattr(r, kind).per_s), 0),
        ("CPU us/document, writer", lambda r, kind: float(getattr(r, kind).cpu_us), 1),
        ("CPU us/document, OpenSearch", lambda r, kind: float(getattr(r, kind).search_cpu_us), 1),
    ]
    for name, value, digits in rows:
        compare(table, name, rounds, value, digits, ("role", "loop"), ratio=digits == 0)
    return table


def start(runs: Sequence[Start]) -> Table:
    """A worker's start."""
    table = table_of("Start of a worker, broker warm", "", "min / median / max")
    table.add_row("first outcome readable after, s", over(runs, lambda r: r.first_s, 2))
    table.add_row("CPU until then, s", over(runs, lambda r: r.cpu_s, 2))
    return table


def _cores(at: int, one: Pair, kind: str) -> float:
    return float(getattr(one, kind).cores[at])
