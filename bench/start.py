"""From the start of a worker to its first outcome, on a broker that is warm and a machine that has run it before."""

from __future__ import annotations

import asyncio
import time
from typing import Final

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from bench.cards import PARTITIONS, Cards, fill, span_ms
from bench.lab import BenchError, Lab, Running

_CARDS: Final = 1_000
_RECORDS: Final = 500
_MOST_S: Final = 60.0


class Start(msgspec.Struct, frozen=True):
    """Seconds from the start of the process.

    Attributes:
        first_s: until its first outcome could be read by another process.
        cpu_s: CPU seconds that it took until then.
    """

    first_s: float
    cpu_s: float


def measure_start(lab: Lab, number: int) -> Start:
    """One start, with records waiting in the topic."""
    prefix = f"b{number}-"
    cards = Cards(_CARDS, 1, int(time.time() * 1000) - span_ms(_CARDS, _RECORDS))
    lab.make_topics(prefix)
    asyncio.run(fill(lab.redis_url, prefix, cards, cards.histories()))
    lab.publish(prefix, cards, cards.records(_RECORDS, prefix))
    consumer = Consumer({**lab.kafka, "group.id": f"{prefix}first", "fetch.wait.max.ms": 20})
    began_s = time.monotonic()
    running = lab.score(prefix)
    consumer.assign([TopicPartition(running.sink, p, OFFSET_BEGINNING) for p in range(PARTITIONS)])
    _wait_for_one(consumer, running, began_s + _MOST_S)
    found = Start(time.monotonic() - began_s, running.cpu_s())
    consumer.close()
    running.stop()
    return found


def _wait_for_one(consumer: Consumer, running: Running, deadline_s: float) -> None:
    while time.monotonic() < deadline_s:
        message = consumer.poll(0.1)
        if message is not None and message.error() is None:
            return
    raise BenchError(f"no outcome came; {running.said()}")
