"""Measures that reports are made of: curves, reliability, segments, intervals."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, precision_recall_curve, roc_auc_score
from sklearn.metrics import roc_curve as sklearn_roc_curve

from features.catalogue import FEATURE_NAMES
from features.mapping.spec import GROUP
from features.pan import scrub
from scoring.dataset import AGE, SOURCE, Dataset
from scoring.evaluation import card_precision, threshold_at
from scoring.learning.details import Bin, Curve, LabelCount, Reliability, Rival, Segment

Floats = NDArray[np.float32]
Bool = NDArray[np.bool_]

RECALL_RATES: Final = (0.001, 0.005, 0.01)
_POINTS: Final = 200
_EDGES: Final = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_Z: Final = 1.959963984540054
_WEEK_MS: Final = 7 * 86_400_000
_AMOUNTS: Final = (0.0, 10.0, 50.0, 100.0, 500.0, 1000.0, math.inf)
_MOST_VALUES: Final = 12
_NEW: Final = "card"


def rival(name: str, probability: Floats, test: Dataset, flagged: Bool | None = None) -> Rival:
    """One way of ranking, measured; `flagged` are the rows that rules flag, where they say no more than that."""
    fraud = test.is_fraud
    amount = test.features[:, FEATURE_NAMES.index("amount")].astype(np.float64)
    caught = [probability >= threshold_at(probability[~fraud], rate) for rate in RECALL_RATES]
    value = float(amount[fraud & caught[0]].sum() / amount[fraud].sum())
    return Rival(
        name,
        float(average_precision_score(fraud, probability)),
        float(roc_auc_score(fraud, probability)),
        tuple(float(one[fraud].mean()) for one in caught),
        value,
        card_precision(probability, test)[0],
        None if flagged is None else (float(flagged[fraud].mean()), float(flagged[~fraud].mean())),
    )


def pr_curve(fraud: Bool, probability: Floats) -> Curve:
    """Precision by recall, thinned."""
    precision, recall, _ = precision_recall_curve(fraud, probability)
    return _thinned(recall[::-1], precision[::-1])


def roc_curve(fraud: Bool, probability: Floats) -> Curve:
    """Recall by false-positive rate, thinned; more points where the rate is low."""
    false_positives, recall, _ = sklearn_roc_curve(fraud, probability)
    return _thinned(false_positives, recall)


def _thinned(x: NDArray[np.float64], y: NDArray[np.float64]) -> Curve:
    if len(x) > _POINTS:
        # Evenly along both axes, so that neither the steep nor the flat part of a curve is lost.
        along = np.concatenate(([0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))))
        at = np.unique(np.searchsorted(along, np.linspace(0, along[-1], _POINTS)).clip(0, len(x) - 1))
        x, y = x[at], y[at]
    return Curve(tuple(x.tolist()), tuple(y.tolist()))


def reliability(method: str, fraud: Bool, probability: Floats, before: Floats) -> Reliability:
    """How far probabilities mean what they say.

    Args:
        method: of the calibration.
        fraud: shape (n,).
        probability: calibrated, shape (n,).
        before: what the trees say, shape (n,).
    """
    bins = tuple(_bins(fraud, probability.astype(np.float64)))
    earlier = tuple(_bins(fraud, before.astype(np.float64)))
    return Reliability(
        method, bins, *_losses(fraud, probability), _error(bins), float(probability.sum(dtype=np.float64)),
        int(fraud.sum()), *_losses(fraud, before), _error(earlier), float(before.sum(dtype=np.float64)),
    )  # fmt: skip


def _losses(fraud: Bool, probability: Floats) -> tuple[float, float]:
    inside = np.clip(probability.astype(np.float64), 1e-7, 1 - 1e-7)
    return float(brier_score_loss(fraud, inside)), float(log_loss(fraud, inside))


def _bins(fraud: Bool, probability: NDArray[np.float64]) -> Iterator[Bin]:
    place = np.clip(np.searchsorted(_EDGES, probability, side="right") - 1, 0, len(_EDGES) - 2)
    for number in range(len(_EDGES) - 1):
        here = place == number
        rows, frauds = int(here.sum()), int(fraud[here].sum())
        if rows:
            low, high = wilson(frauds, rows)
            said = float(probability[here].mean())
            yield Bin(_EDGES[number], _EDGES[number + 1], rows, frauds, said, frauds / rows, low, high)


def _error(bins: Sequence[Bin]) -> float:
    rows = sum(one.rows for one in bins)
    return sum(abs(one.said - one.happened) * one.rows for one in bins) / rows


def wilson(hits: int, of: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson's score interval).

    >>> tuple(round(end, 4) for end in wilson(5, 100))
    (0.0215, 0.1118)
    """
    share, square = hits / of, _Z * _Z
    middle = (share + square / (2 * of)) / (1 + square / of)
    half = _Z / (1 + square / of) * math.sqrt(share * (1 - share) / of + square / (4 * of * of))
    # Rounding must not leave the share itself outside.
    return max(min(middle - half, share), 0.0), min(max(middle + half, share), 1.0)


