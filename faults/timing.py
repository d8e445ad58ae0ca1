"""How long nothing came, and how long it took until what had piled up was answered."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final

import numpy as np

from faults.check_outcomes import Asked
from faults.readback import Place, Stored

_NORMAL_S: Final = 0.25
"""A backlog of so many seconds' worth of records is no backlog."""


def longest_pause_s(arrivals_ms: Iterable[int], began_ms: int, ended_ms: int) -> float:
    """Longest time between neighbours, of those that begin during the load.

    >>> longest_pause_s([100, 1200, 900, 9000], 0, 1000)
    0.8
    """
    times = [began_ms, *sorted(ms for ms in arrivals_ms if ms >= began_ms)]
    gaps = [later - earlier for earlier, later in pairwise(times) if earlier < ended_ms]
    return max(gaps, default=0) / 1000


def catch_up_s(in_ms: Sequence[int], out_ms: Sequence[int], since_ms: int, rate: float) -> float:
    """Time from a moment until the backlog was back to normal for good.

    Args:
        in_ms: when records came.
        out_ms: when they were answered.
        since_ms: the moment.
        rate: records per second.

    >>> catch_up_s([0, 1, 2, 3], [0, 5000, 5000, 5000], 2000, 8)
    3.0
    """
    moments = np.concatenate((np.array(in_ms, np.int64), np.array(out_ms, np.int64)))
    steps = np.concatenate((np.ones(len(in_ms), np.int64), -np.ones(len(out_ms), np.int64)))
    order = np.argsort(moments, kind="stable")
    moments, backlog = moments[order], np.cumsum(steps[order])
    behind = np.flatnonzero(backlog > rate * _NORMAL_S)
    if not len(behind):
        return 0.0
    back = moments[min(int(behind[-1]) + 1, len(moments) - 1)]
    return max(int(back) - since_ms, 0) / 1000


def score_times(asked: Asked, first_ms: dict[Place, int]) -> list[tuple[int, int]]:
    """Of each answered transaction when it came and when it was answered first, by the broker's clock."""
    return [(record.ts_ms, first_ms[place]) for place, (record, *_) in asked.transactions.items() if place in first_ms]


def pause_by_partition_s(outcomes: Iterable[Stored], began_ms: int, ended_ms: int) -> float:
    """The longest pause of any partition."""
    arrivals: dict[int, list[int]] = defaultdict(list)
    for stored in outcomes:
        arrivals[stored.place[0]].append(stored.ts_ms)
    return max((longest_pause_s(times, began_ms, ended_ms) for times in arrivals.values()), default=0.0)
