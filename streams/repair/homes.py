"""Since when cards live in the partitions where they live now: a note kept by Kafka, out of reach of a loss of Redis.

When the number of partitions grew, the records before that moment lie in the homes of the old number. Whoever rebuilds
one partition from its own records alone would miss them. The note is an offset committed per partition under a group
of its own (`<FRAUD_GROUP_PREFIX>-homes`): the first one that was scored under the present number.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import msgspec
from confluent_kafka import Consumer, TopicPartition

from sinks.topics import mapped_errors
from streams.repair.topic_reader import ask_kafka

_REQUEST_S: Final = 10.0


class Homes(msgspec.Struct, frozen=True):
    """The last change of the number of partitions.

    Attributes:
        since: partition -> first offset scored under the present number; empty where there was no change.
        changed_ms: when, epoch milliseconds.
    """

    since: dict[int, int]
    changed_ms: int


class HomesNote:
    """Reads and writes the note. Every method blocks.

    Args:
        kafka: librdkafka settings that reach the brokers.
        group: under which the offsets are kept.
        topic: the transactions.
        partitions: of the topic.
        reach_ms: how far back records still matter; an older change does not.
    """

    def __init__(self, kafka: Mapping[str, str], *, group: str, topic: str, partitions: int, reach_ms: int) -> None:
        self._config: dict[str, Any] = {**kafka, "group.id": group, "enable.auto.commit": False, "log_level": 0}
        self._topic, self._partitions, self._reach_ms = topic, partitions, reach_ms

    def read(self) -> Homes:
        """The last change that still matters; waits for a Kafka that is away."""
        asked = [TopicPartition(self._topic, p) for p in range(self._partitions)]
        with self._consumer() as consumer:
            answer = ask_kafka(lambda: consumer.committed(asked, timeout=_REQUEST_S))
        found = [p for p in answer if p.offset >= 0]
        changed_ms = max((_changed_ms(p) for p in found), default=0)
        if changed_ms < _now_ms() - self._reach_ms:
            return Homes({}, 0)
        return Homes({p.partition: p.offset for p in found}, changed_ms)

    def write(self, homes: Homes) -> None:
        """Note a change, or note it again: Kafka forgets what a group without members said after some days."""
        offsets = [
            TopicPartition(self._topic, partition, offset, metadata=str(homes.changed_ms))
            for partition, offset in homes.since.items()
        ]
        with self._consumer() as consumer:
            ask_kafka(lambda: consumer.commit(offsets=offsets, asynchronous=False))

    @contextmanager
    def _consumer(self) -> Iterator[Consumer]:
        with mapped_errors():
            consumer = Consumer(self._config)
        try:
            yield consumer
        finally:
            consumer.close()

    @staticmethod
    def changed_now(committed: Mapping[int, int]) -> Homes:
        """A change at this moment.

        Args:
            committed: partition -> first offset still to be scored.
        """
        return Homes(dict(committed), _now_ms())


def _changed_ms(place: TopicPartition) -> int:
    text = place.metadata or ""
    return int(text) if text.isdigit() else _now_ms()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
