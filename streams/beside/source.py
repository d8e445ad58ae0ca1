"""A second topic for a role: its own group and poll thread, its records handed to a coroutine batch by batch.

Faust carries the one topic that a role is for. What comes beside it is little, must not wait for that topic or hold it
up, and needs nothing of Faust: the same `Poller` does.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final, Protocol

from confluent_kafka import Message

from streams.poller import Poller
from streams.role import Chunk
from streams.watch.lag import Progress

Take = Callable[[Sequence[Message]], Awaitable[None]]
"""Makes records durable before it returns."""
Fail = Callable[[BaseException], None]
"""Ends the process without acknowledging anything more."""

_BATCH: Final = 1_000
_DRAIN_S: Final = 10.0
_CLOSE_S: Final = 10.0
_REVOKE_S: Final = 60.0


class Service(Protocol):
    """Something that runs beside a role's batches."""

    async def start(self, fail: Fail) -> None:
        """Begin; `fail` ends the process."""
        ...

    async def stop(self) -> None:
        """End what is in hand and release connections."""
        ...


class SideSource:
    """Reads a topic for a group of its own.

    Delivery: at least once; offsets are committed once `take` has returned. What it raises ends the process.

    Args:
        topic: full name.
        config: librdkafka settings, group id among them.
        take: see `Take`.
    """

    def __init__(self, topic: str, config: Mapping[str, str | int | bool], take: Take) -> None:
        self._take = take
        self._poller = Poller(config, topic, self)
        self._queue: asyncio.Queue[tuple[int, list[Chunk]]] = asyncio.Queue()
        self._generation = 0
        self._idle = threading.Event()
        self._idle.set()
        self._stopping = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._fail: Fail = _unheard
        self._task: asyncio.Task[None] | None = None

    async def start(self, fail: Fail) -> None:
        """Join the group."""
        self._loop, self._fail = asyncio.get_running_loop(), fail
        self._task = asyncio.create_task(self._work())
        self._poller.start()

    async def stop(self) -> None:
        """Finish the batch in hand, if that does not take long, and leave the group."""
        self._stopping = True
        await asyncio.to_thread(self._idle.wait, _DRAIN_S)
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await asyncio.to_thread(self._poller.close, commit=True, timeout_s=_CLOSE_S)

    async def _work(self) -> None:
        try:
            while True:
                self._poller.want(_BATCH)
                generation, chunks = await self._queue.get()
                self._idle.clear()
                try:
                    if generation == self._generation and not self._stopping:
                        await self._take([record for chunk in chunks for record in chunk.records])
                        self._poller.done({c.partition: int(c.records[-1].offset() or 0) + 1 for c in chunks})
                finally:
                    self._idle.set()
        except Exception as exc:  # noqa: BLE001 - as in the role itself: unexpected errors end the process
            self._fail(exc)

    # -- Listener: called in the poll thread ------------------------------------------------------------------------

    def on_chunks(self, chunks: list[Chunk]) -> None:
        """Hand records over to the loop, marked with the assignment they were read in."""
        self._call(self._queue.put_nowait, (self._generation, chunks))

    def on_assigned(self, positions: Mapping[int, int | None]) -> None:  # noqa: ARG002 - the listener's signature
        """Nothing to prepare: let the partitions flow."""
        self._generation += 1
        self._poller.resume()

    def on_revoked(self, partitions: frozenset[int], *, lost: bool) -> None:  # noqa: ARG002 - as above
        """Wait for the batch in hand, unless the partitions are another's already."""
        self._generation += 1
        if not lost and not self._stopping:
            self._idle.wait(_REVOKE_S)

    def on_settled(self) -> None:
        """Nothing waits for a commit."""

    def on_progress(self, progress: Mapping[int, Progress], *, connected: bool) -> None:
        """The role's own consumer tells whether Kafka answers."""

    def on_failure(self, error: BaseException) -> None:
        """The poll thread has ended."""
        self._call(self._fail, error)

    def _call(self, function: Callable[..., object], argument: object) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, argument)


def _unheard(error: BaseException) -> None:
    raise error
