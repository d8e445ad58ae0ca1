"""What every test may use."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_POLL_S = 0.05


def wait_until(predicate: Callable[[], T], timeout_s: float = 20.0) -> T:
    """Ask again and again until the answer is true-like, and return it.

    Args:
        predicate: what to ask; what it raises is not caught.
        timeout_s: how long to ask.

    Raises:
        AssertionError: it was never true in that time.
    """
    pause = threading.Event()
    deadline_s = time.monotonic() + timeout_s
    while not (answer := predicate()):
        assert time.monotonic() < deadline_s, f"still {answer!r} after {timeout_s} s: {predicate}"
        pause.wait(_POLL_S)
    return answer
