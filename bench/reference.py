"""A fixed piece of work, timed in every run: how fast this machine is at this moment with what the stages are made of.

CPU time of a stage means little on another machine, or beside other work; divided by this it can be compared. The work
never changes: a baseline is worth nothing against another reference.
"""

from __future__ import annotations

import json
import time
from typing import Final

import numpy as np

_REPEATS: Final = 9
_OBJECTS: Final = 400
_NUMBERS: Final = 20_000


def reference_us() -> float:
    """CPU microseconds of the work, the least of several times."""
    return min(_once() for _ in range(_REPEATS))


def _once() -> float:
    began_ns = time.process_time_ns()
    work()
    return (time.process_time_ns() - began_ns) / 1000


def work() -> int:
    """Objects made, encoded and decoded; calls, dictionaries and strings; columns sorted, searched and summed."""
    total = 0
    for number in range(_OBJECTS):
        fields = {"id": f"t-{number}", "amount": number / 100, "tags": [number % 7, number % 11], "flag": None}
        found = json.loads(json.dumps(fields))
        total += len(found["id"]) + sum(found["tags"])
    column = (np.arange(_NUMBERS, dtype=np.int64) * 7_919) % 10_007
    order = column.argsort(kind="stable")
    total += int(column[order].cumsum()[-1]) + int(np.searchsorted(column[order], np.arange(0, 10_007, 13)).sum())
    for begin in range(0, _NUMBERS, 200):  # small ones cost what their calls cost
        total += int(np.maximum.reduceat(column[begin : begin + 200], np.arange(0, 200, 20)).sum())
    return total
