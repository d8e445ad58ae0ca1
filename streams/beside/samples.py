"""How far the consumer groups are behind, sampled into OpenSearch for those who look at dashboards."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

import msgspec
import structlog
from confluent_kafka import Consumer, KafkaException, TopicPartition
from opensearchpy import OpenSearch

from features.outage import Outage
from sinks.bulk import BulkWriter
from sinks.index_template import setup_index
from sinks.kafka_problems import KafkaProblems
from sinks.operations import lag_document
from streams.beside.source import Fail

log = structlog.get_logger(__name__)

_REQUEST_S: Final = 5.0


class Watched(msgspec.Struct, frozen=True):
    """A consumer group and the one topic that it reads."""

    role: str
    group: str
    topic: str


class SampleService:
    """Writes the lag of each group every so often.

    A moment at which Kafka does not answer has no sample: the gap in the chart says so. Moments are multiples of the
    interval, so several workers write the same documents.

    Args:
        kafka: librdkafka's settings that reach the brokers.
        watched: the groups.
        every_s: seconds between two samples.
        client: of OpenSearch, this service's own.
        index_prefix: put before every index name.
        now_ms: the clock, epoch milliseconds.
        outage: of OpenSearch.
    """

    def __init__(
        self,
        kafka: Mapping[str, str],
        watched: Sequence[Watched],
        every_s: int,
        client: OpenSearch,
        index_prefix: str,
        now_ms: Callable[[], int],
        *,
        outage: Outage,
    ) -> None:
        self._kafka: dict[str, Any] = {
            **kafka,
            "log_level": 0,
            "error_cb": KafkaProblems(),
            "enable.auto.commit": False,
        }
        self._watched, self._every_ms = watched, every_s * 1000
        self._client, self._prefix, self._now_ms = client, index_prefix, now_ms
        self._writer = BulkWriter(client, partial(setup_index, client, index_prefix), outage)
        self._task: asyncio.Task[None] | None = None
        self._missed = False

    async def start(self, fail: Fail) -> None:
        """Begin with a sample."""
        self._task = asyncio.create_task(self._run(fail))

    async def stop(self) -> None:
        """No more samples."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await asyncio.to_thread(self._client.close)

    async def _run(self, fail: Fail) -> None:
        try:
            while True:
                at_ms = self._now_ms() // self._every_ms * self._every_ms
                lags = await asyncio.to_thread(self._lags)
                await self._writer.write(
                    [
                        lag_document(
                            at_ms=at_ms, role=one.role, group=one.group, topic=one.topic, lag=lag,
                            index_prefix=self._prefix,
                        )
                        for one, lag in lags
                    ]
                )  # fmt: skip
                await asyncio.sleep((at_ms + self._every_ms - self._now_ms()) / 1000)
        except Exception as exc:  # noqa: BLE001 - as in the role itself: unexpected errors end the process
            fail(exc)

    def _lags(self) -> list[tuple[Watched, int]]:
        """Each group's lag; those that have committed nothing are left out, and all of them where Kafka is away."""
        found = []
        try:
            for one in self._watched:
                lag = self._lag(one)
                if lag is not None:
                    found.append((one, lag))
        except KafkaException as exc:
            if not self._missed:  # said once: a chart with gaps is no reason to fill a log
                log.warning("lag_not_sampled", group=one.group, problem=exc.args[0].str())
            self._missed = True
        else:
            self._missed = False
        return found

    def _lag(self, one: Watched) -> int | None:
        # A consumer that never joins: librdkafka's admin client aborts the process (an assertion of its own) when a
        # question about a group's offsets times out while its coordinator is away.
        asker = Consumer({**self._kafka, "group.id": one.group})
        try:
            topic = asker.list_topics(one.topic, timeout=_REQUEST_S).topics[one.topic]
            places = [TopicPartition(one.topic, partition) for partition in topic.partitions]
            committed = [place for place in asker.committed(places, timeout=_REQUEST_S) if place.offset >= 0]
            if not committed:
                return None
            return sum(max(self._end(asker, place) - place.offset, 0) for place in committed)
        finally:
            asker.close()

    @staticmethod
    def _end(asker: Consumer, place: TopicPartition) -> int:
        _, end = asker.get_watermark_offsets(place, timeout=_REQUEST_S)
        return int(end)
