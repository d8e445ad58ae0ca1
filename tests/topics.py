"""Topics as tests see them: asked about until Kafka can say, read to where they end or until there is enough."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_fixed

from streams.offsets import HEALS

T = TypeVar("T")

_REQUEST_S = 10.0
_ASK_AGAIN_S = 0.05
_FETCH_S = 0.2
_MANY = 2_000

# What passes: a broker that comes back, a leader that moves, a topic that was made a moment ago.
_PASSES = HEALS | {
    KafkaError._UNKNOWN_TOPIC, KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
}  # fmt: skip


def asked(question: Callable[[], T], timeout_s: float = 60) -> T:
    """Kafka's answer; asked again while it cannot answer yet.

    Raises:
        KafkaException: it refuses, or had no answer in that time.
    """
    again = Retrying(
        retry=retry_if_exception(lambda exc: isinstance(exc, KafkaException) and exc.args[0].code() in _PASSES),
        wait=wait_fixed(_ASK_AGAIN_S),
        stop=stop_after_delay(timeout_s),
        reraise=True,
    )
    return again(question)


@contextmanager
def reader(kafka: Mapping[str, str], group: str = "reader") -> Iterator[Consumer]:
    """A consumer that reads from the beginning, commits nothing and is told at once where a partition ends."""
    consumer = Consumer({
        **kafka, "group.id": group, "enable.auto.commit": False, "enable.partition.eof": True,
        "auto.offset.reset": "earliest", "fetch.wait.max.ms": 10,
    })  # fmt: skip
    try:
        yield consumer
    finally:
        consumer.close()


def partitions_of(consumer: Consumer, topic: str) -> list[int]:
    """The partitions of a topic, in order."""

    def known() -> list[int]:
        found = consumer.list_topics(topic, _REQUEST_S).topics[topic]
        if found.error is not None:
            raise KafkaException(found.error)
        return sorted(found.partitions)

    return asked(known)


def ends_of(consumer: Consumer, topic: str) -> dict[int, int]:
    """The offset after the last record of each partition."""

    def end(partition: int) -> int:
        _, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), _REQUEST_S)
        return high

    return {
        partition: asked(lambda partition=partition: end(partition)) for partition in partitions_of(consumer, topic)
    }


def committed_of(consumer: Consumer, topic: str) -> dict[int, int]:
    """The offset up to which the consumer's group has acknowledged each partition; 0 where it has not yet."""
    places = [TopicPartition(topic, partition) for partition in partitions_of(consumer, topic)]
    answers = asked(lambda: consumer.committed(places, timeout=_REQUEST_S))
    return {place.partition: max(place.offset, 0) for place in answers}


def read_messages(
    kafka: Mapping[str, str],
    topic: str,
    enough: Callable[[list[Message]], bool] | None = None,
    timeout_s: float = 60,
) -> list[Message]:
    """The messages of a topic from its beginning, in order per partition.

    Args:
        kafka: how to reach it.
        topic: its name.
        enough: whether what has come suffices; without it, everything is read that the topic holds now.
        timeout_s: how long to read.

    Raises:
        KafkaException: it cannot be read.
        AssertionError: the end, or enough, has not come in that time.
    """
    found: list[Message] = []
    ended: set[int] = set()
    deadline_s = time.monotonic() + timeout_s
    with reader(kafka) as consumer:
        partitions = partitions_of(consumer, topic)
        consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
        while not enough(found) if enough else len(ended) < len(partitions):
            assert time.monotonic() < deadline_s, f"{topic}: {len(found)} records in {timeout_s} s, ended: {ended}"
            # Not `consume(_MANY, _FETCH_S)`: that waits until there are so many.
            for message in (*consumer.consume(1, _FETCH_S), *consumer.consume(_MANY, 0)):
                error = message.error()
                if error is None:
                    found.append(message)
                elif error.code() == KafkaError._PARTITION_EOF:
                    ended.add(message.partition() or 0)
                elif error.code() not in _PASSES:
                    raise KafkaException(error)
    return found
