"""Is a series of measurements flat? Decided on its second half, when the windows are full."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, median
from typing import Final, Literal

import msgspec

# Of a series that a garbage collector saws at, a portion must hold a collection.
_PORTIONS: Final = {"median": 8, "least": 3}
_FEWEST: Final = 8

How = Literal["median", "least"]


class Bound(msgspec.Struct, frozen=True):
    """What a series may do in the second half of a run.

    Attributes:
        share: growth that is allowed, as a share of its level.
        absolute: growth that is allowed in any case, in the unit of the series: a small series may not be judged by
            its share.
        how: what stands for a portion of the series: the median, or the least of what a garbage collector leaves.
        most: level that must not be passed; 0: any.
    """

    share: float = 0.0
    absolute: float = 0.0
    how: How = "median"
    most: float = 0.0


class Verdict(msgspec.Struct, frozen=True):
    """How a series fares.

    Attributes:
        level: median of the second half.
        growth: from the begin of the second half to its end, by the straight line that fits best.
        per_hour: the same, per hour.
        allowed: growth that is allowed.
        is_flat: whether it holds.
    """

    level: float
    growth: float
    per_hour: float
    allowed: float
    is_flat: bool


def judge(at_s: Sequence[float], values: Sequence[float], bound: Bound) -> Verdict:
    """Judge a series; too short a one is never flat.

    Args:
        at_s: seconds since the begin of the run, ascending, shape (n,).
        values: what was measured then, shape (n,); NaN: nothing.
        bound: what is allowed.

    >>> judge(range(100), [7.0] * 100, Bound(share=0.1)).is_flat
    True
    >>> judge(range(100), range(100), Bound(share=0.1)).is_flat
    False
    """
    half_s = at_s[-1] / 2 if at_s else 0.0
    late = [(t, v) for t, v in zip(at_s, values, strict=True) if t >= half_s and not math.isnan(v)]
    if len(late) < _FEWEST:
        return Verdict(values[-1] if values else 0.0, 0.0, 0.0, 0.0, is_flat=False)
    level = median(value for _, value in late)
    slope = _slope(_portions(late, bound.how))
    duration_s = late[-1][0] - late[0][0]
    allowed = max(bound.share * abs(level), bound.absolute)
    growth = slope * duration_s
    is_flat = growth <= allowed and (not bound.most or level <= bound.most)
    return Verdict(level, growth, slope * 3600, allowed, is_flat)


def _portions(points: Sequence[tuple[float, float]], how: How) -> list[tuple[float, float]]:
    """One point for each of some equal portions: a single spike must not tilt the line."""
    size = max(len(points) // _PORTIONS[how], 1)
    found = []
    for start in range(0, len(points) - size + 1, size):
        portion = points[start : start + size]
        values = [value for _, value in portion]
        found.append((fmean(t for t, _ in portion), median(values) if how == "median" else min(values)))
    return found


def _slope(points: Sequence[tuple[float, float]]) -> float:
    """Of the least-squares line, per second."""
    middle_s, middle = fmean(t for t, _ in points), fmean(v for _, v in points)
    spread = sum((t - middle_s) ** 2 for t, _ in points)
    return sum((t - middle_s) * (v - middle) for t, v in points) / spread if spread else 0.0
