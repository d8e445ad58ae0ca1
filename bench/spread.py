"""Least, middle and most of several runs: a mean would hide what a busy machine does to one of them."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import msgspec


class Spread(msgspec.Struct, frozen=True):
    """Least, middle and most of several repeats."""

    least: float
    middle: float
    most: float


def spread(values: Sequence[float]) -> Spread:
    """The spread of some values, at least one.

    >>> spread([3, 1, 2])
    Spread(least=1, middle=2, most=3)
    """
    return Spread(min(values), median(values), max(values))
