"""Carries the audit trail from its topic to OpenSearch, where the console reads it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import msgspec
import structlog
from confluent_kafka import Consumer, KafkaException, Message
from opensearchpy import OpenSearch

from console.audit_index import audit_index, setup_audit_index
from console.cases import CaseKey
from console.events import ReviewEvent, decode_event
from features.errors import FraudstreamError
from features.outage import Outage
from sinks.bulk import BulkWriter
from sinks.documents import Document
from sinks.kafka_problems import KafkaProblems

log = structlog.get_logger(__name__)

_MOST: Final = 500
_POLL_S: Final = 0.3
_AGAIN_S: Final = 5.0
_SETTINGS: Final[dict[str, Any]] = {
    "enable.auto.commit": False,
    "auto.offset.reset": "earliest",
    "allow.auto.create.topics": False,
    "log_level": 0,
}


class Carrier:
    """Reads `review_audit` as the group `<prefix>-console`; console processes share its partitions.

    Delivery: at least once, under the event's id. OpenSearch may be away for as long as it likes: the events wait in
    Kafka.

    Args:
        kafka: librdkafka settings that reach the brokers.
        topic: full name.
        group: consumer group.
        client: of OpenSearch.
        index_prefix: put before the index's name.
        outage: of OpenSearch.
    """

    def __init__(
        self,
        kafka: dict[str, str],
        *,
        topic: str,
        group: str,
        client: OpenSearch,
        index_prefix: str,
        outage: Outage,
    ) -> None:
        self._config = {**kafka, **_SETTINGS, "group.id": group, "error_cb": KafkaProblems()}
        self._topic, self._index = topic, audit_index(index_prefix)
        self._prepare = partial(setup_audit_index, client, index_prefix)
        self._writer = BulkWriter(client, self._prepare, outage)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._carry())

    async def stop(self) -> None:
        """Stop; what is not committed is carried again."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _carry(self) -> None:
        consumer = Consumer(self._config)
        consumer.subscribe([self._topic])
        reading: asyncio.Task[list[Message]] | None = None
        try:
            while True:
                reading = asyncio.create_task(asyncio.to_thread(consumer.consume, _MOST, _POLL_S))
                messages = await asyncio.shield(reading)
                if documents := self._documents(messages):
                    await self._write(documents)
                if messages:
                    await asyncio.to_thread(self._commit, consumer)
        finally:
            if reading is not None:  # the consumer must not be closed under a thread that reads from it
                await asyncio.wait([reading])
            consumer.close()

    async def _write(self, documents: Sequence[Document]) -> None:
        """Store the documents; what OpenSearch refuses as such is tried again, and an operator sees it in the log."""
        while True:
            try:
                refused = await self._writer.write(documents)
            except FraudstreamError as exc:
                log.warning("audit_trail_not_indexed", problem=str(exc))
                await asyncio.sleep(_AGAIN_S)
                continue
            for refusal in refused:
                log.error("audit_event_refused", event_id=documents[refusal.position].id, problem=refusal.reason)
            return

    def _documents(self, messages: Sequence[Message]) -> list[Document]:
        found = []
        for message in messages:
            value = None if message.error() else message.value()
            event = None if value is None else decode_event(value)
            if event is not None:
                found.append(Document(self._index, event.event_id, _body(event)))
        return found

    def _commit(self, consumer: Consumer) -> None:
        try:
            consumer.commit(asynchronous=False)
        except KafkaException as exc:
            # The partitions went to another process meanwhile, or Kafka is away: the events come again.
            log.warning("audit_offsets_not_committed", problem=exc.args[0].str())


def _body(event: ReviewEvent) -> bytes:
    fields: dict[str, Any] = msgspec.to_builtins(event)
    if isinstance(event.card_id, str) and isinstance(event.transaction_id, str):
        fields["case"] = CaseKey(event.card_id, event.transaction_id).id
    return msgspec.json.encode(fields)
