"""Events per second from a topic that is full before the process starts, beside the relay on the same records."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from bench.cards import PARTITIONS, Cards, fill, span_ms
from bench.lab import BenchError, Lab, Running

_MOST_S: Final = 180.0
_READ_S: Final = 30.0
_KINDS: Final = ("score", "relay")
T = TypeVar("T")


class Pass(msgspec.Struct, frozen=True):
    """One process over all records.

    Attributes:
        per_s: events per second, from the first answer to the last by the time at which they were produced.
        cpu_us: CPU microseconds of the process per event.
        kafka_cpu_us: of the broker, in the same time.
        redis_cpu_us: of Redis.
        flagged: share of answers with another outcome than approve, 0 of the relay.
    """

    per_s: float
    cpu_us: float
    kafka_cpu_us: float
    redis_cpu_us: float
    flagged: float


class Round(msgspec.Struct, frozen=True):
    """Both on the same records."""

    score: Pass
    relay: Pass

    @property
    def ratio(self) -> float:
        """Score's rate as a share of the relay's."""
        return self.score.per_s / self.relay.per_s


class Watched(msgspec.Struct, Generic[T], frozen=True):
    """What was read at the first answer seen and at the last.

    Attributes:
        events: answers between the two.
        seconds: by the clock, between the two.
    """

    before: T
    after: T
    events: int
    seconds: float


def measure_throughput(lab: Lab, cards_count: int, count: int, number: int) -> Round:
    """One round: fresh topics, cards in mid-life, both processes one after the other, another first in each round."""
    prefix = f"t{number}-"
    cards = Cards(cards_count, 1, int(time.time() * 1000) - span_ms(cards_count, count))
    prepare(lab, prefix, cards, cards.histories(), count)
    order = _KINDS if number % 2 else _KINDS[::-1]
    return Round(**{kind: measure_pass(lab, lab.start(kind, prefix), count) for kind in order})


def warm_up_throughput(lab: Lab, cards_count: int, count: int) -> None:
    """One pass of the relay that does not count: a broker that has just started is slow."""
    cards = Cards(cards_count, 1, int(time.time() * 1000) - span_ms(cards_count, count))
    prepare(lab, "t-warm-", cards, [], count)
    measure_pass(lab, lab.start("relay", "t-warm-"), count)


def prepare(lab: Lab, prefix: str, cards: Cards, histories: list[bytes], count: int) -> None:
    """Topics with so many records in them, and the histories, if any, in Redis."""
    lab.make_topics(prefix)
    if histories:
        asyncio.run(fill(lab.redis_url, prefix, cards, histories))
    lab.publish(prefix, cards, cards.records(count, prefix))


def measure_pass(lab: Lab, running: Running, count: int) -> Pass:
    """Watch a process, just started, over all records, and end it."""

    def cpu_s() -> tuple[float, ...]:
        return running.cpu_s(), lab.server_cpu_s("kafka"), lab.server_cpu_s("redis")

    seen = watched(lab, running, count, cpu_s)
    running.stop()
    worker, kafka, redis = [(b - a) * 1e6 / seen.events for a, b in zip(seen.before, seen.after, strict=True)]
    duration_s, flagged = answers(lab, running.sink, count)
    return Pass((count - 1) / duration_s, worker, kafka, redis, flagged / count)


def watched(lab: Lab, running: Running, count: int, read: Callable[[], T]) -> Watched[T]:
    """Wait for the answers and read something at both ends; raises BenchError unless all records are answered once."""
    seen = 0

    def reached(enough: int) -> bool:
        nonlocal seen
        seen = lab.written(running.sink)
        return seen >= enough

    running.wait(lambda: reached(1), "the first answer")
    first, before, began_s = seen, read(), time.monotonic()
    if first >= count:
        raise BenchError(f"{count} records are too few: all were answered at once")
    running.wait(lambda: reached(count), "the last answer", _MOST_S)
    after, ended_s = read(), time.monotonic()
    if seen != count:
        raise BenchError(f"{running.sink} has {seen} answers to {count} records")
    return Watched(before, after, count - first, ended_s - began_s)


def answers(lab: Lab, topic: str, count: int) -> tuple[float, int]:
    """Seconds from the first answer to the last, and how many were flagged."""
    consumer = Consumer({**lab.kafka, "group.id": f"{topic}-check", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(PARTITIONS)])
    times: list[int] = []
    flagged = 0
    deadline_s = time.monotonic() + _READ_S
    while len(times) < count and time.monotonic() < deadline_s:
        for message in consumer.consume(5000, 0.2):
            times.append(message.timestamp()[1])
            outcome = dict(message.headers() or ()).get("outcome", b"approve")
            flagged += outcome != b"approve"
    consumer.close()
    if len(times) < count:
        raise BenchError(f"{topic} has {len(times)} readable records of {count}")
    return (max(times) - min(times)) / 1000, flagged
