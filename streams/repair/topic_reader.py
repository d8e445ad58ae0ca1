"""Read ranges of a topic outside of any role's group: for rebuilding, recomputing and looking things up."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, TypeVar

import msgspec
from confluent_kafka import OFFSET_END, Consumer, KafkaError, KafkaException, Message, TopicPartition
from tenacity import (
    Retrying,
    retry_if_exception,
    sleep_using_event,
    stop_when_event_set,
    wait_exponential_jitter,
)

from features.errors import ServerUnavailable
from features.outage import Outage
from sinks.kafka_problems import KafkaProblems
from sinks.topics import AWAY, mapped_errors
from streams.intake import offset_of

T = TypeVar("T")

_STOPPING: Final[ContextVar[threading.Event | None]] = ContextVar("stopping", default=None)

BATCH: Final = 2000
_POLL_S: Final = 0.5
_REQUEST_S: Final = 10.0
_MAX_WAIT_S: Final = 5.0

# What a cluster answers that is about to have what it is asked for: brokers that come back, leaders that change.
_NOT_YET: Final = AWAY | {
    KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001 - librdkafka's own codes are public under these names only
    KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001
    KafkaError._WAIT_COORD,  # noqa: SLF001
    KafkaError._DESTROY_BROKER,  # noqa: SLF001 - the broker was forgotten while it was being asked
    KafkaError._OUTDATED,  # noqa: SLF001
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.OFFSET_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
}

_CONSUMER: Final[dict[str, Any]] = {
    "group.id": "fraudstream-repair",  # librdkafka wants one; it is neither joined nor committed to
    "enable.auto.commit": False,
    "enable.partition.eof": True,
    # Where retention has passed a range's start, what is left of it is read.
    "auto.offset.reset": "earliest",
    "allow.auto.create.topics": False,
    "queued.max.messages.kbytes": 65_536,
    # What is asked for next waits until the broker has answered what was asked before.
    "fetch.wait.max.ms": 20,
    "log_level": 0,
}


class Span(msgspec.Struct, frozen=True):
    """Offsets of one partition, from `start` up to and without `end`."""

    partition: int
    start: int
    end: int

    def __len__(self) -> int:
        return max(self.end - self.start, 0)


class TopicReader:
    """Reads one topic. Every method but `run` blocks: call it through `run` where a loop is running.

    A broker that goes away is waited for, with a line in the log now and then.

    Args:
        kafka: librdkafka settings that reach the brokers.
        topic: full name.
    """

    def __init__(self, kafka: Mapping[str, str], topic: str) -> None:
        self.topic = topic
        with mapped_errors():
            self._consumer = Consumer({**kafka, **_CONSUMER, "error_cb": KafkaProblems()})
        self._ends: dict[int, int] = {}
        self._position: dict[int, int] = {}

    async def run(self, call: Callable[[], T]) -> T:
        """Call one of the other methods in a thread; cancelled, the thread has ended before this returns."""
        return await in_thread(call)

    def partitions(self) -> int:
        """Number of partitions that the topic has."""
        metadata = ask_kafka(lambda: self._consumer.list_topics(self.topic, timeout=_REQUEST_S))
        return len(metadata.topics[self.topic].partitions)

    def bounds(self, partition: int) -> tuple[int, int]:
        """First offset that the topic still holds, and the one after its last."""
        place = TopicPartition(self.topic, partition)
        low, high = ask_kafka(lambda: self._consumer.get_watermark_offsets(place, timeout=_REQUEST_S))
        return low, high

    def offset_at(self, partition: int, time_ms: int) -> int:
        """First offset whose record is not older than a time; the end of the topic where none is."""
        low, high = self.bounds(partition)
        asked = [TopicPartition(self.topic, partition, max(time_ms, 0))]
        (found,) = ask_kafka(lambda: self._consumer.offsets_for_times(asked, timeout=_REQUEST_S))
        return high if found.offset == OFFSET_END or found.offset < 0 else max(found.offset, low)

    def record_at(self, partition: int, offset: int) -> Message | None:
        """The record at an offset or the next there is; None at the end of the topic."""
        low, high = self.bounds(partition)
        self.begin([Span(partition, max(offset, low), high)])
        while not self.done():
            if messages := self.take(1):
                return messages[0]
        return None

    def begin(self, spans: list[Span]) -> None:
        """Read these ranges next, at most one of a partition; what was being read is dropped."""
        wanted = [span for span in spans if len(span)]
        self._ends = {span.partition: span.end for span in wanted}
        self._position = {span.partition: span.start for span in wanted}
        places = [TopicPartition(self.topic, span.partition, span.start) for span in wanted]
        with mapped_errors():
            self._consumer.assign(places)
            self._consumer.resume(places)  # a pause outlives its assignment

    def take(self, count: int = BATCH) -> list[Message]:
        """Records of the ranges that are available now, at most `count`; each partition's in order."""
        if _stopping().is_set():
            raise ServerUnavailable("FRAUD_KAFKA_BOOTSTRAP: interrupted while Kafka was being read")
        with mapped_errors():
            # Wait for the first alone: with a number to reach, `consume` would wait for all of them.
            messages = self._consumer.consume(1, _POLL_S)
            if messages and count > 1:
                messages += self._consumer.consume(count - 1, 0)
            return [message for message in messages if self._is_record(message)]

    def position(self, partition: int) -> int:
        """Offset up to which a partition's range has been taken; its end when it is done."""
        return self._position[partition]

    def left(self) -> list[int]:
        """Partitions whose ranges have not been read to their ends."""
        return [partition for partition, end in self._ends.items() if self._position[partition] < end]

    def done(self) -> bool:
        """Whether every range has been read to its end."""
        return not self.left()

    def pause(self, partition: int) -> None:
        """Take nothing of a partition until `resume`."""
        self._consumer.pause([TopicPartition(self.topic, partition)])

    def resume(self, partition: int) -> None:
        """Take records of a partition again."""
        self._consumer.resume([TopicPartition(self.topic, partition)])

    def close(self) -> None:
        """Let the connections go."""
        self._consumer.close()

    def _is_record(self, message: Message) -> bool:
        """Move the position; False for what is past the range's end or no record."""
        error, partition = message.error(), message.partition()
        if error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - its public name
            if error.retriable() or error.code() in _NOT_YET:
                return False
            raise KafkaException(error)
        end = self._ends.get(partition or 0, 0)
        if error is not None:
            # What is left of the range, if anything, are markers of transactions, or it was deleted meanwhile.
            self._finish(partition or 0, end)
            return False
        offset = offset_of(message)
        if offset + 1 >= end:
            self._finish(partition or 0, end)
            return offset < end
        self._position[partition or 0] = offset + 1
        return True

    def _finish(self, partition: int, end: int) -> None:
        if self._position[partition] < end:
            self._position[partition] = end
            self.pause(partition)


