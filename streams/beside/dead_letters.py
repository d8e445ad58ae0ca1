"""Dead letters into OpenSearch, without what was in the record: why, which one, when."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial

from confluent_kafka import Message
from opensearchpy import OpenSearch

from features.outage import Outage
from sinks.bulk import BulkWriter
from sinks.dead_letter_documents import dead_letter_document
from sinks.index_template import setup_index
from streams.beside.metrics import DeadLetterMetrics
from streams.beside.source import Fail, SideSource
from streams.intake import offset_of


class DeadLetterService:
    """Carries dead letters.

    Args:
        topic: full name.
        config: of the consumer.
        client: of OpenSearch, this service's own.
        index_prefix: put before every index name.
        metrics: counters of this process.
        outage: of OpenSearch.
    """

    def __init__(
        self,
        topic: str,
        config: Mapping[str, str | int | bool],
        client: OpenSearch,
        index_prefix: str,
        *,
        metrics: DeadLetterMetrics,
        outage: Outage,
    ) -> None:
        self._client, self._prefix, self._metrics = client, index_prefix, metrics
        self._writer = BulkWriter(client, partial(setup_index, client, index_prefix), outage)
        self._source = SideSource(topic, config, self.take)

    async def start(self, fail: Fail) -> None:
        """Read dead letters."""
        await self._source.start(fail)

    async def stop(self) -> None:
        """Leave the group, close the connections."""
        await self._source.stop()
        await asyncio.to_thread(self._client.close)

    async def take(self, records: Sequence[Message]) -> None:
        """Store a batch of dead letters.

        Raises:
            ConfigError: the credentials are refused.
            IndexingError: OpenSearch refuses requests as such.
        """
        documents = [
            dead_letter_document(
                record.value(),
                place=(record.partition() or 0, offset_of(record)),
                written_ms=record.timestamp()[1],
                index_prefix=self._prefix,
            )
            for record in records
        ]
        await self._writer.write(documents)  # a handful of checked fields: the engine has nothing to refuse
        self._metrics.took(len(documents))
