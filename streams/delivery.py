"""Batch delivery for Faust: a librdkafka consumer where Faust expects its own. Knows Faust's inside.

Why not Faust's own: its fetch loop makes four asyncio tasks per message (about 10,000 events/s whatever an agent does),
and its commit logic can pass over an unacknowledged event. Here an agent takes lists of records, says when they are
done, and the offset committed is the one it said.

Private names of faust-streaming 0.15.3 relied on: `Consumer._drain_messages`, `_unacked_messages`, `_waiting_for_ack`,
`_clean_unacked_messages`, `app.topics._tp_index`, `app.consumer_generation_id`, `ThrowableQueue.force_put_nowait`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from time import monotonic
from typing import Any, ClassVar, Final, Protocol

from faust.transport.consumer import Consumer
from faust.types import TP
from mode.utils.futures import notify

from streams.poller import Poller
from streams.role import Chunk, Turn
from streams.turns import Again, Batch, InHand
from streams.watch.lag import Progress

# mode names a service's logger after its module; what Faust says of its services belongs with Faust's lines.
FAUST_LOG: Final = logging.getLogger("faust.services")

# A batch of less than so many records is followed at such a pace (`BatchConsumer.next_batch`).
_FEW: Final = 256
_PACE_S: Final = 0.007
_CLOSE_S: Final = 15.0
_STOP_CHECK_S: Final = 0.1
_REVOKE_S: Final = 240.0

Assigned = Callable[[dict[int, int | None]], Awaitable[Mapping[int, int]]]
"""Takes committed offsets; gives those up to which records come that had their effect before."""


class Progressed(Protocol):
    """Told in the poll thread where the assigned partitions stand, and whether a broker answers."""

    def __call__(self, progress: Mapping[int, Progress], /, *, connected: bool) -> None:
        """See the class."""
        ...


def unused(name: str) -> Callable[..., Any]:
    """A method that Faust's tables, transactions and seeks would call: never here, and not silently if ever."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError(f"Faust called {name}, which batch delivery does not serve")

    return refuse


