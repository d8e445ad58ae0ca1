"""Regressions: ratios within a run, held against those of a run that was good.

No figure here is a time alone: each is divided by something that was measured in the same run and that our code has no
part in (the relay, or a fixed piece of work). What is left of the machine's mood is what the tolerances are for.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Final, Literal

import msgspec

from bench.report import Results
from bench.stages import STAGES

PATH: Final = Path(__file__).with_name("baseline.json")
TOLERANCE: Final = 1.6
LATENCY_TOLERANCE: Final = 2.5
"""Latency beside a busy machine is the machine's; only what is far beyond it is ours."""


MORE: Final = "more"
LESS: Final = "less"


class Figure(msgspec.Struct, frozen=True):
    """A ratio.

    Attributes:
        value: as measured.
        better: whether more of it is better, or less.
        tolerance: by which factor it may be worse.
    """

    value: float
    better: Literal["more", "less"]
    tolerance: float


class Baseline(msgspec.Struct, frozen=True):
    """Figures of a run, and where they come from."""

    began: str
    machine: str
    figures: dict[str, Figure]


class Compared(msgspec.Struct, frozen=True):
    """A figure beside that of the baseline.

    Attributes:
        name: of the figure.
        before: of the baseline.
        now: of this run.
        worse: how many times worse it is, below 1 where it is better.
        tolerance: by which factor it may be.
    """

    name: str
    before: float
    now: float
    worse: float
    tolerance: float

    @property
    def regressed(self) -> bool:
        """Whether it is worse than tolerated."""
        return self.worse > self.tolerance


def figures_of(results: Results) -> dict[str, Figure]:
    """The ratios of what was measured."""
    found = {}
    for size, stages in results.stages.items():
        whole_us = sum(stages[name].least for name in STAGES)
        found[f"stages of {size} / reference"] = Figure(whole_us / results.reference_us, LESS, TOLERANCE)
    if results.throughput:
        value = median(one.ratio for one in results.throughput)
        found["events/s, score / relay"] = Figure(value, MORE, TOLERANCE)
    if results.account:
        value = median(one.whole for one in results.account)
        found["CPU per event / reference"] = Figure(value / results.reference_us, LESS, TOLERANCE)
    for rate, rounds in results.latency.items():
        value = median(one.score.p50_ms / one.relay.p50_ms for one in rounds)
        found[f"p50 at {rate}/s, score / relay"] = Figure(value, LESS, LATENCY_TOLERANCE)
    return found


def compared(baseline: Baseline, now: dict[str, Figure]) -> list[Compared]:
    """The figures that both have, in the order of the baseline; its tolerances count."""
    found = []
    for name, before in baseline.figures.items():
        if name in now:
            ratio = now[name].value / before.value
            worse = 1 / ratio if before.better == MORE else ratio
            found.append(Compared(name, before.value, now[name].value, worse, before.tolerance))
    return found


def load(path: Path = PATH) -> Baseline | None:
    """The stored baseline; None where there is none."""
    return msgspec.json.decode(path.read_bytes(), type=Baseline) if path.is_file() else None


def store(results: Results, path: Path = PATH) -> None:
    """Make this run the baseline."""
    baseline = Baseline(results.began, results.machine.processor, figures_of(results))
    path.write_bytes(msgspec.json.format(msgspec.json.encode(baseline)) + b"\n")
