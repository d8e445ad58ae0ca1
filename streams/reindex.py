"""Index the topic of the outcomes anew, beside the indices that are read, and swap: `fraudstream reindex`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import msgspec
import structlog
from confluent_kafka import Message
from opensearchpy import OpenSearch
from opensearchpy.helpers import scan

from features.errors import DecodeError
from features.outage import Outage
from features.times import format_rfc3339, parse_rfc3339
from sinks.bulk import BulkWriter
from sinks.documents import INDEX_ALIAS, OLDER_SUFFIX, Document, index_name, outcome_document
from sinks.generations import Generations, Plan
from sinks.index_template import setup_index
from sinks.label_store import LabelStore
from sinks.labels import put_document, put_label
from sinks.opensearch import mapped_errors
from sinks.side_indices import LABELS_ALIAS
from streams.repair.topic_reader import Span, TopicReader

log = structlog.get_logger(__name__)

Show = Callable[[int, int | None], None]

_SAVE_EVERY: Final = 20_000
_READERS_S: Final = 2.0
# Clocks of the workers that index labels may differ from ours.
_CLOCKS_MS: Final = 10 * 60_000


class Reindexed(msgspec.Struct, frozen=True):
    """What was done.

    Attributes:
        generation: number of the new indices.
        indices: how many.
        from_topic: outcomes read from the topic into them, by this run.
        copied: documents that the topic no longer had.
        labels: labels given meanwhile and put on.
        passed_over: records that are no outcomes, or of days that are not being rebuilt.
    """

    generation: int
    indices: int
    from_topic: int
    copied: int
    labels: int
    passed_over: int


class Reindexer:
    """Builds a generation of indices and puts it in place.

    Readers see the old indices until the new ones have everything. In the last moment writers are held up: they wait,
    the rest of the topic is read, and the new indices take over under the same names, in one step. What was done is
    kept in the cluster, so an interrupted run goes on where it was.

    Args:
        reader: of the topic of the outcomes.
        client: of OpenSearch.
        index_prefix: put before every index name.
        now_ms: the clock, epoch milliseconds.
    """

    def __init__(self, reader: TopicReader, client: OpenSearch, index_prefix: str, now_ms: Callable[[], int]) -> None:
        self._reader, self._client, self._prefix, self._now_ms = reader, client, index_prefix, now_ms
        outage = Outage("opensearch", "FRAUD_OPENSEARCH_URL")
        self._writer = BulkWriter(client, partial(setup_index, client, index_prefix), outage)
        self._labels = LabelStore(client, self._writer, index_prefix, outage)
        self._generations = Generations(client, index_prefix)
        self._from_topic = self._passed_over = 0

    async def run(self, show: Show) -> Reindexed | None:
        """Do what is left to do; None where there is nothing to rebuild.

        Raises:
            ServerUnavailable: a server does not answer; run again, it goes on.
            ConfigError: a server refuses the user.
            IndexingError: OpenSearch refuses something, or a new index would lack documents.
        """
        setup_index(self._client, self._prefix)
        plan = self._generations.load()
        if plan is not None and self._generations.is_shown(plan):
            self._generations.finish(plan)  # killed between the last two steps
            return Reindexed(plan.generation, len(plan.indices), 0, 0, 0, 0)
        if plan is None:
            plan = self._generations.plan(await self._starts(), self._now_ms())
        else:
            log.info("reindex_resumed", generation=plan.generation, positions=plan.positions)
        if not plan.indices:
            self._generations.forget()
            return None
        self._generations.make(plan)
        plan = await self._read(plan, show)
        copied = self._generations.copy_rest(plan)
        plan, labels = await self._take_over(plan, show)
        # Searches that began before the step may still be at the old indices: deleted now, they would lack a part.
        await asyncio.sleep(_READERS_S)
        self._generations.finish(plan)
        return Reindexed(plan.generation, len(plan.indices), self._from_topic, copied, labels, self._passed_over)

    async def _take_over(self, plan: Plan, show: Show) -> tuple[Plan, int]:
        # Most of what came meanwhile is read before writers are held up.
        plan = await self._read(plan, show)
        self._generations.freeze(plan, frozen=True)
        try:
            plan = await self._read(plan, show)
            labels = await self._put_new_labels(plan)
            self._generations.check(plan)
            self._generations.show(plan)
        except BaseException:
            self._generations.freeze(plan, frozen=False)
            raise
        return plan, labels

    async def _starts(self) -> dict[int, int]:
        reader = self._reader
        return {p: (await reader.run(partial(reader.bounds, p)))[0] for p in range(await reader.run(reader.partitions))}

    async def _read(self, plan: Plan, show: Show) -> Plan:
        """Bring the new indices up to the end of the topic, as it is now."""
        reader = self._reader
        spans = []
        for partition in range(await reader.run(reader.partitions)):
            low, high = await reader.run(partial(reader.bounds, partition))
            spans.append(Span(partition, max(plan.positions.get(partition, 0), low), high))
        await reader.run(partial(reader.begin, spans))
        done, total, unsaved = 0, sum(map(len, spans)), 0
        while not reader.done():
            records = await reader.run(reader.take)
            await self._write(plan, records)
            done, unsaved = done + len(records), unsaved + len(records)
            show(done, total)
            if unsaved >= _SAVE_EVERY:
                plan, unsaved = self._saved(plan, spans), 0
        return self._saved(plan, spans)

    def _saved(self, plan: Plan, spans: Sequence[Span]) -> Plan:
        positions = {
            span.partition: self._reader.position(span.partition) if len(span) else span.start for span in spans
        }
        plan = msgspec.structs.replace(plan, positions=positions)
        self._generations.save(plan)
        return plan

    async def _write(self, plan: Plan, records: Sequence[Message]) -> None:
        documents: list[Document] = []
        for record in records:
            try:
                made = outcome_document(record.value(), index_prefix=self._prefix, indexed_at_ms=self._now_ms())
            except DecodeError:
                self._passed_over += 1  # the index role has written its dead letter
                continue
            if (target := plan.target(made.index)) is None:
                self._passed_over += 1  # deleted by retention, or begun under the new template
                continue
            documents.append(msgspec.structs.replace(made, index=target))
        refused = await self._writer.write(self._labelled(documents))
        self._passed_over += len(refused)
        self._from_topic += len(documents) - len(refused)

    def _labelled(self, documents: list[Document]) -> list[Document]:
        """The documents with the labels that stand for them."""
        stands = self._labels.standing_of({document.id for document in documents})
        if not stands:
            return documents
        return [
            _with_label(document, stands[document.id]) if document.id in stands else document for document in documents
        ]

    async def _put_new_labels(self, plan: Plan) -> int:
        """Put labels on that were given since the building began; those before were put on as documents were read."""
        since = format_rfc3339(max(plan.began_ms - _CLOCKS_MS, 0))
        query = {"query": {"bool": {"filter": [{"term": {"known": 1}}, {"range": {"indexed_at": {"gte": since}}}]}}}
        with mapped_errors():
            self._client.indices.refresh(index=f"{self._prefix}{LABELS_ALIAS}", params={"ignore_unavailable": "true"})
            found = [
                hit["_source"]
                for hit in scan(
                    self._client, index=f"{self._prefix}{LABELS_ALIAS}", query=query, ignore_unavailable=True
                )
            ]
        updates = [put_document(index, fields) for fields in found for index in self._targets(plan, fields)]
        # Of the two places where a document may be, one refuses: it is not there.
        await self._writer.write(updates)
        return len(found)

    def _targets(self, plan: Plan, fields: dict[str, Any]) -> list[str]:
        event_ms = parse_rfc3339(fields.get("event_time", "")) or 0
        names = (index_name(event_ms, event_ms, self._prefix), f"{self._prefix}{INDEX_ALIAS}-{OLDER_SUFFIX}")
        return [target for name in names if (target := plan.target(name)) is not None]


def _with_label(document: Document, standing: dict[str, Any]) -> Document:
    fields = msgspec.json.decode(document.body)
    put_label(fields, standing)
    return msgspec.structs.replace(document, body=msgspec.json.encode(fields))
