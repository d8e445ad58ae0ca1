"""Everything that a training tells beside the model itself: `report.json`, which the HTML report is made of."""

from __future__ import annotations

from typing import Final

import msgspec

from scoring.report import Report

REPORT_FILE: Final = "report.json"
PAGE_FILE: Final = "report.html"
CARD_FILE: Final = "model-card.md"
FORMAT: Final = 1


class Rival(msgspec.Struct, frozen=True):
    """One way of ranking transactions, measured on the test part.

    Attributes:
        name: for people.
        average_precision, roc_auc: over all rows.
        recall: share of frauds caught at RECALL_RATES of false positives.
        value: share of the fraudulent amount caught at the first of those rates.
        card_precision: share of compromised cards among the most suspicious of a day.
        flagged: of rules: share of frauds and of ordinary rows that they flag.
    """

    name: str
    average_precision: float
    roc_auc: float
    recall: tuple[float, ...]
    value: float
    card_precision: float
    flagged: tuple[float, float] | None = None


class Curve(msgspec.Struct, frozen=True):
    """Points of a line, x ascending."""

    x: tuple[float, ...]
    y: tuple[float, ...]


class Bin(msgspec.Struct, frozen=True):
    """Rows of like probability: what was said and what happened, with a 95 % interval of what happened."""

    low: float
    high: float
    rows: int
    frauds: int
    said: float
    happened: float
    happened_low: float
    happened_high: float


class Reliability(msgspec.Struct, frozen=True):
    """How far probabilities mean what they say, on the test part.

    Attributes:
        method: of the calibration, or `none`.
        bins: by probability.
        brier, log_loss: of the probabilities; smaller is better.
        error: mean distance of what was said from what happened, over the bins, by rows.
        expected, frauds: frauds that the probabilities add up to, and those that there are.
        brier_before, log_loss_before, error_before, expected_before: the same before calibration.
    """

    method: str
    bins: tuple[Bin, ...]
    brier: float
    log_loss: float
    error: float
    expected: float
    frauds: int
    brier_before: float
    log_loss_before: float
    error_before: float
    expected_before: float


class Segment(msgspec.Struct, frozen=True):
    """Some of the test part.

    Attributes:
        by, value: what divides the rows, and which these are.
        rows, frauds: how many.
        recall: share of the frauds that the thresholds flag; None where there are none.
        false_positive_rate, low, high: share of the ordinary rows that they flag, with a 95 % interval; None where
            there are none.
        average_precision: of these rows; None where they are of one kind.
    """

    by: str
    value: str
    rows: int
    frauds: int
    recall: float | None
    false_positive_rate: float | None
    low: float | None
    high: float | None
    average_precision: float | None


class Fold(msgspec.Struct, frozen=True):
    """One fold of the cross-validation: trained on what came before it."""

    start: str
    stop: str
    rows: int
    frauds: int
    average_precision: float
    recall: tuple[float, ...]


class SearchSummary(msgspec.Struct, frozen=True):
    """What a search for parameters came to: mean average precision over the folds."""

    trials: int
    best: float
    default: float
    parameters: dict[str, float | int | str]
    seconds: float


class LabelCount(msgspec.Struct, frozen=True):
    """Labels of one provenance."""

    source: str
    frauds: int
    ordinary: int


class Details(msgspec.Struct, frozen=True):
    """What `report.json` holds.

    Attributes:
        format: of this file.
        model: version of the model.
        offline_only: the model takes inputs that no transaction carries.
        metrics: of the test part.
        model_line: the model among its rivals.
        rivals: baselines.
        pr, roc: curves of the test part.
        rates: false-positive rates of every `recall`.
        reliability: see Reliability.
        importance: share of the trees' gain, by column, largest first.
        segments: of the test part.
        bias: false-positive rates by declared group.
        folds: cross-validation over time, oldest first.
        search: see SearchSummary.
        labels: by provenance, of all rows that are known.
        parts: rows and frauds by part.
        counts: rows left out or changed, and why.
        notes: what a reader must know.
        constant: columns that have one value.
        ordinary_per_fraud: in the training part.
        seconds: what took how long.
        source: what the data set was read from, where a mapping was used.
    """

    format: int
    model: str
    offline_only: bool
    metrics: Report
    model_line: Rival
    rivals: tuple[Rival, ...]
    pr: Curve
    roc: Curve
    rates: tuple[float, ...]
    reliability: Reliability
    importance: tuple[tuple[str, float], ...]
    segments: tuple[Segment, ...]
    bias: tuple[Segment, ...]
    folds: tuple[Fold, ...]
    search: SearchSummary | None
    labels: tuple[LabelCount, ...]
    parts: dict[str, tuple[str, str, int, int]]
    counts: dict[str, int]
    notes: tuple[str, ...]
    constant: tuple[str, ...]
    ordinary_per_fraud: float
    seconds: dict[str, float]
    source: str | None = None
