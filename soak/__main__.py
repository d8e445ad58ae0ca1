"""Run it: `python -m soak [--minutes N]`."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import time
from typing import Final

import msgspec
import structlog
from rich.console import Console

from bench.machine import this_machine
from features.times import format_rfc3339
from fraudstream.progress import progress
from local.errors import LocalStackError
from soak.lab import ROOT, Lab
from soak.load import Plan
from soak.report import Results, show
from soak.run import judged, soak

_WIDTH: Final = 150
_SHORT_MINUTES: Final = 30


def main() -> int:
    """Run, judge, print, write; returns 0 where it holds, 1 where it does not."""
    options = _options()
    # The run is that of the defaults, whatever this shell is set to.
    for name in [name for name in os.environ if name.startswith("FRAUD_")]:
        del os.environ[name]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    console = Console(stderr=True)
    windows = options.windows or (3 if options.minutes < _SHORT_MINUTES else 6)
    plan = Plan(options.minutes * 60, options.rate, windows)
    every_s = options.every or min(max(plan.seconds / 60, 1.0), 10.0)
    try:
        results = _run(plan, every_s, console)
    except LocalStackError as error:
        console.print(f"soak: {error}", markup=False)
        return 1
    show(results, Console(width=max(Console().width, _WIDTH)))
    out = ROOT / ".soak" / f"{results.began.replace(':', '')}.json"
    out.parent.mkdir(exist_ok=True)
    out.write_bytes(msgspec.json.format(msgspec.json.encode(results)))
    console.print(f"written: {out.relative_to(ROOT)}")
    return 0 if results.holds else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m soak", description="Steady load while windows slide: what grows?")
    parser.add_argument("--minutes", type=float, default=60.0, help="how long the load lasts")
    parser.add_argument("--rate", type=float, default=400.0, help="transactions per second")
    parser.add_argument(
        "--windows", type=float, default=0.0, help="weeks with their day of grace that pass; 6, or 3 below half an hour"
    )
    parser.add_argument("--every", type=float, default=0.0, help="seconds between samples; 10, fewer in short runs")
    return parser.parse_args()


def _run(plan: Plan, every_s: float, console: Console) -> Results:
    machine = this_machine()
    began_ms = time.time_ns() // 1_000_000
    with Lab(lambda text: console.print(text, style="dim", highlight=False)) as lab, progress("soaking") as bar:
        whole_s = int(plan.seconds)
        samples, counts = soak(lab, plan, every_s, lambda at_s: bar(min(int(at_s), whole_s), whole_s))
    return Results(
        began=format_rfc3339(began_ms), machine=machine, plan=plan, speed=plan.speed, cards=plan.cards,
        samples=samples, counts=counts, verdicts=judged(samples, plan.rate),
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
