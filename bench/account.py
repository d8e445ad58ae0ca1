"""Where the CPU time of a `score` process goes: by stage of its event loop, and by thread beside it."""

from __future__ import annotations

import time
from typing import Final

import msgspec

from bench.accounted import LEDGER
from bench.cards import Cards, span_ms
from bench.lab import BenchError, Lab, Running
from bench.threads import LOOP, cpu_by_group
from bench.throughput import prepare

STAGES: Final = (
    "decode", "read", "windows", "features", "model", "rules", "reasons", "encode", "turn", "commit",
)  # fmt: skip
"""Stages of the event loop, in their order; `deliver` and `publish` are times that a batch waits, and tell no CPU."""
PUBLISH: Final = "publish"
REST: Final = "rest"
_HANDLED: Final = "fraud_records_total"
_MOST_S: Final = 180.0


class Account(msgspec.Struct, frozen=True):
    """CPU seconds per million events, which are microseconds per event.

    Attributes:
        stages: of the event loop, by stage; `publish` is the handing over to librdkafka, `rest` what the loop does
            between batches: taking them, counting, commits of offsets, Faust.
        threads: of the whole process, by group of threads; the stages add up to that of the event loop.
        ended: of threads that did not live to the end, and what is left over since the event loop is accounted for by
            whole batches, and the other threads by the operating system's ticks.
        whole: of the process.
        per_s: events per second meanwhile, by the clock.
        batch: mean records of a batch.
    """

    stages: dict[str, float]
    threads: dict[str, float]
    ended: float
    whole: float
    per_s: float
    batch: float


def measure_account(lab: Lab, cards_count: int, count: int, number: int) -> Account:
    """One pass over a full topic, with the stop watch of `bench/accounted.py`."""
    prefix = f"a{number}-"
    cards = Cards(cards_count, 1, int(time.time() * 1000) - span_ms(cards_count, count))
    prepare(lab, prefix, cards, cards.histories(), count)
    running = lab.score(prefix, accounted=True)
    running.wait(lambda: lab.written(running.sink) > 0, "the first answer")
    running.wait(lambda: _handled(running) > 0, "the first batch")
    before = _Reading.of(running)
    running.wait(lambda: lab.written(running.sink) >= count, "the last answer", _MOST_S)
    running.wait(lambda: _handled(running) >= count, "the last batch")
    after = _Reading.of(running)
    running.stop()
    events = after.counted[_HANDLED] - before.counted[_HANDLED]
    batches = after.counted["fraud_batches_total"] - before.counted["fraud_batches_total"]
    threads = {g: (spent - before.threads.get(g, 0)) * 1e6 / events for g, spent in after.threads.items()}
    whole = (after.whole - before.whole) * 1e6 / events
    threads[LOOP], stages = stages_of(_ledger(running))
    per_s = events / (after.at_s - before.at_s)
    return Account(stages, threads, whole - sum(threads.values()), whole, per_s, events / batches)


class Ledger(msgspec.Struct, frozen=True):
    """What a role wrote of its event loop at its end (`bench/accounted.py`)."""

    events: int
    loop_s: float
    handed_over_s: float
    stages_s: dict[str, float]


def stages_of(ledger: Ledger) -> tuple[float, dict[str, float]]:
    """Microseconds per event of the event loop, and of each stage; what is left is the rest."""
    per_event = 1e6 / ledger.events
    stages = {name: ledger.stages_s[name] * per_event for name in STAGES}
    stages[PUBLISH] = ledger.handed_over_s * per_event
    loop = ledger.loop_s * per_event
    return loop, stages | {REST: loop - sum(stages.values())}


class _Reading(msgspec.Struct, frozen=True):
    """Samples of `/metrics`, and CPU seconds by thread and of the process, at one time."""

    counted: dict[str, float]
    threads: dict[str, float]
    whole: float
    at_s: float

    @classmethod
    def of(cls, running: Running) -> _Reading:
        return cls(running.metrics(), cpu_by_group(running.process.pid), running.cpu_s(), time.monotonic())


def _handled(running: Running) -> float:
    return running.metrics()[_HANDLED]


def _ledger(running: Running) -> Ledger:
    for line in running.log().splitlines():
        if line.startswith(LEDGER):
            return msgspec.json.decode(line.removeprefix(LEDGER), type=Ledger)
    raise BenchError(f"the account was not told; {running.said()}")
