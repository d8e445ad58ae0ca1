"""All that a run measured, and the order in which it is printed."""

from __future__ import annotations

import msgspec
from rich.console import Console

from bench import report_cost, report_speed
from bench.account import Account
from bench.index import Round as IndexRound
from bench.latency import Round as LatencyRound
from bench.machine import Machine
from bench.memory import Memory
from bench.offline import Offline, show_offline
from bench.pair import Pair
from bench.scale import Growth, Hot
from bench.spread import Spread
from bench.start import Start
from bench.step import Step
from bench.throughput import Round as ThroughputRound


class Results(msgspec.Struct, kw_only=True):
    """Everything measured in a run, filled part by part; written as JSON.

    Attributes:
        began: when.
        seconds: how long the whole run took.
        quick: whether with less of everything.
        machine: where.
        settings: how much of what.
        reference_us: CPU microseconds of a fixed piece of work (`bench/reference.py`).
        stages: by batch size and stage.
        latency: by transactions a second.
    """

    began: str
    seconds: float = 0.0
    quick: bool
    machine: Machine
    settings: dict[str, int]
    reference_us: float
    stages: dict[int, dict[str, Spread]] = {}
    memory: Memory | None = None
    throughput: list[ThroughputRound] = []
    account: list[Account] = []
    latency: dict[int, list[LatencyRound]] = {}
    step: list[Step] = []
    cards: list[Growth] = []
    hot: list[Hot] = []
    pair: list[Pair] = []
    index: list[IndexRound] = []
    start: list[Start] = []
    offline: Offline | None = None


def show(results: Results, console: Console) -> None:
    """Print the tables of what was measured."""
    m = results.machine
    console.print(
        f"\n{m.processor}, {m.cores} cores, {m.system}, load before {m.load_before}, {results.seconds:.0f} s in all\n"
        f"Python {m.python}, Kafka {m.kafka}, reference work {results.reference_us:,.0f} us"
    )
    console.print(", ".join(f"{name} {version}" for name, version in m.versions.items()))
    tables = [
        report_cost.stages(results.stages) if results.stages else None,
        report_cost.account(results.account) if results.account else None,
        report_speed.throughput(results.throughput) if results.throughput else None,
        *(report_speed.latency(rate, rounds) for rate, rounds in results.latency.items()),
        report_speed.step(results.step) if results.step else None,
        report_cost.growth(results.cards) if results.cards else None,
        report_cost.hot(results.hot) if results.hot else None,
        report_speed.pair(results.pair) if results.pair else None,
        report_speed.index(results.index) if results.index else None,
        report_speed.start(results.start) if results.start else None,
        report_cost.memory(results.memory) if results.memory else None,
    ]
    for table in tables:
        if table is not None:
            console.print()
            console.print(table)
    if results.offline is not None:
        console.print()
        show_offline(results.offline, console)
