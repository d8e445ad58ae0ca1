"""What must reach Kafka: published at once, and again until Kafka has confirmed it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from console.notes import Entry, Notes
from features.errors import ConfigError, FraudstreamError, PublishError, ServerUnavailable
from features.outage import Outage
from sinks.publisher import Publisher, Record

log = structlog.get_logger(__name__)

CONFIRM_S: Final = 3.0
"""How long a page waits for Kafka before it says that the answer is kept."""
_SWEEP_S: Final = 2.0
# An entry of another console process is left to it for this long.
_OTHERS_MS: Final = 10_000


class Outbox:
    """Publishes what Redis keeps for Kafka.

    Delivery: at least once. An entry leaves Redis when Kafka has confirmed all of its records; while Kafka is away it
    stays, and every console process with the same Redis sends it again. Its records have ids, by which a repeat counts
    once.

    Args:
        notes: where the entries are.
        publisher: confirmed publish.
        outage: of Kafka.
        now_ms: the clock, epoch milliseconds.
    """

    def __init__(self, notes: Notes, publisher: Publisher, outage: Outage, now_ms: Callable[[], int]) -> None:
        self._notes, self._publisher, self._outage, self._now_ms = notes, publisher, outage, now_ms
        self._under_way: dict[str, asyncio.Task[bool]] = {}
        self._sweeper: asyncio.Task[None] | None = None
        self.waiting = 0

    def start(self) -> None:
        """Connect, and look after what is left over."""
        self._publisher.start()
        self._sweeper = asyncio.create_task(self._sweep())

    async def stop(self) -> None:
        """Stop; what is not confirmed stays in Redis."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        if self._under_way:
            await asyncio.wait(self._under_way.values(), timeout=CONFIRM_S)
        for task in list(self._under_way.values()):
            task.cancel()
        await asyncio.to_thread(self._publisher.close)

    def send(self, entry_id: str, entry: Entry) -> None:
        """Publish an entry without waiting for it."""
        if entry_id not in self._under_way:
            self._begin(entry_id, entry)

    async def arrived(self, entry_id: str) -> bool:
        """Whether Kafka has confirmed an entry that was put in before, by this process or another."""
        if (task := self._under_way.get(entry_id)) is not None:
            return await self._in_time(task)
        return not await self._notes.waits(entry_id)

    async def deliver(self, entry_id: str, entry: Entry) -> bool:
        """Publish an entry; says whether Kafka has confirmed it in time. If not, it is sent until it has."""
        return await self._in_time(self._under_way.get(entry_id) or self._begin(entry_id, entry))

    async def _in_time(self, task: asyncio.Task[bool]) -> bool:
        try:
            return await asyncio.wait_for(asyncio.shield(task), CONFIRM_S)
        except TimeoutError:
            self._outage.failed("a record is not confirmed yet")
            return False

    def _begin(self, entry_id: str, entry: Entry) -> asyncio.Task[bool]:
        task = asyncio.create_task(self._carry(entry_id, entry))
        self._under_way[entry_id] = task
        task.add_done_callback(lambda _: self._under_way.pop(entry_id, None))
        return task

    async def _carry(self, entry_id: str, entry: Entry) -> bool:
        records = [Record(one.topic, one.key.encode(), one.value.encode(), []) for one in entry.parcels]
        try:
            await self._publisher.publish(records)
        except (PublishError, ConfigError) as exc:
            # A right that is missing, a topic that is not there: it stays in Redis, and is tried again.
            self._outage.failed(str(exc))
            return False
        self._outage.answered()
        try:
            await self._notes.confirmed([entry_id])
        except ServerUnavailable:
            log.warning("outbox_entry_will_come_again", entry=entry_id)
        return True

    async def _sweep(self) -> None:
        unread = False
        while True:
            await asyncio.sleep(_SWEEP_S)
            try:
                left = await self._notes.outbox()
            except FraudstreamError as exc:
                if not unread:
                    log.warning("outbox_not_read", problem=str(exc))
                unread = True
                continue
            unread = False
            self.waiting = len(left)
            for entry_id, entry in sorted(left.items(), key=lambda item: item[1].at_ms):
                if self._now_ms() - entry.at_ms > _OTHERS_MS:
                    self.send(entry_id, entry)
