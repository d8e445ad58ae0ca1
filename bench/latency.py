"""Open-loop latency, from due to readable by another process (`bench/offer.py`)."""

from __future__ import annotations

import time
from typing import Final

import msgspec
import numpy as np

from bench.lab import BenchError, Lab
from bench.offer import Offer

_WARM_UP_S: Final = 3
_KINDS: Final = ("score", "relay")


class Latency(msgspec.Struct, frozen=True):
    """Milliseconds from due to readable, and the process's CPU time as a share of one core.

    Attributes:
        lag_p999_ms: how late the generator itself was: what the figures cannot be better than.
    """

    p50_ms: float
    p99_ms: float
    p999_ms: float
    most_ms: float
    cpu_share: float
    lag_p999_ms: float


class Round(msgspec.Struct, frozen=True):
    """Both, one after the other."""

    score: Latency
    relay: Latency


def measure_latency(lab: Lab, cards_count: int, rate: int, seconds: int, number: int) -> Round:
    """One round at a rate of transactions per second."""
    order = _KINDS if number % 2 else _KINDS[::-1]
    return Round(**{kind: _one(lab, kind, cards_count, rate, seconds, f"l{rate}-{number}{kind}-") for kind in order})


def warm_up_latency(lab: Lab, cards_count: int, rate: int) -> None:
    """One pass of the relay that does not count: the broker has not met many small requests before."""
    _one(lab, "relay", cards_count, rate, _WARM_UP_S, f"l{rate}-warm-")


def _one(lab: Lab, kind: str, cards_count: int, rate: int, seconds: int, prefix: str) -> Latency:
    warm_up, count = rate * _WARM_UP_S, rate * (_WARM_UP_S + seconds)
    offer = Offer.begin(lab, kind, prefix, cards_count, count)
    running = offer.running
    cpu_s = began_s = 0.0

    def begin() -> None:
        nonlocal cpu_s, began_s
        cpu_s, began_s = running.cpu_s(), time.monotonic()

    due, lag = offer.run(np.arange(count) * (1_000_000_000 // rate), [(warm_up, begin)])
    share = (running.cpu_s() - cpu_s) / (time.monotonic() - began_s)
    arrived = offer.arrived()
    missing = np.flatnonzero(arrived == 0)
    if len(missing):
        raise BenchError(
            f"{len(missing)} of {count} records, {missing[0]} to {missing[-1]}, were not answered in time; "
            f"{running.said()}"
        )
    running.stop()
    p50, p99, p999, most = np.percentile((arrived - due)[warm_up:] / 1e6, (50, 99, 99.9, 100)).tolist()
    return Latency(p50, p99, p999, most, share, float(np.percentile(lag[warm_up:], 99.9)) / 1e6)
