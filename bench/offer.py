"""An open-loop generator and the arrivals at the other end.

Records fall due at times fixed beforehand, whatever the process does meanwhile. Latency is counted from the due time,
not from when a late generator came to it: a stall delays every record that fell due in it, and each of them counts (no
coordinated omission).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from confluent_kafka import Producer

from bench.cards import Cards, Sent, fill, span_ms
from bench.lab import BenchError, Lab, Running
from features.history import Int64
from sinks.topics import TRANSACTIONS

_LEAD_NS: Final = 300_000_000
_LAST_S: Final = 60.0
_QUEUE: Final = 1_000_000


class Offer(msgspec.Struct, frozen=True):
    """A process that runs, a reader at its other end, and the records to offer.

    Attributes:
        arrivals: file that the reader writes.
    """

    lab: Lab
    prefix: str
    cards: Cards
    records: list[Sent]
    running: Running
    reader: Running
    arrivals: Path

    @classmethod
    def begin(cls, lab: Lab, kind: str, prefix: str, cards_count: int, count: int) -> Offer:
        """Cards in mid-life, the process and the reader; returns when both wait for records."""
        cards = Cards(cards_count, count, int(time.time() * 1000) - span_ms(cards_count, count))
        lab.make_topics(prefix)
        asyncio.run(fill(lab.redis_url, prefix, cards, cards.histories()))
        records = cards.records(count, prefix)
        running = lab.start(kind, prefix)
        running.wait_ready()
        arrivals = lab.folder / f"{prefix}arrivals.npy"
        reader = lab.reader(running.sink, prefix, count, arrivals)
        reader.wait_ready()
        return cls(lab, prefix, cards, records, running, reader, arrivals)

    def run(self, after_ns: Int64, marks: Sequence[tuple[int, Callable[[], None]]] = ()) -> tuple[Int64, Int64]:
        """Publish each record when it is due.

        Args:
            after_ns: due times, counted from the first; ascending, shape (records,).
            marks: what to do before which record; ascending.

        Returns:
            Due times on the monotonic clock, and how late each record was handed over, nanoseconds.
        """
        topic, names, homes = f"{self.prefix}{TRANSACTIONS}", self.cards.names, self.cards.homes
        producer = Producer({**self.lab.kafka, "acks": "all", "linger.ms": 0, "queue.buffering.max.messages": _QUEUE})
        producer.list_topics(topic)  # connect before the first is due
        waiting = list(marks)
        due = time.monotonic_ns() + _LEAD_NS + after_ns
        lag = np.empty(len(self.records), np.int64)
        for number, (sent, due_ns) in enumerate(zip(self.records, due.tolist(), strict=True)):
            while waiting and waiting[0][0] == number:
                waiting.pop(0)[1]()
            while (early_ns := due_ns - time.monotonic_ns()) > 0:
                time.sleep(early_ns / 1e9)
            lag[number] = -early_ns
            producer.produce(topic, sent.value, names[sent.card], homes[sent.card])
            producer.poll(0)
        if producer.flush(_LAST_S):
            raise BenchError("Kafka did not take the records")
        return due, lag

    def arrived(self) -> Int64:
        """When each outcome could be read, nanoseconds; 0 where it did not come in time. Ends the reader."""
        deadline_s = time.monotonic() + _LAST_S
        while not self.arrivals.exists() and time.monotonic() < deadline_s:
            time.sleep(0.1)
        self.reader.stop()
        found: Int64 = np.load(self.arrivals)
        return found
