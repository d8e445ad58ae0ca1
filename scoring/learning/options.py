"""What may be chosen of a training beside its split and the rates of its thresholds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from scoring.learning.calibrate import Method
from scoring.learning.labels import LabelOptions
from scoring.learning.search import SearchOptions
from scoring.rules.ruleset import RuleSet

Progress = Callable[[int, int], None]


def silent(_done: int, _all: int) -> None:
    """Nobody wants to know how far it is."""


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """All of it; the defaults are those of `fraudstream train` without reports.

    Attributes:
        labels: labels from elsewhere, and what counts as known.
        calibration: how probabilities are made to mean what they say.
        search: for better parameters; by default none.
        folds: of the cross-validation that the report shows; 0: none. A search has its own.
        monotone: columns that the probability may only rise (+1) or fall (-1) with.
        trusted: inputs that tell the label by themselves, and that somebody vouches for.
        refit: grow the trees anew on the training and the validation part together; thresholds and calibration stay.
        reports: write the report and the model card beside the model, baselines included.
        rules: rule set of the baseline; without: a few that anybody would start with.
        groups: declared groups of people, columns `g:<name>` of the table; reports compare their false positives.
        segments: other columns `g:<name>` that reports divide by.
        counts: rows that were left out or changed before the table was made, for the report.
        seconds: what took how long before, for the report.
        source: what a mapping was read through, for the report.
        missing_fields: share of the transactions that lack an optional field, where it is known.
        searching: called with the trials done and to do.
    """

    labels: LabelOptions = field(default_factory=LabelOptions)
    calibration: Method = "beta"
    search: SearchOptions = field(default_factory=SearchOptions)
    folds: int = 0
    monotone: Mapping[str, int] = field(default_factory=dict)
    trusted: tuple[str, ...] = ()
    refit: bool = False
    reports: bool = False
    rules: RuleSet | None = None
    groups: tuple[str, ...] = ()
    segments: tuple[str, ...] = ("country",)
    counts: Mapping[str, int] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    source: str | None = None
    missing_fields: Mapping[str, float] | None = None
    searching: Progress = silent
