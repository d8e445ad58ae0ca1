"""Runs of a column: their pairs, and the extremes of many of them, however long they are."""

from __future__ import annotations

from typing import Final

import numpy as np

from features.words import Int64

# Runs up to this length are looked at entry by entry.
_SHORT: Final = 256


def pairs(begin: Int64, last: Int64) -> tuple[Int64, Int64, Int64]:
    """Every position of the runs `begin..last`, where each run begins among them, and the run of each."""
    sizes = last + 1 - begin
    offsets = sizes.cumsum() - sizes
    run = np.arange(len(begin)).repeat(sizes)
    return np.arange(len(run)) + (begin - offsets)[run], offsets, run


def parts(sizes: Int64, most: int) -> list[Int64]:
    """Indices of runs of these sizes in order, in parts of about so many entries at most."""
    if not len(sizes):
        return []
    return np.split(np.arange(len(sizes)), (np.diff(sizes.cumsum() // most)).nonzero()[0] + 1)


def extremes(extreme: np.ufunc, values: Int64, begin: Int64, end: Int64, also: Int64) -> Int64:
    """The extreme of each run `begin..end`, its end not included, and of one value beside it.

    Args:
        extreme: `np.minimum` or `np.maximum`.
        values: what is looked at; shape (n,).
        begin: of each run; shape (r,).
        end: of each run, `begin <= end < n`.
        also: the value that stands beside each run; of a run without anything it is the answer.
    """
    found, size = also.copy(), end - begin
    long = size > _SHORT
    if np.count_nonzero(long):
        at = long.nonzero()[0]
        low, high = int(begin[at].min()), int(end[at].max())
        # Doubling goes over the column once for every power of two.
        if int(size[at].sum()) > (high - low) * int(size[at].max()).bit_length():
            found[at] = extreme(also[at], _by_doubling(extreme, values[low:high], begin[at] - low, size[at]))
        else:
            long = np.zeros(len(size), np.bool_)
    if len(at := ((size > 0) & ~long).nonzero()[0]):
        found[at] = extreme(also[at], _by_looking(extreme, values, begin[at], end[at]))
    return found


def _by_looking(extreme: np.ufunc, values: Int64, begin: Int64, end: Int64) -> Int64:
    """Extremes of runs that are not empty, at a cost of their lengths."""
    # `reduceat` also looks at what lies between one run and the next: in order of position that is next to nothing.
    order = end.argsort(kind="stable")
    runs = np.empty((len(end), 2), np.int64)
    runs[:, 0] = begin[order]
    runs[:, 1] = end[order]
    found = np.empty(len(end), np.int64)
    found[order] = extreme.reduceat(values, runs.ravel())[::2]
    return found


def _by_doubling(extreme: np.ufunc, values: Int64, begin: Int64, size: Int64) -> Int64:
    """The same at a cost of their number: two runs of a power of two, which may overlap, make up any run."""
    power = np.frexp(size)[1] - 1
    found = np.empty(len(size), np.int64)
    for exponent in range(int(power.max()) + 1):
        width = 1 << exponent
        if len(at := (power == exponent).nonzero()[0]):
            found[at] = extreme(values[begin[at]], values[begin[at] + size[at] - width])
        values = extreme(values[:-width], values[width:])
    return found