@contextmanager
def reading(kafka: Mapping[str, str], topic: str) -> Iterator[TopicReader]:
    """A reader that is closed at the end of the block."""
    reader = TopicReader(kafka, topic)
    try:
        yield reader
    finally:
        reader.close()


async def in_thread(call: Callable[[], T]) -> T:
    """Call what reads or asks Kafka in a thread; cancelled, it stops waiting and has ended before this returns."""
    stopping = threading.Event()
    token = _STOPPING.set(stopping)  # the thread has a copy of this context
    try:
        work = asyncio.ensure_future(asyncio.to_thread(call))
    finally:
        _STOPPING.reset(token)
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        stopping.set()
        await asyncio.wait({work})
        raise


def _stopping() -> threading.Event:
    return _STOPPING.get() or threading.Event()


def ask_kafka(question: Callable[[], T]) -> T:
    """Ask until Kafka answers, with back-off, or `in_thread` is cancelled; raises ConfigError where it refuses."""
    stopping = _stopping()
    outage = Outage("kafka", "FRAUD_KAFKA_BOOTSTRAP")
    retrying = Retrying(
        retry=retry_if_exception(_is_away),
        wait=wait_exponential_jitter(multiplier=0.1, max=_MAX_WAIT_S, jitter=0.1),
        sleep=sleep_using_event(stopping),
        stop=stop_when_event_set(stopping),
        before_sleep=lambda state: outage.failed(str(state.outcome.exception() if state.outcome else "")),
        reraise=True,
    )
    with mapped_errors():
        answer = retrying(question)
    outage.answered()
    return answer


def _is_away(error: BaseException) -> bool:
    return isinstance(error, KafkaException) and (error.args[0].retriable() or error.args[0].code() in _NOT_YET)
