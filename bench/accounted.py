"""A `score` role that accounts for its CPU time: `python -P bench/accounted.py score`.

It is `fraudstream` with three differences. Its stop watch (`fraud_stage_seconds`) counts CPU time of the event loop's
thread instead of time by the clock. What goes into handing records to librdkafka, which happens inside whatever stage
waits at that moment, is taken out of the stages. And the threads have their names in the operating system too. At its
end it writes what it spent from the beginning of its second batch to the beginning of its last: between two such
moments everything that the loop did belongs to whole batches.
"""

from __future__ import annotations

import atexit
import ctypes
import json
import runpy
import sys
import threading
from collections.abc import Callable, Sequence
from time import thread_time
from types import FrameType
from typing import Any, Final

LEDGER: Final = "ledger="
"""Begins the line that is written at the end: JSON with events, `loop_s`, `handed_over_s` and `stages_s` by stage."""
_SET_NAME: Final = 15  # PR_SET_NAME of <linux/prctl.h>

_handed_over_s = 0.0
# Of each batch that was begun: CPU seconds of the loop and of handing over before it, its events, and its stages.
_begun: list[tuple[float, float, int, dict[str, float]]] = []


def main() -> None:
    """Run the command line."""
    threading.setprofile(_name_this_thread)
    from sinks import publisher  # noqa: PLC0415 - imported after it, so that every thread is named
    from streams.watch import stages  # noqa: PLC0415

    # From outside: what is measured is the role as it is, without a place in it for those who measure.
    setattr(stages, "perf_counter", _stage_clock)  # noqa: B010
    setattr(stages.Stages, "begin", _noted(stages.Stages.begin))  # noqa: B010
    setattr(publisher.Publisher, "_produce", _counted(vars(publisher.Publisher)["_produce"]))  # noqa: B010
    atexit.register(_tell)
    runpy.run_module("fraudstream", run_name="__main__", alter_sys=True)


def _stage_clock() -> float:
    return thread_time() - _handed_over_s


def _noted(begin: Callable[..., None]) -> Callable[..., None]:
    def noted(self: Any, chunks: Sequence[Any], now_ms: int | None = None) -> None:  # noqa: ANN401 - as it comes
        begin(self, chunks, now_ms)
        _begun.append((thread_time(), _handed_over_s, sum(len(chunk.records) for chunk in chunks), self.taken_s))

    return noted


def _counted(produce: Callable[..., int]) -> Callable[..., int]:
    def counted(self: object, records: Sequence[object], sent: int, pending: object) -> int:
        global _handed_over_s  # noqa: PLW0603 - one role, one count
        began_s = thread_time()
        sent = produce(self, records, sent, pending)
        _handed_over_s += thread_time() - began_s
        return sent

    return counted


def _tell() -> None:
    if len(_begun) > 2:
        batches, last = _begun[1:-1], _begun[-1]
        names = {name: None for _, _, _, taken_s in batches for name in taken_s}
        ledger = {
            "events": sum(events for _, _, events, _ in batches),
            "loop_s": last[0] - batches[0][0],
            "handed_over_s": last[1] - batches[0][1],
            "stages_s": {name: sum(taken_s.get(name, 0.0) for *_, taken_s in batches) for name in names},
        }
        sys.stdout.write(f"{LEDGER}{json.dumps(ledger)}\n")


def _name_this_thread(_frame: FrameType, _event: str, _arg: Any) -> None:  # noqa: ANN401 - as the interpreter calls it
    """Called once by each thread that begins."""
    sys.setprofile(None)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_NAME, threading.current_thread().name.encode()[:15], 0, 0, 0)


if __name__ == "__main__":
    main()
