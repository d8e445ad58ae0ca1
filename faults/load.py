"""The steady load: records fall due at fixed times, whatever the pipeline does meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Final

from confluent_kafka import KafkaError, Message, Producer

from faults.events import Planned

_STEP_S: Final = 0.004
_FLUSH_S: Final = 60.0


class LoadError(RuntimeError):
    """The load could not be offered as planned."""


class Load(threading.Thread):
    """Publishes records at a rate.

    Args:
        kafka: librdkafka's settings that reach the brokers.
        topic: full name.
        records: in order; one partition's arrive in this order.
        rate: records per second.

    Attributes:
        began_ms: when the first fell due, epoch milliseconds.
        ended_ms: when the last was handed over.
        confirmed: records that the broker has confirmed.
        late_s: by how much the load was behind its plan at worst.
    """

    def __init__(
        self, kafka: Mapping[str, str | int | float | bool], topic: str, records: Sequence[Planned], rate: int
    ) -> None:
        super().__init__(name="load", daemon=True)
        self._topic, self._records, self._rate = topic, records, rate
        self._producer = Producer({
            **kafka, "enable.idempotence": True, "linger.ms": 1, "message.timeout.ms": 0, "log_level": 0,
            "queue.buffering.max.messages": 1_000_000, "message.max.bytes": 4 * 1024 * 1024,
            "on_delivery": self._delivered,
        })  # fmt: skip
        self._producer.list_topics(topic, 10)
        self._refused: KafkaError | None = None
        self.began_ms = self.ended_ms = 0
        self.confirmed = 0
        self.late_s = 0.0

    def run(self) -> None:
        """Publish everything when it is due."""
        began_s = time.monotonic()
        self.began_ms = time.time_ns() // 1_000_000
        sent = 0
        while sent < len(self._records):
            due = min(int((time.monotonic() - began_s) * self._rate), len(self._records))
            for planned in self._records[sent:due]:
                self._producer.produce(self._topic, planned.value, planned.key, planned.partition)
            sent = max(sent, due)
            self._producer.poll(0)
            self.late_s = max(self.late_s, time.monotonic() - began_s - sent / self._rate)
            time.sleep(_STEP_S)
        self.ended_ms = time.time_ns() // 1_000_000

    def finish(self) -> None:
        """Wait for the end; raises LoadError where a record did not arrive."""
        self.join()
        self._producer.flush(_FLUSH_S)
        if self._refused is not None or self.confirmed < len(self._records):
            reason = "not confirmed" if self._refused is None else self._refused.str()
            raise LoadError(f"{len(self._records) - self.confirmed} records did not reach Kafka: {reason}")

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        if error is None:
            self.confirmed += 1
        else:
            self._refused = error
