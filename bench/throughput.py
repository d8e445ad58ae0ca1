"""Events per second from a topic that is full before the process starts, beside the relay on the same records."""

from __future__ import annotations

import asyncio
import time
from typing import Final

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from bench.cards import PARTITIONS, Cards, fill, span_ms
from bench.lab import BenchError, Lab

_MOST_S: Final = 180.0
_READ_S: Final = 30.0
_KINDS: Final = ("score", "relay")


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


def measure_throughput(lab: Lab, cards_count: int, count: int, number: int) -> Round:
    """One round: fresh topics, cards in mid-life, both processes one after the other, another first in each round."""
    prefix = f"t{number}-"
    _prepare(lab, prefix, cards_count, count)
    order = _KINDS if number % 2 else _KINDS[::-1]
    return Round(**{kind: _pass(lab, kind, prefix, count) for kind in order})


def warm_up_throughput(lab: Lab, cards_count: int, count: int) -> None:
    """One pass of the relay that does not count: a broker that has just started is slow."""
    _prepare(lab, "t-warm-", cards_count, count)
    _pass(lab, "relay", "t-warm-", count)


def _prepare(lab: Lab, prefix: str, cards_count: int, count: int) -> None:
    cards = Cards(cards_count, 1, int(time.time() * 1000) - span_ms(cards_count, count))
    lab.make_topics(prefix)
    asyncio.run(fill(lab.redis_url, prefix, cards, cards.histories()))
    lab.publish(prefix, cards, cards.records(count, prefix))


def _pass(lab: Lab, kind: str, prefix: str, count: int) -> Pass:
    running = lab.start(kind, prefix)
    seen = 0

    def reached(enough: int) -> bool:
        nonlocal seen
        seen = lab.written(running.sink)
        return seen >= enough

    def cpu_s() -> tuple[float, ...]:
        return running.cpu_s(), lab.server_cpu_s("kafka"), lab.server_cpu_s("redis")

    running.wait(lambda: reached(1), "the first answer")
    first, before = seen, cpu_s()
    running.wait(lambda: reached(count), "the last answer", _MOST_S)
    worker, kafka, redis = [(b - a) * 1e6 / (count - first) for a, b in zip(before, cpu_s(), strict=True)]
    running.stop()
    if seen != count:
        raise BenchError(f"{kind} answered {seen} times to {count} records")
    duration_s, flagged = _answers(lab, running.sink, count)
    return Pass((count - 1) / duration_s, worker, kafka, redis, flagged / count)


def _answers(lab: Lab, topic: str, count: int) -> tuple[float, int]:
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
