"""Rebuild card histories from the topic: what Redis lost, Kafka still has.

Records are applied as the score role applies them; nothing is scored and nothing published. A rebuild that is
interrupted goes on where it stopped, because `applied` moves with every commit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

import structlog
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from features.errors import ServerUnavailable, StoreError
from features.store import OnlineStore
from streams.cards import CardState
from streams.intake import Reader, offset_of
from streams.role import Chunk

log = structlog.get_logger(__name__)

_BATCH: Final = 2000
_POLL_S: Final = 0.5
_REQUEST_S: Final = 30.0
_SAY_EVERY: Final = 100_000


class Rebuilder:
    """Replays ranges of the transactions into the store.

    Args:
        kafka: librdkafka settings that reach the brokers.
        topic: the transactions.
        reader: decodes; dead letters and strays were dealt with when they first came.
        cards: applies and commits.
        store: claims partitions and says what was applied.
        retention_ms: one week plus grace: how far back a full rebuild reads.
    """

    def __init__(
        self,
        kafka: Mapping[str, str],
        *,
        topic: str,
        reader: Reader,
        cards: CardState,
        store: OnlineStore,
        retention_ms: int,
    ) -> None:
        self._config = {**kafka, "group.id": "fraudstream-rebuild", "enable.auto.commit": False}
        self._topic, self._reader, self._cards, self._store = topic, reader, cards, store
        self._retention_ms = retention_ms

    async def catch_up(self, partition: int, end: int) -> None:
        """Claim a partition, and apply what the store lacks of the records before `end`.

        Args:
            partition: to take over.
            end: first offset that is still to be scored, 0 where none was scored yet.

        Raises:
            StoreError: the store is ahead of the topic, which was made anew.
            ServerUnavailable: Kafka did not answer.
        """
        applied = await self._store.claim(partition)
        if applied is None and end == 0:
            return
        consumer = Consumer(self._config)
        try:
            low, high = await asyncio.to_thread(self._bounds, consumer, partition)
            # A group may have committed more than the topic still holds; what is not there cannot be waited for.
            end = min(end, high)
            start = await asyncio.to_thread(self._start, consumer, partition, applied, end, low, high)
            if start < end:
                await self._replay(consumer, partition, start, end)
        except KafkaException as exc:
            raise ServerUnavailable(f"FRAUD_KAFKA_BOOTSTRAP: {exc.args[0].str()}") from exc
        finally:
            await asyncio.to_thread(consumer.close)

    def _bounds(self, consumer: Consumer, partition: int) -> tuple[int, int]:
        """First offset that the topic still holds, and the one after its last."""
        low, high = consumer.get_watermark_offsets(TopicPartition(self._topic, partition), timeout=_REQUEST_S)
        return low, high

    def _start(self, consumer: Consumer, partition: int, applied: int | None, end: int, low: int, high: int) -> int:
        """First offset to apply: after the last applied one, or one retention before the first to be scored."""
        if applied is not None and applied >= high:
            raise StoreError(
                f"Redis has applied partition {partition} of {self._topic} up to offset {applied}, but it ends at "
                f"{high}: the topic was made anew. Use another FRAUD_KEY_PREFIX, or delete the keys of the old topic"
            )
        if applied is not None:
            return max(applied + 1, low)
        oldest = _timestamp_ms(consumer, self._topic, partition, max(end - 1, low), high)
        if oldest is None:
            return end
        since = TopicPartition(self._topic, partition, max(oldest - self._retention_ms, 0))
        (found,) = consumer.offsets_for_times([since], timeout=_REQUEST_S)
        return max(found.offset, low) if found.offset >= 0 else end

    async def _replay(self, consumer: Consumer, partition: int, start: int, end: int) -> None:
        log.warning("rebuild_begins", topic=self._topic, partition=partition, start=start, end=end)
        consumer.assign([TopicPartition(self._topic, partition, start)])
        done = said = 0
        position = start
        while position < end:
            messages, position = await asyncio.to_thread(_take, consumer, self._topic, partition, end)
            if messages:
                await self._apply(partition, messages)
            done += len(messages)
            if done - said >= _SAY_EVERY:
                said = done
                log.warning("rebuild_goes_on", partition=partition, records=done, position=position, end=end)
        log.warning("rebuild_done", topic=self._topic, partition=partition, records=done)

    async def _apply(self, partition: int, messages: list[Message]) -> None:
        intake = self._reader.read([Chunk(self._topic, partition, messages)])
        applied, pending = await self._cards.apply(intake.incoming, {partition: offset_of(messages[-1])})
        await self._cards.commit(applied, pending)


def _take(consumer: Consumer, topic: str, partition: int, end: int) -> tuple[list[Message], int]:
    """Records before `end` that are available now, and the position after them."""
    messages: list[Message] = []
    for message in consumer.consume(_BATCH, _POLL_S):
        error = message.error()
        if error is not None and not error.retriable():
            raise KafkaException(error)
        if error is None and offset_of(message) < end:
            messages.append(message)
    (position,) = consumer.position([TopicPartition(topic, partition)])
    return messages, position.offset


def _timestamp_ms(consumer: Consumer, topic: str, partition: int, offset: int, high: int) -> int | None:
    """Timestamp of the record at an offset or the next there is; None at the end of the topic."""
    if offset >= high:
        return None
    consumer.assign([TopicPartition(topic, partition, offset)])
    message = consumer.poll(_REQUEST_S)
    if message is None:
        return None
    error = message.error()
    if error is not None:
        raise KafkaException(error)
    return message.timestamp()[1]
