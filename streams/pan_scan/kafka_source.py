"""Every record of a topic: key, value, names and values of headers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from features.errors import ServerUnavailable
from sinks.kafka_refusals import Refusals, refusal_of
from sinks.topics import mapped_errors
from streams.headers import headers_of
from streams.pan_scan.finder import Finder
from streams.pan_scan.report import Report

Show = Callable[[int, int | None], None]

_BATCH: Final = 500
_POLL_S: Final = 0.5
_REQUEST_S: Final = 10.0
_CONSUMER: Final[dict[str, str | int | bool]] = {
    "enable.auto.commit": False,
    "enable.partition.eof": True,
    "fetch.message.max.bytes": 4 * 1024 * 1024,
    "queued.max.messages.kbytes": 32_768,
    "log_level": 0,
}


class TopicScanner:
    """Reads topics from their first record to the one that was the last when it began; commits nothing.

    Args:
        kafka: librdkafka settings that reach the brokers.
        group: named to the broker, never joined.
    """

    def __init__(self, kafka: Mapping[str, str], group: str) -> None:
        self._refusals = Refusals()
        with mapped_errors():
            self._consumer = Consumer({**kafka, **_CONSUMER, "group.id": group, "error_cb": self._refusals})

    def close(self) -> None:
        """Close the connections."""
        self._consumer.close()

    def scan(self, topic: str, finder: Finder, report: Report, show: Show) -> None:
        """Look at every record of a topic."""
        for message in self._records(topic, report, show):
            where = f"{topic}-{message.partition()}-{message.offset()}"
            for part, raw in _parts(message, report):
                report.add("kafka", where, part, finder.in_bytes(raw))

    def count(self, topic: str, finder: Finder, report: Report, show: Show) -> int:
        """Number of records of a topic that hold a card number; where they lie is not told."""
        return sum(
            any(finder.in_bytes(raw) for _, raw in _parts(message, report))
            for message in self._records(topic, report, show)
        )

    def _records(self, topic: str, report: Report, show: Show) -> Iterator[Message]:
        """Records of a topic.

        Raises:
            ServerUnavailable: Kafka does not answer.
            ConfigError: the user is refused.
        """
        with mapped_errors():
            ranges = self._ranges(topic)
        if ranges is None:
            report.notes.append(f"kafka: the topic {topic} does not exist")
            return
        total, done = sum(high - low for low, high in ranges.values()), 0
        open_ends = {partition: high for partition, (low, high) in ranges.items() if low < high}
        self._consumer.assign([TopicPartition(topic, p, ranges[p][0]) for p in open_ends])
        while open_ends:
            for message in self._take():
                partition, offset = message.partition() or 0, message.offset() or 0
                error = message.error()
                if error is not None:  # the end of the partition: what is missing of it is compacted away
                    open_ends.pop(partition, None)
                elif partition in open_ends:
                    yield message
                    done += 1
                    report.count("kafka records")
                    if offset >= open_ends[partition] - 1:
                        del open_ends[partition]
            show(done, total)
        self._consumer.unassign()

    def _ranges(self, topic: str) -> dict[int, tuple[int, int]] | None:
        """First offset and the one after the last, by partition; None where there is no such topic."""
        try:
            found = self._consumer.list_topics(topic, _REQUEST_S).topics[topic]
        except KafkaException:
            self._refusals.check(self._consumer)
            raise
        if found.error is not None:
            if found.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                return None
            raise refusal_of(found.error) or KafkaException(found.error)
        return {
            p: self._consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=_REQUEST_S)
            for p in sorted(found.partitions)
        }

    def _take(self) -> list[Message]:
        messages = self._consumer.consume(_BATCH, _POLL_S)
        for message in messages:
            error = message.error()
            if error is None or error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's own code
                continue
            if refusal := refusal_of(error):
                raise refusal
            if not error.retriable():
                raise ServerUnavailable(f"FRAUD_KAFKA_BOOTSTRAP: {error.str()}")
        return [m for m in messages if (e := m.error()) is None or e.code() == KafkaError._PARTITION_EOF]  # noqa: SLF001


def _parts(message: Message, report: Report) -> Iterator[tuple[str, bytes]]:
    for part, raw in (("key", message.key()), ("value", message.value())):
        if raw is not None:
            yield part, raw
    headers = headers_of(message)
    if headers is None:
        report.notes.append(f"kafka: headers of {message.topic()}-{message.partition()}-{message.offset()} unreadable")
        return
    for name, value in headers:
        yield "name of a header", name.encode()
        if value is not None:
            yield f"header {name}", value if isinstance(value, bytes) else value.encode()
