"""Confirmed publish: a batch of records is published when every broker acknowledgement has come, or it is an error."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from features.errors import PublishError
from sinks.kafka_problems import KafkaProblems
from sinks.kafka_refusals import refusal_of

_POLL_S: Final = 0.1
_FLUSH_S: Final = 10.0

_SETTINGS: Final[dict[str, str | int | bool]] = {
    "enable.idempotence": True,
    "acks": "all",
    "linger.ms": 100,  # a batch goes out whole: waiting for it ends the lingering (`Publisher._serve`)
    "delivery.report.only.error": True,  # that all were taken is seen by the queue being empty, at no cost a record
    "message.timeout.ms": 0,  # wait for a broker that is away; the offsets wait with us
    "message.max.bytes": 8 * 1024 * 1024,
    "partitioner": "murmur2_random",
    "log_level": 0,  # what librdkafka prints is told by error_cb, structured
}

Headers = list[tuple[str, str | bytes | None]]


class Record(msgspec.Struct, frozen=True, gc=False):
    """A record to publish; without a partition, its key decides."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    partition: int = -1


class _Pending:
    """One batch on its way; its future is resolved when the broker has taken all of it, or with the first error."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[None] = self._loop.create_future()
        self._error: KafkaError | None = None

    def failed(self, error: KafkaError | None, _message: Message) -> None:
        """Called by librdkafka in the publishing thread, for a record that was not taken."""
        self._error = self._error or error

    def ended(self) -> None:
        """Called in the publishing thread: nothing of the batch is on its way any more."""
        self._loop.call_soon_threadsafe(self._resolve)

    def _resolve(self) -> None:
        if self.future.done():
            return
        if self._error is None:
            self.future.set_result(None)
        else:
            said = f"Kafka did not take a record: {self._error.str()}"
            self.future.set_exception(refusal_of(self._error) or PublishError(said))


class Publisher:
    """An idempotent producer with its own polling thread.

    Delivery: at least once, in order per partition; `publish` returns when every record is on all in-sync replicas. A
    broker that is away is waited for as long as it takes.

    Args:
        config: librdkafka settings that reach the brokers.
    """

    def __init__(self, config: Mapping[str, str | int | bool]) -> None:
        self._config = config
        self._producer: Producer | None = None
        self._stopping = threading.Event()
        self._on_the_way: queue.SimpleQueue[_Pending] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="kafka-publish", daemon=True)

    def start(self) -> None:
        """Connect; called again, it changes nothing."""
        if self._producer is None:
            self._producer = Producer({**self._config, **_SETTINGS, "error_cb": KafkaProblems()})
            self._thread.start()

    def _connected(self) -> Producer:
        assert self._producer is not None, "start() comes first"
        return self._producer

    async def publish(self, records: Sequence[Record]) -> None:
        """Publish and wait for every acknowledgement.

        Raises:
            PublishError: a record is refused.
            ConfigError: this user may not write there.
        """
        if not records:
            return
        pending, sent = _Pending(), 0
        while (sent := self._produce(records, sent, pending)) < len(records):  # noqa: ASYNC110 - librdkafka has no event
            # Its queue is full because the broker is slow or away: the publishing thread empties it.
            await asyncio.sleep(_POLL_S)
        self._on_the_way.put(pending)
        await pending.future

    def _produce(self, records: Sequence[Record], sent: int, pending: _Pending) -> int:
        """Hand records over from the one at `sent` on; returns how many are handed over now."""
        produce, failed = self._connected().produce, pending.failed
        try:
            for record in records[sent:]:
                produce(record.topic, record.value, record.key, record.partition, failed, headers=record.headers)
                sent += 1
        except BufferError:
            return sent
        except KafkaException as exc:
            raise PublishError(f"Kafka refused a record for {records[sent].topic}: {exc.args[0].str()}") from exc
        return sent

    def _serve(self) -> None:
        """The publishing thread: wait with each batch until the queue is empty, and hear of errors meanwhile."""
        producer = self._connected()
        while not self._stopping.is_set():
            try:
                pending = self._on_the_way.get(timeout=_POLL_S)
            except queue.Empty:
                producer.poll(0)
                continue
            while producer.flush(_POLL_S):
                if self._stopping.is_set():
                    return
            pending.ended()

    def close(self) -> None:
        """Stop; what was not confirmed was not acknowledged either."""
        if self._producer is None:
            return
        self._producer.flush(_FLUSH_S)
        self._stopping.set()
        self._thread.join(_FLUSH_S)