class BatchConsumer(Consumer):
    """Faust's consumer service around a `Poller`; also the poller's listener."""

    logger = FAUST_LOG

    # Set by `BatchApp` before the service starts.
    config: ClassVar[Mapping[str, str | int | bool]]
    topic: ClassVar[str]
    assigned_hook: ClassVar[Assigned]
    failed_hook: ClassVar[Callable[[BaseException], None]]
    stopped_hook: ClassVar[Callable[[], Awaitable[None]]]
    progress_hook: ClassVar[Progressed]

    def __post_init__(self) -> None:
        self._positions: dict[TP, int | None] = {}
        self._in_hand, self._again = InHand(), Again()
        self._generation = 0
        self._draining = False
        self._abandoned = False
        self._assigning: Future[None] | None = None
        self._ending: Future[None] | None = None
        self._poller: Poller | None = None
        self._wanted = 0
        self._is_quiet, self._taken_s = True, 0.0
        super().__post_init__()

    # -- the agent's side -------------------------------------------------------------------------------------------

    async def next_batch(self, stream: Any, max_records: int) -> tuple[list[Chunk], Turn]:  # noqa: ANN401 - faust's own stream
        """Everything that is available now, up to a weight of about `max_records`, and what it waits for.

        Waits while there is nothing. Where there is much, the next batch is computed while this one is published. Where
        there is little, nothing is taken before this one is done, and that not all too often: taken earlier, records
        would only wait for their turn while others come that have to wait for the next, and a batch of one costs nearly
        as much as a batch of twenty. A record that comes alone waits for nothing.
        """
        channel = stream.channel
        while True:
            if self._is_quiet and channel.empty():
                await self._in_hand.idle.wait()
            chunks: list[Chunk] = []
            weight = 0
            while not (chunks and channel.empty()) and weight < max_records:
                if channel.empty():
                    self._want(max_records)
                generation, chunk = await channel.get()
                if generation == self._generation:
                    chunks.append(chunk)
                    weight += chunk.weight
            if self._draining:
                await asyncio.Event().wait()  # until the agent is cancelled: these records stay for the next start
            if chunks:
                break
        now_s = monotonic()
        self._is_quiet, self._taken_s = weight < min(_FEW, max_records), now_s
        generation = self._generation
        batch, turn = self._in_hand.take(lambda: generation == self._generation)
        self._unacked_messages.add(batch)  # type: ignore[arg-type]  # it only has to look like a message
        self.app.monitor.stream_inbound_time.update({TP(c.topic, c.partition): now_s for c in chunks})
        return chunks, turn

    def done(self, chunks: Sequence[Chunk]) -> None:
        """Every effect of the chunks, which were taken first, is durable: commit their offsets."""
        offsets = self._again.acknowledged(chunks)
        self._put_down(self._in_hand.done())
        self._poller_of().done(offsets)
        self._committed_offset.update({TP(self.topic, p): o for p, o in offsets.items()})

    def dropped(self) -> None:
        """The batch that was taken last was given up before it had any effect."""
        self._put_down(self._in_hand.dropped())

    def _put_down(self, batch: Batch) -> None:
        self._unacked_messages.discard(batch)  # type: ignore[arg-type]  # as above
        notify(self._waiting_for_ack)

    async def drain(self, timeout_s: float) -> bool:
        """Take no more batches and wait for the one in hand; False when it takes too long."""
        self._draining = True
        try:
            await asyncio.wait_for(self._in_hand.idle.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    def abandon(self, timeout_s: float) -> None:
        """Leave the group without acknowledging anything more."""
        self._abandoned = True
        if self._poller is not None:
            self._poller.close(commit=False, timeout_s=timeout_s)

    def _want(self, records: int) -> None:
        """Ask for records; the agent is there before the poll thread is."""
        self._wanted = records
        if self._poller is not None:
            self._poller.want(records, self._taken_s + _PACE_S if self._is_quiet else 0.0)

    def _poller_of(self) -> Poller:
        assert self._poller is not None
        return self._poller

    # -- Listener: called in the poll thread ------------------------------------------------------------------------

    def on_chunks(self, chunks: list[Chunk]) -> None:
        """Hand records over to the loop, marked with the assignment they were read in."""
        self.loop.call_soon_threadsafe(self._deliver, self._generation, chunks)

    def on_assigned(self, positions: Mapping[int, int | None]) -> None:
        """Begin an assignment; its partitions flow once the loop's side is ready."""
        self._generation += 1
        begun = self._start_assignment(dict(positions), self._generation)
        self._assigning = asyncio.run_coroutine_threadsafe(begun, self.loop)

    def on_revoked(self, partitions: frozenset[int], *, lost: bool) -> None:
        """End an assignment: wait for the batch in hand, unless the partitions are another's already."""
        self._generation += 1
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._in_hand.call_off)
        if self._abandoned or self.should_stop or self.loop.is_closed():
            return  # the loop waits for this thread, or is gone
        self._ending = asyncio.run_coroutine_threadsafe(self._end_assignment(partitions), self.loop)
        if not lost:
            self._ending.result(_REVOKE_S)

    def on_settled(self) -> None:
        """The offsets of the batch before are committed, or are another's to commit."""
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._in_hand.acknowledge)

    def on_progress(self, progress: Mapping[int, Progress], *, connected: bool) -> None:
        """Pass it on."""
        type(self).progress_hook(progress, connected=connected)

    def on_failure(self, error: BaseException) -> None:
        """The poll thread has ended."""
        self.loop.call_soon_threadsafe(type(self).failed_hook, error)

    # -- on the loop ------------------------------------------------------------------------------------------------

    def _deliver(self, generation: int, chunks: Iterable[Chunk]) -> None:
        if generation != self._generation:
            # Of an assignment that has ended: whoever owns the partitions now reads them again.
            self._want(self._wanted)
            return
        topics: Any = self.app.topics
        for chunk in chunks:
            channels = topics._tp_index.get(TP(chunk.topic, chunk.partition))  # noqa: SLF001
            if not channels:
                # Passed over, they would be acknowledged with the records after them.
                type(self).failed_hook(RuntimeError(f"partition {chunk.partition} was read before Faust knew of it"))
            for channel in channels or ():
                channel.queue.force_put_nowait((generation, chunk))

    async def _start_assignment(self, positions: dict[int, int | None], generation: int) -> None:
        try:
            if self._ending is not None:
                await asyncio.wrap_future(
                    self._ending
                )  # partitions that were lost are not waited for by the poll thread
            if not self.app.rebalancing:
                self.app.on_rebalance_start()
            self.app.consumer_generation_id = generation
            self._positions = {TP(self.topic, p): offset for p, offset in positions.items()}
            self._again.begin(await type(self).assigned_hook(positions))
            if generation == self._generation:
                await self.on_partitions_assigned(set(self._positions), generation)
        except Exception as exc:  # noqa: BLE001 - nothing awaits this task: whatever went wrong ends the process
            type(self).failed_hook(exc)

    async def _end_assignment(self, partitions: frozenset[int]) -> None:
        self.app.on_rebalance_start()
        self.stop_flow()
        await self.on_partitions_revoked({TP(self.topic, p) for p in partitions})
        self._positions = {tp: o for tp, o in self._positions.items() if tp.partition not in partitions}

    def resume_flow(self) -> None:
        """Faust says that the assignment is ready."""
        super().resume_flow()
        self._poller_of().resume()

    async def _drain_messages(self, fetcher: Any) -> None:  # noqa: ANN401 - faust types it two ways
        """Faust's fetch loop: records come from the poll thread instead, so there is only the stop to wait for."""
        while not fetcher.should_stop:  # noqa: ASYNC110 - mode tells a stop by a flag, and its own wait leaves a task behind
            await asyncio.sleep(_STOP_CHECK_S)

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Start the poll thread; Faust calls it again on every change of its topics, of which there is none."""
        if self._poller is None and set(topics):
            self._poller = Poller(self.config, self.topic, self)
            self._poller.start()
            self._want(self._wanted)

    async def on_stop(self) -> None:
        """Wait for the batch in hand, then leave the group with its offsets committed."""
        await self.wait_empty()
        if self._assigning is not None:
            self._assigning.cancel()  # it may wait for a server that is away
        if self._poller is not None:
            await asyncio.to_thread(self._poller.close, commit=True, timeout_s=_CLOSE_S)
        await type(self).stopped_hook()

    async def commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:  # noqa: ANN401, ARG002, FBT001, FBT002 - faust's signature
        """Offsets are committed by the poll thread as batches are done."""
        return False

    def _clean_unacked_messages(self) -> None:
        """A batch leaves the set in `done` and nowhere else."""

    def assignment(self) -> set[TP]:
        """Partitions owned now."""
        return set(self._positions)

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """The poll thread starts at the committed offsets; Faust only wants to know them."""
        return {tp: offset for tp, offset in self._positions.items() if offset is not None}

    def highwater(self, tp: TP) -> int:  # noqa: ARG002 - faust's signature
        """Not tracked: only Faust's tables and sensors ask for it."""
        return 0

    def topic_partitions(self, topic: str) -> int | None:  # noqa: ARG002 - faust's signature
        """Unknown here; asked for by tables only, of which there is none."""
        return None

    def close(self) -> None:
        """Faust closes a consumer when a rebalance meets a stopped app."""
        self.abandon(_CLOSE_S)

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Liveness is judged by `/health`."""

    async def position(self, tp: TP) -> int | None:
        """The committed position."""
        return self._positions.get(tp)

    def _new_topicpartition(self, topic: str, partition: int) -> TP:
        return TP(topic, partition)

    _commit = unused("_commit")
    _seek = unused("_seek")
    _getmany = unused("_getmany")
    _to_message = unused("_to_message")
    seek_to_beginning = unused("seek_to_beginning")
    seek_wait = unused("seek_wait")
    earliest_offsets = unused("earliest_offsets")
    highwaters = unused("highwaters")
    create_topic = unused("create_topic")
    key_partition = unused("key_partition")
