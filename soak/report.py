"""A run as a table for people, and as a file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import Final

import msgspec
from rich.console import Console
from rich.table import Table

from bench.machine import Machine
from soak.judge import Verdict
from soak.load import Plan
from soak.run import Counts, Sample

_NAMES: Final = {
    "score_rss": "score RSS, MiB",
    "index_rss": "index RSS, MiB",
    "redis_used": "Redis used_memory, MiB",
    "redis_keys": "Redis keys",
    "opensearch_heap": "OpenSearch heap, MiB",
    "opensearch_own": "OpenSearch own, MiB",
    "score_lag": "score lag, records",
    "index_lag": "index lag, records",
}
_SHOWN: Final = {
    "opensearch_rss": "OpenSearch RSS, MiB",
    "redis_rss": "Redis RSS, MiB",
    "kafka_rss": "Kafka RSS, MiB",
    "score_p99_ms": "score p99, ms",
    "index_p99_ms": "index p99, ms",
}
_POINTS: Final = 6


class Results(msgspec.Struct, frozen=True):
    """Everything about a run."""

    began: str
    machine: Machine
    plan: Plan
    speed: float
    cards: int
    samples: list[Sample]
    counts: Counts
    verdicts: dict[str, Verdict]

    @property
    def holds(self) -> bool:
        """Whether nothing grew and nothing was lost."""
        return self.counts.nothing_lost and all(verdict.is_flat for verdict in self.verdicts.values())


def show(results: Results, console: Console) -> None:
    """Print the table and the verdict."""
    plan, counts = results.plan, results.counts
    console.print(
        f"{plan.seconds / 60:.1f} minutes at {plan.rate:g} tx/s, {results.cards:,} cards, event time "
        f"{results.speed:,.0f} times as fast as the clock: {plan.windows:g} times a week and its day of grace"
    )
    points = _spread(results.samples)
    heads = [f"{sample.at_s / 60:.1f} min" for sample in points]
    table = Table()
    table.add_column("", no_wrap=True)
    for head in (*heads, "growth/h", "growth", "allowed", "verdict"):
        table.add_column(head)
    for name, label in (_NAMES | _SHOWN).items():
        verdict = results.verdicts.get(name)
        values = [f"{getattr(sample, name):,.1f}" for sample in points]
        table.add_row(label, *values, *(_judged(verdict) if verdict else _unjudged(name, results.samples)))
    console.print(table)
    console.print(
        f"sent {counts.sent:,}, in the topic {counts.in_topic:,}, outcomes {counts.outcomes:,}, "
        f"documents {counts.documents:,}: {'nothing lost' if counts.nothing_lost else 'NOT EQUAL'}"
    )
    console.print("[bold green]flat[/]" if results.holds else "[bold red]does not hold[/]")


def _judged(verdict: Verdict) -> tuple[str, str, str, str]:
    return (
        f"{verdict.per_hour:+,.1f}", f"{verdict.growth:+,.1f}", f"{verdict.allowed:,.1f}",
        "flat" if verdict.is_flat else "GROWS",
    )  # fmt: skip


def _unjudged(name: str, samples: Sequence[Sample]) -> tuple[str, str, str, str]:
    values = [value for sample in samples if not math.isnan(value := getattr(sample, name))]
    return "", f"median {median(values):,.1f}" if values else "", "", "shown only"


def _spread(samples: list[Sample]) -> list[Sample]:
    """Some samples over the whole run, the last among them."""
    step = max(len(samples) // _POINTS, 1)
    return samples[::-1][::step][:_POINTS][::-1]
