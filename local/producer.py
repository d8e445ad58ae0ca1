"""Publish records as a payment service would, and know that every one of them arrived."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from local.errors import LocalStackError

_BOOTSTRAP: Final = "FRAUD_KAFKA_BOOTSTRAP"
_ANSWER_S: Final = 10.0
_FLUSH_S: Final = 60.0


class PublishingError(LocalStackError):
    """Records cannot be published; the message names the variable and what to do."""

    exit_code: ClassVar[int] = 69


class Publisher:
    """A producer for one topic that puts every card where Java clients would.

    Delivery: at least once, in order per card. `confirmed` counts what the broker has confirmed; a record that it
    refuses makes the next call raise.
    """

    def __init__(self, kafka: Mapping[str, str], topic: str) -> None:
        """Connect.

        Args:
            kafka: librdkafka's settings that reach the brokers.
            topic: full name; it must exist.

        Raises:
            PublishingError: Kafka does not answer, or the topic is not there.
        """
        self.confirmed = 0
        self._topic = topic
        self._refused: KafkaError | None = None
        try:
            self._producer = Producer(
                {
                    **kafka,
                    "partitioner": "murmur2_random",
                    "enable.idempotence": True,
                    "linger.ms": 1,
                    # What is too large is for the topic to refuse, or for the reader.
                    "message.max.bytes": 4 * 1024 * 1024,
                    "log_level": "0",
                    "on_delivery": self._delivered,
                }
            )
            topics = self._producer.list_topics(timeout=_ANSWER_S).topics
        except KafkaException as error:
            raise PublishingError(f"{_BOOTSTRAP}: Kafka does not answer ({error.args[0].str()})") from error
        if topic not in topics:
            raise PublishingError(f"{_BOOTSTRAP}: there is no topic {topic}; make it with: fraudstream setup")

    def publish(self, key: str | None, value: bytes | None) -> None:
        """Hand a record over; it is confirmed later.

        Raises:
            PublishingError: an earlier record was refused.
        """
        while True:
            try:
                self._producer.produce(self._topic, value, key)
            except BufferError:
                self.serve(1.0)
            else:
                break
        self.serve(0)

    def serve(self, wait_s: float) -> None:
        """Take confirmations in, waiting at most so long for the first of them.

        Raises:
            PublishingError: a record was refused.
        """
        self._producer.poll(wait_s)
        if self._refused is not None:
            raise PublishingError(f"{_BOOTSTRAP}: Kafka does not take records ({self._refused.str()})")

    def finish(self) -> None:
        """Wait until everything that was handed over is confirmed.

        Raises:
            PublishingError: a record was refused, or the confirmations do not come.
        """
        left = self._producer.flush(_FLUSH_S)
        self.serve(0)
        if left:
            raise PublishingError(f"{_BOOTSTRAP}: Kafka has not confirmed {left} records within {_FLUSH_S:.0f} s")

    def _delivered(self, error: KafkaError | None, _record: Message) -> None:
        if error is None:
            self.confirmed += 1
        elif self._refused is None:
            self._refused = error
