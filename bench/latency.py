"""Open-loop latency: records fall due at times fixed beforehand, whatever the process does meanwhile.

Latency is counted from the due time, not from when a late generator came to it: a stall delays every record that fell
due in it, and each of them counts (no coordinated omission).
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from confluent_kafka import Producer

from bench.cards import Cards, Sent, fill, span_ms
from bench.lab import BenchError, Lab, Running
from features.history import Int64
from sinks.topics import TRANSACTIONS

_WARM_UP_S: Final = 3
_LEAD_NS: Final = 300_000_000
_LAST_S: Final = 30.0
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
    return Round(**{kind: _one(lab, kind, cards_count, rate, seconds, f"l{number}{kind}-") for kind in order})


def warm_up_latency(lab: Lab, cards_count: int, rate: int) -> None:
    """One pass of the relay that does not count: the broker has not met many small requests before."""
    _one(lab, "relay", cards_count, rate, _WARM_UP_S, "l-warm-")


def _one(lab: Lab, kind: str, cards_count: int, rate: int, seconds: int, prefix: str) -> Latency:
    warm_up, count = rate * _WARM_UP_S, rate * (_WARM_UP_S + seconds)
    cards = Cards(cards_count, rate, int(time.time() * 1000) - span_ms(cards_count, count))
    lab.make_topics(prefix)
    asyncio.run(fill(lab.redis_url, prefix, cards, cards.histories()))
    records = cards.records(count, prefix)
    running = lab.start(kind, prefix)
    running.wait_ready()
    arrivals = lab.folder / f"{prefix}arrivals.npy"
    reader = lab.reader(running.sink, prefix, count, arrivals)
    reader.wait_ready()
    due, lag, cpu_share = _offer(
        lab, f"{prefix}{TRANSACTIONS}", cards, records, 1_000_000_000 // rate, warm_up, running
    )
    latency_ms = (_arrived(reader, arrivals, running) - due)[warm_up:] / 1e6
    running.stop()
    p50, p99, p999, most = np.percentile(latency_ms, (50, 99, 99.9, 100)).tolist()
    return Latency(p50, p99, p999, most, cpu_share, float(np.percentile(lag[warm_up:], 99.9)) / 1e6)


def _arrived(reader: Running, path: Path, running: Running) -> Int64:
    """When each record came, nanoseconds; raises BenchError where one did not."""
    deadline_s = time.monotonic() + _LAST_S
    while not path.exists() and time.monotonic() < deadline_s:
        time.sleep(0.1)
    reader.stop()
    arrived: Int64 = np.load(path)
    missing = np.flatnonzero(arrived == 0)
    if len(missing):
        raise BenchError(
            f"{len(missing)} of {len(arrived)} records, {missing[0]} to {missing[-1]}, were not answered in time; "
            f"{running.said()}"
        )
    return arrived


def _offer(
    lab: Lab, topic: str, cards: Cards, records: list[Sent], step_ns: int, warm_up: int, running: Running
) -> tuple[Int64, Int64, float]:
    """Publish each record when it is due; returns due times, how late each was sent, and the process's CPU share."""
    producer = Producer({**lab.kafka, "acks": "all", "linger.ms": 0})
    producer.list_topics(topic)  # connect before the first is due
    due = time.monotonic_ns() + _LEAD_NS + np.arange(len(records)) * step_ns
    lag = np.empty(len(records), np.int64)
    cpu_s = began_ns = 0.0
    for number, (sent, due_ns) in enumerate(zip(records, due.tolist(), strict=True)):
        if number == warm_up:
            cpu_s, began_ns = running.cpu_s(), time.monotonic_ns()
        while (early_ns := due_ns - time.monotonic_ns()) > 0:
            time.sleep(early_ns / 1e9)
        lag[number] = -early_ns
        producer.produce(topic, sent.value, cards.names[sent.card], cards.homes[sent.card])
        producer.poll(0)
    share = (running.cpu_s() - cpu_s) / ((time.monotonic_ns() - began_ns) / 1e9)
    if producer.flush(_LAST_S):
        raise BenchError("Kafka did not take the records")
    return due, lag, share
