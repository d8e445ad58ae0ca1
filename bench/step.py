"""A load step: how far the role falls behind, how soon it has caught up, and that nothing is lost on the way."""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np

from bench.lab import Lab
from bench.offer import Offer
from features.history import Int64

LOW_PER_S: Final = 500
HIGH_PER_S: Final = 10_000
_BEFORE_S: Final = 3
_AFTER_S: Final = 7


class Step(msgspec.Struct, frozen=True):
    """What a step did.

    Attributes:
        seconds: that it lasted.
        sent: transactions in all.
        lost: of them, those that no outcome came of.
        repeated: outcomes beyond one each.
        lag_most: most transactions that were due and not readable as outcomes at one time.
        caught_up_s: seconds from the end of the step until every transaction of it was readable; below 0 where the last
            was readable before the step was over.
        p99_ms: from due to readable, of the transactions of the step.
        late_most_ms: how late the generator itself was at most.
    """

    seconds: int
    sent: int
    lost: int
    repeated: int
    lag_most: int
    caught_up_s: float
    p99_ms: float
    late_most_ms: float


def measure_step(lab: Lab, cards_count: int, seconds: int, number: int) -> Step:
    """One step of a `score` process from 500 to 10,000 transactions a second and back."""
    after_ns, first, last = schedule(seconds)
    offer = Offer.begin(lab, "score", f"u{number}-", cards_count, len(after_ns))
    due, lag = offer.run(after_ns)
    arrived = offer.arrived()
    written = lab.written(offer.running.sink)
    offer.running.stop()
    came = arrived > 0
    of_step = slice(first, last)
    step_due, step_arrived = due[of_step][came[of_step]], arrived[of_step][came[of_step]]
    end_ns = int(due[last]) if last < len(due) else int(due[-1])
    return Step(
        seconds=seconds,
        sent=len(due),
        lost=int(np.count_nonzero(~came)),
        repeated=written - int(np.count_nonzero(came)),
        lag_most=most_behind(due[came], arrived[came]),
        caught_up_s=(int(step_arrived.max()) - end_ns) / 1e9,
        p99_ms=float(np.percentile(step_arrived - step_due, 99)) / 1e6,
        late_most_ms=float(lag[of_step].max()) / 1e6,
    )


def schedule(seconds: int) -> tuple[Int64, int, int]:
    """When each transaction is due, nanoseconds from the first, and which are the step's (from, up to).

    >>> after_ns, first, last = schedule(2)
    >>> len(after_ns), first, last, int(after_ns[first]), int(after_ns[last])
    (25000, 1500, 21500, 3000000000, 5000000000)
    """
    parts, at_s = [], 0
    for rate, duration_s in ((LOW_PER_S, _BEFORE_S), (HIGH_PER_S, seconds), (LOW_PER_S, _AFTER_S)):
        parts.append(at_s * 1_000_000_000 + np.arange(rate * duration_s) * (1_000_000_000 // rate))
        at_s += duration_s
    first = len(parts[0])
    return np.concatenate(parts), first, first + len(parts[1])


def most_behind(due: Int64, arrived: Int64) -> int:
    """Most records that were due and had not arrived, at any one time.

    >>> most_behind(np.array([0, 10, 20, 30]), np.array([5, 25, 26, 31]))
    2
    """
    times = np.concatenate((due, arrived))
    change = np.concatenate((np.ones(len(due), np.int64), np.full(len(arrived), -1)))
    return int(change[np.argsort(times, kind="stable")].cumsum().max(initial=0))
