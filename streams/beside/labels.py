"""Labels from `fraud_labels` into OpenSearch, and onto their transactions."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

import structlog
from confluent_kafka import Message
from opensearchpy import OpenSearch

from features.errors import DecodeError
from features.outage import Outage
from scoring.label import Label, decode_label
from sinks.bulk import BulkWriter
from sinks.index_template import setup_index
from sinks.label_store import LabelStore
from streams.beside.metrics import LabelMetrics
from streams.beside.source import Fail, SideSource
from streams.rejected import OnRejected, Rejected

log = structlog.get_logger(__name__)

_SETTLE_S: Final = 5.0


class LabelService:
    """Carries labels; what is no label is handed to `on_rejected`, never dropped.

    Args:
        topic: full name.
        config: of the consumer.
        client: of OpenSearch, this service's own.
        index_prefix: put before every index name.
        on_rejected: makes rejected records durable before it returns.
        now_ms: the clock, epoch milliseconds.
        metrics: counters of this process.
        outage: of OpenSearch.
    """

    def __init__(
        self,
        topic: str,
        config: Mapping[str, str | int | bool],
        client: OpenSearch,
        index_prefix: str,
        on_rejected: OnRejected,
        now_ms: Callable[[], int],
        *,
        metrics: LabelMetrics,
        outage: Outage,
    ) -> None:
        self._client = client
        writer = BulkWriter(client, partial(setup_index, client, index_prefix), outage)
        self._store = LabelStore(client, writer, index_prefix, outage)
        self._on_rejected, self._now_ms, self._metrics = on_rejected, now_ms, metrics
        self._source = SideSource(topic, config, self.take)
        self._settling: asyncio.Task[None] | None = None

    async def start(self, fail: Fail) -> None:
        """Read labels, and look now and then for transactions that were not there."""
        await self._source.start(fail)
        self._settling = asyncio.create_task(self._settle(fail))

    async def stop(self) -> None:
        """Leave the group, close the connections."""
        await self._source.stop()
        if self._settling is not None:
            self._settling.cancel()
            with suppress(asyncio.CancelledError):
                await self._settling
        await asyncio.to_thread(self._client.close)

    async def take(self, records: Sequence[Message]) -> None:
        """Store a batch of labels.

        Raises:
            ConfigError: the credentials are refused.
            IndexingError: OpenSearch refuses requests as such.
        """
        labels: list[Label] = []
        kept: list[Message] = []
        rejected: list[Rejected] = []
        for record in records:
            try:
                labels.append(decode_label(record.value()))
            except DecodeError as exc:
                rejected.append(Rejected(record, exc.reason, exc.detail))
            else:
                kept.append(record)
        rejected += [
            Rejected(kept[refusal.position], "poison", f"OpenSearch refuses the label: {refusal.reason}")
            for refusal in await self._store.write(labels, self._now_ms())
        ]
        if rejected:
            await self._on_rejected(rejected)
        for item in rejected:
            _log(item)
        self._metrics.took(Counter(label.label for label in labels), Counter(item.reason for item in rejected))

    async def _settle(self, fail: Fail) -> None:
        try:
            while True:
                await asyncio.sleep(_SETTLE_S)
                self._metrics.waiting(await self._store.settle(self._now_ms()))
        except Exception as exc:  # noqa: BLE001 - as in the role itself: unexpected errors end the process
            fail(exc)


def _log(item: Rejected) -> None:
    record = item.record
    log.error(
        "label_rejected",
        reason=item.reason,
        detail=item.detail,
        topic=record.topic(),
        partition=record.partition(),
        offset=record.offset(),
    )
