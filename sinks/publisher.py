"""Confirmed publish: a batch of records is published when every broker acknowledgement has come, or it is an error."""

from __future__ import annotations

import asyncio
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
    "linger.ms": 0,
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
    """Counts the delivery reports of one batch; the last one, or the first error, resolves its future."""

    def __init__(self, count: int) -> None:
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[None] = self.loop.create_future()
        self.left = count
        self.error: KafkaError | None = None

    def report(self, error: KafkaError | None, _message: Message) -> None:
        """Called by librdkafka, in the polling thread."""
        self.left -= 1
        self.error = self.error or error
        if self.left == 0:
            self.loop.call_soon_threadsafe(self._resolve)

    def _resolve(self) -> None:
        if self.future.done():
            return
        if self.error is None:
            self.future.set_result(None)
        else:
            said = f"Kafka did not take a record: {self.error.str()}"
            self.future.set_exception(refusal_of(self.error) or PublishError(said))


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
        self._thread = threading.Thread(target=self._poll, name="kafka-publish", daemon=True)

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
        pending = _Pending(len(records))
        for record in records:
            await self._produce(record, pending)
        await pending.future

    async def _produce(self, record: Record, pending: _Pending) -> None:
        while True:
            try:
                self._connected().produce(
                    record.topic,
                    value=record.value,
                    key=record.key,
                    headers=record.headers,
                    partition=record.partition,
                    on_delivery=pending.report,
                )
            except BufferError:
                # librdkafka's queue is full because the broker is slow or away: the polling thread empties it.
                await asyncio.sleep(_POLL_S)
            except KafkaException as exc:
                raise PublishError(f"Kafka refused a record for {record.topic}: {exc.args[0].str()}") from exc
            else:
                return

    def _poll(self) -> None:
        while not self._stopping.is_set():
            self._connected().poll(_POLL_S)

    def close(self) -> None:
        """Stop polling; what was not confirmed was not acknowledged either."""
        if self._producer is None:
            return
        self._producer.flush(_FLUSH_S)
        self._stopping.set()
        self._thread.join(_FLUSH_S)
