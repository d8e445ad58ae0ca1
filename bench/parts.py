"""The parts of a run, each of which fills its place in the results; any of them can run alone."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from bench.account import measure_account
from bench.cards import Cards
from bench.index import IndexBench
from bench.lab import Lab
from bench.latency import measure_latency, warm_up_latency
from bench.memory import measure_memory
from bench.offline import ROWS, measure_offline
from bench.pair import measure_pair
from bench.report import Results
from bench.scale import measure_growth, measure_hot
from bench.stages import measure_stages
from bench.start import measure_start
from bench.step import measure_step
from bench.throughput import measure_throughput, warm_up_throughput

_SIZES: Final = (1, 20, 500, 2000)


class Plan(msgspec.Struct, frozen=True):
    """How much of what.

    Attributes:
        cards: of all parts but `cards` and `offline`.
        records: of a throughput run.
        runs: of throughput.
        few_runs: of parts that take longer, or vary less.
        rates: transactions a second of the latency runs, with how many runs, and the seconds of each.
        step_s: length of the load step.
        stage_events: events of a repeat of a stage, at least.
        documents: of an index run.
        offline_rows: transactions of the offline table.
    """

    cards: int
    records: int
    runs: int
    few_runs: int
    rates: dict[int, tuple[int, int]]
    step_s: int
    stage_events: int
    documents: int
    offline_rows: int


WHOLE: Final = Plan(
    cards=10_000, records=100_000, runs=3, few_runs=2, rates={1000: (3, 12), 5000: (2, 8)}, step_s=60,
    stage_events=2000, documents=40_000, offline_rows=ROWS,
)  # fmt: skip
QUICK: Final = Plan(
    cards=10_000, records=80_000, runs=2, few_runs=1, rates={1000: (1, 8)}, step_s=20, stage_events=1000,
    documents=20_000, offline_rows=540_000,
)  # fmt: skip


class Run(msgspec.Struct):
    """What the parts need, and where their results go."""

    lab: Lab
    plan: Plan
    say: Callable[[str], None]
    results: Results

    def over(self, name: str, runs: int) -> range:
        """Numbers of the runs of a part, which is announced."""
        self.say(f"{name}, {runs} run{'s' * (runs > 1)}")
        return range(runs)


def _stages(run: Run) -> None:
    plan = run.plan
    run.say("stages")
    cards = Cards(plan.cards, 1, int(time.time() * 1000))
    for size in _SIZES:
        batches, repeats = max(plan.stage_events // size, 1), 5 if plan.few_runs > 1 else 3
        run.results.stages[size] = measure_stages(run.lab.model, cards, size, batches, repeats)


def _memory(run: Run) -> None:
    run.say("memory")
    run.results.memory = measure_memory(run.lab, run.plan.cards)


def _throughput(run: Run) -> None:
    plan = run.plan
    warm_up_throughput(run.lab, plan.cards, plan.records)
    for number in run.over("throughput", plan.runs):
        run.results.throughput.append(measure_throughput(run.lab, plan.cards, plan.records, number))


def _account(run: Run) -> None:
    plan = run.plan
    for number in run.over("CPU by stage and thread", plan.few_runs):
        run.results.account.append(measure_account(run.lab, plan.cards, plan.records, number))


def _latency(run: Run) -> None:
    plan = run.plan
    for rate, (runs, seconds) in plan.rates.items():
        warm_up_latency(run.lab, plan.cards, rate)
        rounds = run.results.latency[rate] = []
        for number in run.over(f"latency at {rate:,} a second", runs):
            rounds.append(measure_latency(run.lab, plan.cards, rate, seconds, number))  # noqa: PERF401 - kept as they come


def _step(run: Run) -> None:
    plan = run.plan
    run.say(f"load step of {plan.step_s} s")
    run.results.step.append(measure_step(run.lab, plan.cards, plan.step_s, 0))


def _cards(run: Run) -> None:
    run.say("many cards")
    run.results.cards.append(measure_growth(run.lab, run.plan.records, 0))


def _hot(run: Run) -> None:
    plan = run.plan
    for number in run.over("a hot card", plan.few_runs):
        run.results.hot.append(measure_hot(run.lab, plan.cards, plan.records, number))


def _pair(run: Run) -> None:
    plan, cores = run.plan, run.results.machine.cores
    for number in run.over("two processes", plan.few_runs):
        run.results.pair.append(measure_pair(run.lab, plan.cards, plan.records * 3 // 2, number, cores))


def _index(run: Run) -> None:
    plan = run.plan
    with run.lab.opensearch() as url:
        bench = IndexBench(run.lab, url, plan.cards, plan.documents)
        for number in run.over("index role", plan.few_runs):
            run.results.index.append(bench.measure(number))


def _start(run: Run) -> None:
    for number in run.over("start of a worker", run.plan.runs):
        run.results.start.append(measure_start(run.lab, number))


def _offline(run: Run) -> None:
    folder = run.lab.folder / "offline"
    folder.mkdir()
    run.results.offline = measure_offline(folder, run.say, run.plan.offline_rows)
    shutil.rmtree(folder)


PARTS: Final[dict[str, Callable[[Run], None]]] = {
    "stages": _stages, "memory": _memory, "throughput": _throughput, "account": _account, "latency": _latency,
    "step": _step, "cards": _cards, "hot": _hot, "pair": _pair, "start": _start, "index": _index, "offline": _offline,
}  # fmt: skip
QUICK_PARTS: Final = ("stages", "memory", "throughput", "account", "latency", "step")


def parts_of(only: Sequence[str], *, quick: bool) -> list[str]:
    """The parts to run, in their order.

    >>> parts_of(["hot", "memory"], quick=True)
    ['memory', 'hot']
    """
    wanted = only or (QUICK_PARTS if quick else PARTS)
    return [name for name in PARTS if name in wanted]