def segments(test: Dataset, probability: Floats, flagged: Bool, groups: Sequence[str]) -> tuple[Segment, ...]:
    """The test part by age of the card, by amount, and by the given groups."""
    amount = test.features[:, FEATURE_NAMES.index("amount")].astype(np.float64)
    divided: list[tuple[str, str, Bool]] = []
    if AGE in test.more:
        new = test.more[AGE] < _WEEK_MS
        divided += [(_NEW, "new: first week in the history", new), (_NEW, "older", ~new)]
    for low, high in pairwise(_AMOUNTS):
        name = f"{low:g} to {high:g}" if high < math.inf else f"{low:g} and more"
        divided.append(("amount", name, (amount >= low) & (amount < high)))
    return tuple(_segment(*one, test, probability, flagged) for one in (*divided, *_by_group(test, groups)))


def group_rates(test: Dataset, probability: Floats, flagged: Bool, groups: Sequence[str]) -> tuple[Segment, ...]:
    """The test part by declared groups: where the false-positive rates of two intervals do not meet, ask why."""
    return tuple(_segment(*one, test, probability, flagged) for one in _by_group(test, groups))


def _by_group(test: Dataset, groups: Sequence[str]) -> Iterator[tuple[str, str, Bool]]:
    for name in groups:
        codes, levels = test.more[GROUP + name], test.levels[GROUP + name]
        often = np.bincount(codes, minlength=len(levels))
        shown = [at for at in np.argsort(-often, kind="stable")[:_MOST_VALUES].tolist() if often[at]]
        for at in shown:
            yield name, scrub(levels[at]), codes == at
        others = ~np.isin(codes, shown)
        if others.any():
            yield name, f"{np.count_nonzero(often) - len(shown):,} others", others


def _segment(by: str, value: str, here: Bool, test: Dataset, probability: Floats, flagged: Bool) -> Segment:
    fraud = test.is_fraud[here]
    frauds, ordinary = int(fraud.sum()), int((~fraud).sum())
    hits = int(flagged[here][~fraud].sum())
    low, high = wilson(hits, ordinary) if ordinary else (None, None)
    return Segment(
        by, value, len(fraud), frauds,
        float(flagged[here][fraud].mean()) if frauds else None,
        hits / ordinary if ordinary else None, low, high,
        float(average_precision_score(fraud, probability[here])) if frauds and ordinary else None,
    )  # fmt: skip


def label_counts(data: Dataset) -> tuple[LabelCount, ...]:
    """Labels by provenance."""
    if SOURCE not in data.more:
        return ()
    names = data.levels[SOURCE]
    frauds, ordinary = (
        np.bincount(data.more[SOURCE][kind], minlength=len(names)) for kind in (data.is_fraud, ~data.is_fraud)
    )
    return tuple(
        LabelCount(name, int(frauds[at]), int(ordinary[at]))
        for at, name in enumerate(names)
        if frauds[at] + ordinary[at]
    )
