"""The `index` role: outcomes from `processed_transactions` into OpenSearch."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from time import perf_counter

import structlog
from confluent_kafka import Message
from opensearchpy import OpenSearch

from features.errors import DecodeError
from features.outage import Outage
from sinks.bulk import BulkWriter, back_off
from sinks.documents import Document, outcome_document
from sinks.index_template import setup_index
from sinks.label_store import LabelStore
from sinks.opensearch import connect
from streams.rejected import OnRejected, Rejected
from streams.role import Chunk, Told, Turn
from streams.settings import Settings
from streams.watch.metrics import IndexMetrics
from streams.watch.stages import log_batch

log = structlog.get_logger(__name__)


Decoded = tuple[list[Message], list[Document], list[Rejected]]
"""Records and their documents, in one order; and the records that are no outcomes."""


class IndexHandler:
    """Indexes outcomes; what cannot be indexed is handed to `on_rejected`, never dropped.

    Delivery: at least once. What `process` returns is done when every record is stored in OpenSearch or taken by
    `on_rejected`; while OpenSearch is away it waits. A batch is decoded while the one before is written, and written
    after it: of two outcomes of one transaction the later one stays.

    Args:
        settings: where OpenSearch is, and the index prefix.
        on_rejected: makes rejected records durable before it returns (dead letters).
        now_ms: the clock, epoch milliseconds.
        metrics: counters of this process.
        outage: of OpenSearch.
    """

    def __init__(
        self,
        settings: Settings,
        on_rejected: OnRejected,
        now_ms: Callable[[], int],
        *,
        metrics: IndexMetrics,
        outage: Outage,
    ) -> None:
        self._settings = settings
        self._metrics, self._outage = metrics, outage
        self._on_rejected = on_rejected
        self._now_ms = now_ms
        self._client: OpenSearch | None = None
        self._writer: BulkWriter | None = None
        self._labels: LabelStore | None = None

    async def start(self) -> None:
        """Put the index template in place, waiting for OpenSearch up to `startup_wait_s`.

        Raises:
            ServerUnavailable: OpenSearch did not answer in that time.
            ConfigError: URL, certificate or credentials cannot be used.
            IndexingError: OpenSearch refuses the template.
        """
        self._client = opensearch_client(self._settings)
        prepare = partial(setup_index, self._client, self._settings.index_prefix)
        async for attempt in back_off(self._outage, give_up_s=self._settings.startup_wait_s):
            with attempt:
                await asyncio.to_thread(prepare)
        self._outage.answered()
        self._writer = BulkWriter(self._client, prepare, self._outage)
        self._labels = LabelStore(self._client, self._writer, self._settings.index_prefix, self._outage)

    async def assigned(self, positions: dict[int, int | None]) -> Mapping[int, int]:  # noqa: ARG002 - the protocol's signature
        """Nothing to do: documents overwrite themselves, whoever writes them."""
        return {}

    async def process(self, chunks: Sequence[Chunk], turn: Turn) -> Awaitable[Told]:
        """Index the outcomes of the chunks; the writing is what is returned."""
        stages = self._metrics.stages
        stages.begin(chunks, self._now_ms())
        decoded = self._decode(chunks)
        stages.lap("decode")
        taken_s = stages.taken_s
        await turn()
        return self._write(chunks, decoded, taken_s)

    def hurry(self) -> None:
        """No file of this role changes while it runs."""

    async def stop(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await asyncio.to_thread(self._client.close)

    async def _write(self, chunks: Sequence[Chunk], decoded: Decoded, taken_s: dict[str, float]) -> Told:
        """Store the documents of a batch.

        Raises:
            ConfigError: the credentials are refused.
            IndexingError: OpenSearch refuses requests as such.
        """
        assert self._writer is not None, "start comes first"
        assert self._labels is not None, "likewise"
        began_s = perf_counter()
        records, documents, rejected = decoded
        replaced: set[int] = set()
        for refusal in await self._writer.write(documents, replaced):
            record, document = records[refusal.position], documents[refusal.position]
            rejected.append(Rejected(record, "poison", f"OpenSearch refuses the document: {refusal.reason}"))
            _log_rejected(rejected[-1], index=document.index, id=document.id)
        if replaced:
            # Written again (a replay, a copy), a document has lost its label.
            await self._labels.restore([documents[at] for at in sorted(replaced)])
        if rejected:
            await self._on_rejected(rejected)
        taken_s["write"] = perf_counter() - began_s
        reasons = Counter(item.reason for item in rejected)

        def tell() -> None:
            self._metrics.batch(taken_s, len(records) - reasons["poison"], reasons)
            log_batch(log, taken_s, chunks, documents=len(documents), rejected=dict(reasons))

        return tell

    def _decode(self, chunks: Sequence[Chunk]) -> Decoded:
        records: list[Message] = []
        documents: list[Document] = []
        rejected: list[Rejected] = []
        now_ms = self._now_ms()
        for record in (record for chunk in chunks for record in chunk.records):
            try:
                document = outcome_document(
                    record.value(), index_prefix=self._settings.index_prefix, indexed_at_ms=now_ms
                )
            except DecodeError as exc:
                rejected.append(Rejected(record, exc.reason, exc.detail))
                _log_rejected(rejected[-1])
            else:
                records.append(record)
                documents.append(document)
        return records, documents, rejected


def opensearch_client(settings: Settings) -> OpenSearch:
    """The client that the settings describe; raises ConfigError where they cannot be used."""
    return connect(
        settings.opensearch_url.get_secret_value(),
        username=settings.opensearch_username,
        password=settings.opensearch_password.get_secret_value(),
        ca_path=settings.opensearch_ssl_ca,
    )


def _log_rejected(rejected: Rejected, **where: str) -> None:
    record = rejected.record
    log.error(
        "outcome_rejected",
        reason=rejected.reason,
        detail=rejected.detail,
        topic=record.topic(),
        partition=record.partition(),
        offset=record.offset(),
        **where,
    )
