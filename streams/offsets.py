"""Committed offsets, and what Kafka's answers about them mean."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

_TIMEOUT_S: Final = 10.0
_ASK_AGAIN_S: Final = 0.5

# Answers to a commit that say the partitions are no longer ours: the new owner reads the records again.
NOT_OURS: Final = frozenset({
    KafkaError.ILLEGAL_GENERATION, KafkaError.UNKNOWN_MEMBER_ID, KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError._STATE, KafkaError._NO_OFFSET, KafkaError.FENCED_INSTANCE_ID,  # noqa: SLF001 - librdkafka's own codes
})  # fmt: skip


# Errors that a consumer gets over by itself.
HEALS: Final = frozenset({
    KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._TIMED_OUT,  # noqa: SLF001 - librdkafka's own codes
    KafkaError._DESTROY_BROKER, KafkaError._WAIT_COORD,  # noqa: SLF001 - as above
    KafkaError._RESOLVE, KafkaError._MAX_POLL_EXCEEDED, KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001 - as above
    KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.LEADER_NOT_AVAILABLE, KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
})  # fmt: skip


def committed_offsets(
    consumer: Consumer, partitions: list[TopicPartition], check: Callable[[KafkaError], None], stop: threading.Event
) -> dict[int, int]:
    """Where the group stands; asked again while a broker that comes up cannot say.

    Args:
        consumer: of the group.
        partitions: asked about.
        check: raises for an error that does not heal.
        stop: set when nobody waits for the answer any more.

    Returns:
        Partition -> first offset still to be read, negative where nothing was committed.

    Raises:
        KafkaException: it does not heal, or the stop came first.
    """
    while True:
        try:
            return _answer(consumer, partitions)
        except KafkaException as exc:
            if stop.wait(_ASK_AGAIN_S):
                raise
            check(exc.args[0])


def _answer(consumer: Consumer, partitions: list[TopicPartition]) -> dict[int, int]:
    answers = consumer.committed(partitions, timeout=_TIMEOUT_S)
    # An answer that is none must not pass for "nothing was committed": all records would come again.
    for answer in answers:
        if answer.error is not None:
            raise KafkaException(answer.error)
    return {answer.partition: answer.offset for answer in answers}
