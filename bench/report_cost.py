"""Tables of what an event costs: by stage, by thread, with many cards, with a hot one; and memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from rich.table import Table

from bench import stages as stages_bench
from bench.account import PUBLISH, REST, Account
from bench.account import STAGES as LOOP_STAGES
from bench.memory import Memory
from bench.scale import ENTRIES, FEW, HOT_PER_WEEK, MANY, Growth, Hot
from bench.spread import Spread, spread
from bench.tables import compare, over, table_of, text
from bench.threads import LOOP

_WORDS: Final = {
    "read": "read (histories from Redis)", "encode": "encode (outcomes, JSON)",
    "turn": "turn (waits for the batch before)", PUBLISH: "publish (handing over to librdkafka)",
    REST: "rest (taking batches, counting, offsets, Faust)",
}  # fmt: skip


def stages(found: Mapping[int, Mapping[str, Spread]]) -> Table:
    """CPU by step inside the process, by batch size."""
    table = table_of(
        "CPU us per event by step, in process, min / median / max", "step", *(f"batch of {size}" for size in found)
    )
    for name in stages_bench.STAGES:
        table.add_row(name, *(text(one[name]) for one in found.values()))
    for part in stages_bench.PARTS:
        table.add_row(f"of decide: {part}", *(text(one[part]) for one in found.values()))
    sums = (sum(one[name].middle for name in stages_bench.STAGES) for one in found.values())
    table.add_row("sum of medians", *(f"{value:,.1f}" for value in sums))
    return table


def account(runs: Sequence[Account]) -> Table:
    """CPU by stage of the running process and by thread."""
    title = "CPU seconds per million events of a running score process, min / median / max"
    table = table_of(title, "", "", "% of all")
    whole = spread([one.whole for one in runs]).middle

    def row(name: str, value: Callable[[Account], float]) -> None:
        middle = spread([value(one) for one in runs]).middle
        table.add_row(name, over(runs, value), f"{middle / whole:.0%}")

    row(LOOP, lambda one: one.threads[LOOP])
    for stage in (*LOOP_STAGES, PUBLISH, REST):
        row(f"  {_WORDS.get(stage, stage)}", partial(_stage, stage))
    for group in sorted({group for one in runs for group in one.threads} - {LOOP}):
        row(group, partial(_thread, group))
    row("ended threads, and what ticks leave over", lambda one: one.ended)
    row("all", lambda one: one.whole)
    per_s, batch = (spread(values).middle for values in ([one.per_s for one in runs], [one.batch for one in runs]))
    table.caption = f"at {per_s:,.0f} events/s, {batch:,.0f} records a batch"
    return table


def _stage(name: str, one: Account) -> float:
    return one.stages[name]


def _thread(group: str, one: Account) -> float:
    return one.threads.get(group, 0.0)


def growth(rounds: Sequence[Growth]) -> Table:
    """Many cards beside few."""
    title = f"Cards {FEW:,} -> {MANY:,}, {ENTRIES} entries each, min / median / max"
    table = table_of(title, "", f"{MANY:,}", f"{FEW:,}", "ratio, by run")
    _two_passes(table, rounds, ("many", "few"))
    table.add_row("CPU of an event, process and Redis", "", "", over(rounds, lambda r: r.cpu_ratio, 2))
    table.add_row("time of an event", "", "", over(rounds, lambda r: r.time_ratio, 2))
    return table


def hot(rounds: Sequence[Hot]) -> Table:
    """A hot card among quiet ones."""
    title = f"A card with {HOT_PER_WEEK:,} transactions a week, {rounds[0].share:.0%} of events, min / median / max"
    table = table_of(title, "", "with it", "quiet ones alone", "ratio, by run")
    _two_passes(table, rounds, ("mixed", "quiet"))
    table.add_row("CPU of an event, process and Redis", "", "", over(rounds, lambda r: r.mixed_ratio, 2))
    table.add_row("CPU of an event of the hot card", "", "", over(rounds, lambda r: r.hot_ratio, 2))
    compare(table, "flagged, %", rounds, lambda r, kind: float(getattr(r, kind).flagged) * 100, 1, ("mixed", "quiet"))
    return table


def memory(found: Memory) -> Table:
    """Bytes in Redis."""
    table = table_of("Redis memory", "", "bytes")
    table.add_row(f"per card, of {found.cards:,}", f"{found.per_card:.0f}")
    table.add_row(f"per live transaction, {found.live / found.cards:.1f} a card", f"{found.per_live:.1f}")
    return table


def _two_passes(table: Table, rounds: Sequence[Growth] | Sequence[Hot], kinds: tuple[str, str]) -> None:
    compare(table, "events/s", rounds, lambda r, kind: float(getattr(r, kind).per_s), 0, kinds, ratio=True)
    compare(table, "CPU us/event, process", rounds, lambda r, kind: float(getattr(r, kind).cpu_us), 1, kinds)
    compare(table, "CPU us/event, Redis", rounds, lambda r, kind: float(getattr(r, kind).redis_cpu_us), 1, kinds)
