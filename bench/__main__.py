"""Run the benchmarks: `python -m bench [--quick] [--only PART ...]`."""

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

from bench import baseline
from bench.lab import ROOT, BenchError, Lab
from bench.machine import this_machine
from bench.parts import PARTS, QUICK, WHOLE, Run, parts_of
from bench.reference import reference_us
from bench.report import Results, show
from bench.tables import table_of
from features.times import format_rfc3339
from local.errors import LocalStackError

_WIDTH: Final = 120


def main() -> int:
    """Measure, print, write, compare; returns the exit code."""
    settings = _settings()
    # The figures are those of the defaults, whatever this shell is set to.
    for name in [name for name in os.environ if name.startswith("FRAUD_")]:
        del os.environ[name]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    console, out = Console(stderr=True), Console(width=max(Console().width, _WIDTH))
    try:
        results = _measure(settings, lambda text: console.print(text, style="dim", highlight=False))
    except (BenchError, LocalStackError) as exc:
        console.print(f"bench: {exc}", markup=False)
        return 1
    show(results, out)
    path = ROOT / ".bench" / f"{results.began.replace(':', '')}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(results)))
    console.print(f"written: {path.relative_to(ROOT)}")
    if settings.write_baseline:
        baseline.store(results)
        console.print(f"written: {baseline.PATH.relative_to(ROOT)}")
        return 0
    return _held_against_baseline(results, out) if settings.quick else 0


def _settings() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="How fast, at what cost.")
    parser.add_argument(
        "--quick", action="store_true",
        help="fewer parts, less of each, under three minutes; ends with 1 where a ratio is worse than the baseline's",
    )  # fmt: skip
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=[], metavar="PART", help=", ".join(PARTS))
    parser.add_argument(
        "--write-baseline", action="store_true", help="a quick run, kept as what others are held against"
    )
    parser.add_argument("--cards", type=int, default=0, help="cards, each with some 25 live transactions; 10,000")
    parser.add_argument("--records", type=int, default=0, help="of a throughput run; 100,000, or 80,000 with --quick")
    parser.add_argument(
        "--rate", type=int, default=0, help="transactions per second of the latency runs; 1,000 and 5,000"
    )
    parser.add_argument("--seconds", type=int, default=0, help="of a latency run and of the load step")
    parser.add_argument("--runs", type=int, default=0, help="of every part; 1 to 3")
    parser.add_argument("--documents", type=int, default=0, help="of an index run; 40,000")
    parser.add_argument("--rules", action="store_true", help="put twenty rules and five lists in force (bench/rules)")
    parser.add_argument("--rows", type=int, default=0, help="transactions of the offline table; 5,400,000")
    settings = parser.parse_args()
    settings.quick = settings.quick or settings.write_baseline
    return settings


def _measure(settings: argparse.Namespace, say: Callable[[str], None]) -> Results:
    began_s = time.monotonic()
    plan = QUICK if settings.quick else WHOLE
    asked: dict[str, object] = {
        "cards": settings.cards, "records": settings.records, "documents": settings.documents,
        "runs": settings.runs, "few_runs": settings.runs, "offline_rows": settings.rows, "step_s": settings.seconds,
    }  # fmt: skip
    plan = msgspec.structs.replace(plan, **{name: value for name, value in asked.items() if value})
    if settings.rate or settings.seconds or settings.runs:
        rates = {settings.rate: plan.rates[1000]} if settings.rate else plan.rates
        rates = {rate: (settings.runs or n, settings.seconds or s) for rate, (n, s) in rates.items()}
        plan = msgspec.structs.replace(plan, rates=rates)
    machine, reference = this_machine(), reference_us()
    results = Results(
        began=format_rfc3339(int(time.time() * 1000)), quick=settings.quick, machine=machine, reference_us=reference,
        settings={
            "cards": plan.cards, "records": plan.records, "documents": plan.documents, "step_s": plan.step_s,
            "rules": int(settings.rules),
        },
    )  # fmt: skip
    with Lab(say) as lab:
        lab.rules = settings.rules
        run = Run(lab, plan, say, results)
        for name in parts_of(settings.only, quick=settings.quick):
            PARTS[name](run)
    # Once more at the end: the slower half of a run must not make the stages look dear.
    results.reference_us = min(reference, reference_us())
    results.seconds = time.monotonic() - began_s
    return results


def _held_against_baseline(results: Results, out: Console) -> int:
    """Print how the ratios compare; returns 1 where one is worse than tolerated, or there is no baseline."""
    stored = baseline.load()
    if stored is None:
        out.print("\nthere is no baseline to hold this against; write one: python -m bench --write-baseline")
        return 1
    found = baseline.compared(stored, baseline.figures_of(results))
    table = table_of(f"Ratios beside the baseline of {stored.began[:10]}", "", "baseline", "now", "worse by", "allowed")
    for one in found:
        cells = (f"{one.before:.3f}", f"{one.now:.3f}", f"{one.worse:.2f} x", f"{one.tolerance:.1f} x")
        table.add_row(one.name, *cells, style="bold red" if one.regressed else None)
    out.print()
    out.print(table)
    return int(any(one.regressed for one in found))


if __name__ == "__main__":
    sys.exit(main())
