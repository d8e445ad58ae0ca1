"""The yardstick: the least that a process must do that takes records from one topic and answers each on another.

Up to 500 records consumed, all produced, all confirmed, offsets committed; nothing is looked at. A process of its own:
`python -m bench.relay <bootstrap> <source> <sink> <group>`, until SIGTERM.
"""

from __future__ import annotations

import signal
import sys
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

ASSIGNED: Final = "assigned"
"""Written to the output when records may flow."""
_MAX_BATCH: Final = 500
_POLL_S: Final = 0.1


class Relay:
    """A consumer and a producer, set as those of the `score` role.

    Args:
        bootstrap: of Kafka.
        source: topic read.
        sink: topic written, of as many partitions.
        group: consumer group.
    """

    def __init__(self, bootstrap: str, source: str, sink: str, group: str) -> None:
        reach = {"bootstrap.servers": bootstrap}
        self._consumer = Consumer(
            {
                **reach, "group.id": group, "enable.auto.commit": False, "auto.offset.reset": "earliest",
                "queued.min.messages": 20_000,
                "on_commit": self._committed, "fetch.wait.max.ms": 100, "fetch.queue.backoff.ms": 10,
            }
        )  # fmt: skip
        self._producer = Producer({**reach, "enable.idempotence": True, "acks": "all", "linger.ms": 0})
        self._sink = sink
        self._going, self._committing, self._unconfirmed = True, False, 0
        self._consumer.subscribe([source], on_assign=_say)

    def run(self) -> None:
        """Relay until told to stop."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        while self._going:
            first = self._consumer.poll(_POLL_S)
            if first is not None:
                self._relay([first, *self._consumer.consume(_MAX_BATCH - 1, 0)])
        self._consumer.close()  # what is committed matters to nobody: every run has topics of its own

    def _relay(self, batch: list[Message]) -> None:
        self._unconfirmed = len(batch)
        for message in batch:
            if (error := message.error()) is not None:
                raise KafkaException(error)
            self._producer.produce(
                self._sink, message.value(), message.key(), message.partition() or 0, on_delivery=self._confirmed
            )
        while self._unconfirmed:
            self._producer.poll(_POLL_S)
        # As in the `score` role: not waited for, one at a time, what was confirmed meanwhile goes with the next.
        if not self._committing:
            self._committing = True
            self._consumer.commit(asynchronous=True)

    def _confirmed(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            raise KafkaException(error)
        self._unconfirmed -= 1

    def _committed(self, error: KafkaError | None, _offsets: list[TopicPartition]) -> None:
        if error is not None:
            raise KafkaException(error)
        self._committing = False

    def _stop(self, *_: object) -> None:
        self._going = False


def _say(_consumer: Consumer, _partitions: list[TopicPartition]) -> None:
    sys.stdout.write(f"{ASSIGNED}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    Relay(*sys.argv[1:5]).run()
