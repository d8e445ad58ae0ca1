"""Run the benchmarks: `python -m bench [--quick]`."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Final

import msgspec
import structlog
from rich.console import Console

from bench.cards import Cards
from bench.lab import ROOT, BenchError, Lab
from bench.latency import measure_latency, warm_up_latency
from bench.machine import this_machine
from bench.memory import measure_memory
from bench.report import Results, show
from bench.stages import measure_stages
from bench.throughput import measure_throughput, warm_up_throughput
from features.times import format_rfc3339
from local.errors import LocalStackError

_CARDS: Final = 10_000
_WIDTH: Final = 110
_SIZES: Final = (1, 20, 500)


def main() -> int:
    """Measure, print, write; returns the exit code."""
    settings = _settings()
    # The figures are those of the defaults, whatever this shell is set to.
    for name in [name for name in os.environ if name.startswith("FRAUD_")]:
        del os.environ[name]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    console = Console(stderr=True)
    try:
        results = _measure(settings, lambda text: console.print(text, style="dim", highlight=False))
    except (BenchError, LocalStackError) as exc:
        console.print(f"bench: {exc}", markup=False)
        return 1
    show(results, Console(width=max(Console().width, _WIDTH)))
    out = ROOT / ".bench" / f"{results.began.replace(':', '')}.json"
    out.parent.mkdir(exist_ok=True)
    out.write_bytes(msgspec.json.format(msgspec.json.encode(results)))
    console.print(f"written: {out.relative_to(ROOT)}")
    return 0


def _settings() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Throughput, latency, memory, CPU by stage.")
    parser.add_argument("--quick", action="store_true", help="fewer records, fewer runs: under three minutes")
    parser.add_argument("--cards", type=int, default=_CARDS, help="cards, each with some 25 live transactions")
    parser.add_argument("--records", type=int, default=0, help="of a throughput run; 100,000, or 40,000 with --quick")
    parser.add_argument("--rate", type=int, default=1000, help="transactions per second of the latency runs")
    parser.add_argument(
        "--runs", type=int, default=0, help="of throughput and latency; 3, or 1 of latency with --quick"
    )
    return parser.parse_args()


def _measure(settings: argparse.Namespace, say: Callable[[str], None]) -> Results:
    quick: bool = settings.quick
    began = format_rfc3339(int(time.time() * 1000))
    records = settings.records or (40_000 if quick else 100_000)
    seconds = 10 if quick else 20
    throughput_runs, latency_runs = settings.runs or 3, settings.runs or (1 if quick else 3)
    machine = this_machine()
    with Lab(say) as lab:
        say("stages")
        cards = Cards(settings.cards, 1, int(time.time() * 1000))
        batches = {size: max(10, (500 if quick else 1000) // size) for size in _SIZES}
        stages = {size: measure_stages(lab.model, cards, size, batches[size], 3 if quick else 5) for size in _SIZES}
        say("memory")
        memory = measure_memory(lab, settings.cards)
        throughput = []
        warm_up_throughput(lab, settings.cards, records)
        for number in range(throughput_runs):
            say(f"throughput, run {number + 1} of {throughput_runs}")
            throughput.append(measure_throughput(lab, settings.cards, records, number))
        latency = []
        warm_up_latency(lab, settings.cards, settings.rate)
        for number in range(latency_runs):
            say(f"latency, run {number + 1} of {latency_runs}")
            latency.append(measure_latency(lab, settings.cards, settings.rate, seconds, number))
    return Results(
        began=began, quick=quick, machine=machine, stages=stages, memory=memory, throughput=throughput, latency=latency,
        settings={"cards": settings.cards, "records": records, "rate": settings.rate, "seconds": seconds},
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
