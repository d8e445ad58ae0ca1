"""The statistics of drift and of comparisons: plain functions over arrays, each checked against another source."""

from __future__ import annotations

import math
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_GROUPS: Final = 10
_CLEAR_Z: Final = 4.5
"""Beyond this a share differs by no chance, though one looks at some thousand ranges."""


class Surge(msgspec.Struct, frozen=True):
    """A narrow range of values that comes more often than it did.

    Attributes:
        low, high: the range; infinite where it has no end.
        before, now: shares of the values in it.
    """

    low: float
    high: float
    before: float
    now: float


def psi(before: Ints, now: Ints) -> float:
    """Population stability index of two histograms with the same bins; 0 where they are alike.

    Bins are joined to about ten of equal weight in `before`: of many thin ones, chance alone would make an index.

    >>> psi(np.array([50, 50]), np.array([50, 50]))
    0.0
    >>> round(psi(np.array([5000, 5000]), np.array([2500, 7500])), 3)
    0.275
    """
    place = np.minimum(np.cumsum(before) * _GROUPS // max(int(before.sum()), 1), _GROUPS)
    _, group = np.unique(np.concatenate(([0], place[:-1])), return_inverse=True)
    old, new = np.bincount(group, before), np.bincount(group, now)
    # Half a value more in each bin: an empty one must not be infinitely surprising.
    p, q = ((part + 0.5) / (part.sum() + 0.5 * len(part)) for part in (old, new))
    return float(np.sum((q - p) * np.log(q / p)))


def ks(before: Ints, now: Ints) -> float:
    """Kolmogorov-Smirnov distance of two histograms with the same bins: 0 to 1.

    >>> ks(np.array([50, 50]), np.array([25, 75]))
    0.25
    """
    if not before.sum() or not now.sum():
        return 0.0
    return float(np.max(np.abs(np.cumsum(before) / before.sum() - np.cumsum(now) / now.sum())))


def surge(edges: Floats, before: Ints, bins: Ints, card: Ints) -> Surge | None:
    """The range whose share has grown most, as a multiple; None where none has grown by more than chance.

    Chance is told from how much the cards differ: what a card did once stands in its weekly features for a week.

    Args:
        edges: upper ends of all bins but the last, shape (b - 1,).
        before: counts then, shape (b,).
        bins: the bin of each value now, shape (n,).
        card: whose each value is, numbers from 0, shape (n,).
    """
    old_rows, new_rows = int(before.sum()), len(bins)
    if not old_rows or not new_rows:
        return None
    by_card = np.bincount(card * len(before) + bins, minlength=(int(card.max()) + 1) * len(before))
    hits = by_card.reshape(-1, len(before)).astype(np.float64)
    p, q = (before + 0.5) / (old_rows + 1.0), hits.sum(axis=0) / new_rows
    spread = ((hits - np.outer(hits.sum(axis=1), q)) ** 2).sum(axis=0) / new_rows**2
    # What was seen then is as uneven between its cards as what is seen now.
    error = np.sqrt(np.maximum(spread, q * (1 - q) / new_rows) * (1 + new_rows / old_rows))
    z = (q - p) / np.maximum(error, 1e-12)
    grown = np.where(z > _CLEAR_Z, q / p, 0.0)
    best = int(np.argmax(grown))
    if not grown[best]:
        return None
    ends = np.concatenate(([-np.inf], edges, [np.inf]))
    return Surge(float(ends[best]), float(ends[best + 1]), float(p[best]), float(q[best]))


def average_precision(fraud: Bools, probability: Floats, weight: Floats | None = None) -> float:
    """Area under the precision-recall curve as a step function; equal probabilities make one step.

    Args:
        fraud: labels, shape (n,), at least one of them true.
        probability: shape (n,).
        weight: how often each row counts, shape (n,); None: once.
    """
    order = np.argsort(-probability, kind="stable")
    return _area(fraud[order], probability[order], np.ones(len(order)) if weight is None else weight[order])


def _area(fraud: Bools, falling: Floats, weight: Floats) -> float:
    """Of rows in order of falling probability."""
    last = np.append(np.diff(falling) != 0, True)
    caught, flagged = np.cumsum(weight * fraud)[last], np.cumsum(weight)[last]
    if not caught[-1]:
        return math.nan
    gained = np.diff(caught, prepend=0.0)
    return float(np.sum(gained * caught / np.maximum(flagged, 1e-12)) / caught[-1])


class Interval(msgspec.Struct, frozen=True):
    """A difference, the range in which it lies with 95 %, and how likely chance alone makes as much of it."""

    value: float
    low: float
    high: float
    p: float


def bootstrap_difference(
    fraud: Bools, first: Floats, second: Floats, card: Ints, *, seed: int, rounds: int = 400
) -> Interval:
    """Average precision of the second model minus that of the first, with its uncertainty.

    Cards are drawn, not transactions: those of one attack are caught or missed together.

    Args:
        fraud: labels, shape (n,).
        first: probabilities of the one model, shape (n,).
        second: of the other, of the same rows, shape (n,).
        card: one number per card, 0 and up, shape (n,).
        seed: of the draws.
        rounds: how often is drawn.
    """
    rng = np.random.default_rng(seed)
    cards = int(card.max()) + 1
    orders = [np.argsort(-probability, kind="stable") for probability in (first, second)]
    sides = [(fraud[o], probability[o], card[o]) for o, probability in zip(orders, (first, second), strict=True)]
    drawn = []
    for _ in range(rounds):
        weight = np.bincount(rng.integers(cards, size=cards), minlength=cards).astype(np.float64)
        one, two = (_area(label, falling, weight[owner]) for label, falling, owner in sides)
        drawn.append(two - one)
    value = average_precision(fraud, second) - average_precision(fraud, first)
    known = np.array(drawn)[~np.isnan(drawn)]
    if not len(known):
        return Interval(value, math.nan, math.nan, 1.0)
    low, high = np.quantile(known, (0.025, 0.975)).tolist()
    tail = min(float(np.mean(known <= 0)), float(np.mean(known >= 0)))
    return Interval(value, low, high, float(min(1.0, 2 * max(tail, 1 / len(known)))))


def mcnemar(only_first: int, only_second: int) -> float:
    """Probability that chance alone makes two classifiers differ so much: McNemar's exact test, two-sided.

    Args:
        only_first: cases that the first alone got right.
        only_second: cases that the second alone got right.

    >>> round(mcnemar(2, 10), 4)
    0.0386
    """
    cases = only_first + only_second
    if not cases:
        return 1.0
    logs = [_log_choose(cases, k) - cases * math.log(2) for k in range(min(only_first, only_second) + 1)]
    top = max(logs)
    return min(1.0, 2 * math.exp(top) * sum(math.exp(one - top) for one in logs))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def delong(fraud: Bools, first: Floats, second: Floats) -> Interval:
    """ROC AUC of the second model minus that of the first, by the method of DeLong (rows taken as independent).

    Args:
        fraud: labels, shape (n,), of both kinds.
        first: probabilities of the one model, shape (n,).
        second: of the other, of the same rows, shape (n,).
    """
    placed = [_placements(fraud, probability) for probability in (first, second)]
    auc = [float(hit.mean()) for hit, _ in placed]
    value = auc[1] - auc[0]
    spread = sum(
        float(np.var(two - one, ddof=1)) / len(one)
        for one, two in zip(placed[0], placed[1], strict=True)
        if len(one) > 1
    )
    if spread <= 0:
        return Interval(value, value, value, 1.0 if not value else 0.0)
    error = math.sqrt(spread)
    return Interval(value, value - 1.96 * error, value + 1.96 * error, math.erfc(abs(value) / error / math.sqrt(2)))


def _placements(fraud: Bools, probability: Floats) -> tuple[Floats, Floats]:
    """Of each fraud the share of ordinary rows below it, and of each ordinary row the share of frauds above it."""
    hit, miss = probability[fraud], probability[~fraud]
    every, of_hit, of_miss = midranks(probability), midranks(hit), midranks(miss)
    return (every[fraud] - of_hit) / len(miss), 1 - (every[~fraud] - of_miss) / len(hit)


def midranks(values: Floats) -> Floats:
    """Ranks from 1, equal values sharing the mean of theirs; shape (n,).

    >>> midranks(np.array([10.0, 20.0, 10.0])).tolist()
    [1.5, 3.0, 1.5]
    """
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[place], np.float64)
