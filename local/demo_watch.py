"""What comes back: outcomes and dead letters, read as any consumer of the topics would."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from local.demo_processes import DemoError

PROCESSED: Final = "processed_transactions"
DEAD_LETTERS: Final = "transactions.dlq"
_ANSWER_S: Final = 10.0
_POLL_S: Final = 0.1


class Reason(msgspec.Struct):
    """One of an outcome's reasons, as far as the demo shows it."""

    text: str


class Fraud(msgspec.Struct):
    """An outcome's own part, as far as the demo shows it."""

    outcome: str
    latency_ms: float
    score: int | None = None
    reasons: list[Reason] = []


class Answer(msgspec.Struct):
    """An outcome, and when it could be read (seconds of the monotonic clock)."""

    transaction_id: str
    card_id: str
    fraud: Fraud
    received_s: float = 0.0


class _Letter(msgspec.Struct):
    reason: str


class Watch:
    """Reads both topics in a thread until closed.

    Attributes:
        answers: first outcome of every transaction, by its id.
        repeated: outcomes that came more than once.
        letters: reasons of the dead letters.
    """

    def __init__(self, kafka: Mapping[str, str], on_answer: Callable[[Answer], None]) -> None:
        """Begin to read.

        Args:
            kafka: librdkafka's settings that reach the brokers.
            on_answer: called in the thread with the first outcome of every transaction.
        """
        self.answers: dict[str, Answer] = {}
        self.repeated = 0
        self.letters: list[str] = []
        self._on_answer = on_answer
        self._error: Exception | None = None
        self._closed = threading.Event()
        self._consumer = Consumer(
            {**kafka, "group.id": "fraud-demo", "enable.auto.commit": False, "fetch.wait.max.ms": 50}
        )
        self._consumer.assign(
            [
                TopicPartition(topic, partition, OFFSET_BEGINNING)
                for topic in (PROCESSED, DEAD_LETTERS)
                for partition in self._consumer.list_topics(topic, _ANSWER_S).topics[topic].partitions
            ]
        )
        self._thread = threading.Thread(target=self._read, name="watch", daemon=True)
        self._thread.start()

    @property
    def seen(self) -> int:
        """Transactions and hostile records that were answered, each counted once."""
        return len(self.answers) + len(self.letters)

    def wait_for(self, count: int, timeout_s: float, meanwhile: Callable[[], None] = lambda: None) -> bool:
        """Wait until so many records are answered; says whether they are.

        Raises:
            DemoError: an outcome or a dead letter cannot be read.
        """
        deadline_s = time.monotonic() + timeout_s
        while self.seen < count and time.monotonic() < deadline_s:
            self.check()
            meanwhile()
            self._closed.wait(_POLL_S)
        return self.seen >= count

    def check(self) -> None:
        """Raise what went wrong in the thread."""
        if self._error is not None:
            raise DemoError(f"an answer cannot be read: {self._error}") from self._error

    def close(self) -> None:
        """Stop to read."""
        self._closed.set()
        self._thread.join()
        self._consumer.close()

    def _read(self) -> None:
        decode = msgspec.json.Decoder(Answer).decode
        try:
            while not self._closed.is_set():
                message = self._consumer.poll(_POLL_S)
                if message is None:
                    continue
                value = message.value() or b""
                if message.error() is not None:
                    self._error = KafkaException(message.error())
                    return
                if message.topic() == PROCESSED:
                    self._take(decode(value))
                else:
                    self.letters.append(msgspec.json.decode(value, type=_Letter).reason)
        except msgspec.DecodeError as error:
            self._error = error

    def _take(self, answer: Answer) -> None:
        answer.received_s = time.monotonic()
        if answer.transaction_id in self.answers:
            self.repeated += 1
            return
        self.answers[answer.transaction_id] = answer
        self._on_answer(answer)
