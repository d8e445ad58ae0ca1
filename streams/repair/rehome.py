"""Rebuild all histories together, for another number of partitions: every card's records, wherever they lay.

Under the old number a card lived in one partition, under the new one it may live in another. So all partitions are read
together, and each record goes to its card's present home: first what was scored under the old number, then what was
scored since, each in the order of the broker's times. What was sent on from one partition to another lies in the topic
twice; the copy counts, for the record itself was never applied where it lay.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

import msgspec
import structlog
from confluent_kafka import Message

from features.errors import DecodeError
from features.store import OnlineStore
from streams.cards import CardState
from streams.intake import Incoming, Reach, Reader, offset_of
from streams.repair.copies import Copies
from streams.repair.homes import Homes, HomesNote
from streams.repair.merge import Merge
from streams.repair.rebuild import Source, Tally, apply_or_pass_over, say_done
from streams.repair.refused import Refused, is_refused
from streams.repair.topic_reader import Span, TopicReader, in_thread, reading

log = structlog.get_logger(__name__)

_BEING_BUILT: Final = 0

Show = Callable[[int, int | None], None]


class Rehomer:
    """Rebuilds the whole feature store for the present number of partitions.

    Args:
        source: topic and brokers.
        reader: decodes and finds homes.
        cards: applies and commits.
        store: whose histories are forgotten and rebuilt.
        note: of changes of the number of partitions.
    """

    def __init__(
        self, source: Source, *, reader: Reader, cards: CardState, store: OnlineStore, note: HomesNote
    ) -> None:
        self._source, self._reader, self._cards = source, reader, cards
        self._store, self._note = store, note

    async def run(self, committed: Mapping[int, int], *, changed: bool, progress: Show) -> Tally:
        """Forget every history and rebuild it in its home, up to what the score role has committed.

        Interrupted, it leaves a store that no score role accepts until it has been run again.

        Args:
            committed: partition -> first offset still to be scored, 0 where none was.
            changed: whether the number of partitions has changed since the histories were built.
            progress: takes records read and records in all.

        Raises:
            StaleEpoch: a score role has taken a partition over.
        """
        began_s = time.monotonic()
        homes = await in_thread(self._note.read)
        if changed or not homes.since:
            homes = HomesNote.changed_now(committed)
        # The note comes first: whatever happens from here on, nobody rebuilds one partition by itself.
        await in_thread(lambda: self._note.write(homes))
        await self._forget_everything()
        with reading(self._source.kafka, self._source.topic) as reader:
            committed = await reader.run(lambda: _held(reader, committed))
            for partition, end in committed.items():
                # Before everything that is applied below, so that nothing is taken for a record that comes again.
                await self._store.commit(partition, {}, applied_before=None, applied=end - 2)
            plan = await reader.run(lambda: self._plan(reader, committed, homes))
            log.warning("rehome_begins", topic=reader.topic, partitions=len(committed), records=plan.total)
            work = _Work(self, reader, plan, committed, progress)
            tally = await work.run()
        for partition, end in committed.items():
            # Also where a new partition has nothing: -1 there shows that nothing is what there was, and not a loss.
            await self._store.commit(partition, {}, applied_before=end - 2, applied=end - 1)
        await self._store.set_built_for(self._source.partitions)
        say_done("rehome_done", tally, time.monotonic() - began_s, topic=self._source.topic)
        return tally

    async def _forget_everything(self) -> None:
        built_for, partitions = await self._store.built_for() or 0, self._source.partitions
        await self._store.set_built_for(_BEING_BUILT)
        for partition in range(max(built_for, partitions)):
            # Claimed, so that a role which still runs cannot write any more.
            await self._store.claim(partition)
            await self._store.forget(partition)
            if partition >= partitions:
                await self._store.unclaim(partition)

    def _plan(self, reader: TopicReader, committed: Mapping[int, int], homes: Homes) -> _Plan:
        bounds = {partition: reader.bounds(partition) for partition in committed}
        since_ms = self._since_ms(reader, committed, bounds)
        starts = {p: low if since_ms is None else reader.offset_at(p, since_ms) for p, (low, _) in bounds.items()}
        headers = [Span(p, starts[p], high) for p, (_, high) in bounds.items()]
        before, after = [], []
        for partition, scored in committed.items():
            start, end = starts[partition], min(scored, bounds[partition][1])
            change = min(max(homes.since.get(partition, 0), start), end)
            before.append(Span(partition, start, change))
            after.append(Span(partition, change, end))
        return _Plan(headers, before, after, since_ms or 0)

    def _since_ms(
        self, reader: TopicReader, committed: Mapping[int, int], bounds: Mapping[int, tuple[int, int]]
    ) -> int | None:
        """Time from which records can still matter to what is scored next; None: from the topic's first on."""
        newest = [
            message.timestamp()[1]
            for partition, end in committed.items()
            if end > bounds[partition][0] and (message := reader.record_at(partition, end - 1)) is not None
        ]
        return None if not newest or min(newest) < 0 else max(min(newest) - self._source.reach_ms, 0)

    def refused(self, since_ms: int) -> Refused:
        """Records that were dead-lettered for a reason outside of them; blocks."""
        return self._source.refused(since_ms)

    def arrived(self, message: Message, copies: Copies, refused: Refused) -> Incoming | None:
        """The record as its home takes it; None where it does not count where it lies."""
        if is_refused(refused, message.partition() or 0, offset_of(message)):
            return None
        try:
            item = self._reader.decoded(message)
        except DecodeError:
            return None
        return None if copies.sent_on(message, item.partition) else item

    async def apply(self, batch: list[Incoming], committed: Mapping[int, int]) -> None:
        """Apply records in their homes, none of them taken for one that comes again.

        They come from several partitions, so their own offsets mean nothing in their homes. All take the last one
        before what is still to be scored; what is applied stays one before that until the end.
        """
        moved = [msgspec.structs.replace(item, offset=committed[item.partition] - 1) for item in batch]
        reach = {item.partition: Reach(item.offset, item.offset - 1) for item in moved}
        if moved:
            await apply_or_pass_over(self._cards, moved, reach)


def _held(reader: TopicReader, committed: Mapping[int, int]) -> dict[int, int]:
    """Offsets committed, as far as the topic holds them: a group may have committed more."""
    return {partition: min(end, reader.bounds(partition)[1]) for partition, end in committed.items()}


class _Plan(msgspec.Struct, frozen=True):
    """What to read: headers of everything, then the records before the last change, then those since."""

    headers: list[Span]
    before: list[Span]
    after: list[Span]
    since_ms: int

    @property
    def total(self) -> int:
        return sum(len(span) for span in (*self.headers, *self.before, *self.after))


class _Work:
    """The two passes of a rehoming."""

    def __init__(
        self, rehomer: Rehomer, reader: TopicReader, plan: _Plan, committed: Mapping[int, int], progress: Show
    ) -> None:
        self._rehomer, self._reader, self._plan, self._committed = rehomer, reader, plan, committed
        self._progress, self._done = progress, 0

    async def run(self) -> Tally:
        copies, tally = Copies(), Tally()
        await self._gather(copies)
        refused = await self._reader.run(lambda: self._rehomer.refused(self._plan.since_ms))
        for spans in (self._plan.before, self._plan.after):
            merge = Merge(self._reader, spans)
            while messages := await self._reader.run(merge.batch):
                arrived = (self._rehomer.arrived(message, copies, refused) for message in messages)
                batch = [item for item in arrived if item is not None]
                await self._rehomer.apply(batch, self._committed)
                tally.count(len(messages), batch)
                self._show(len(messages))
        self._progress(self._plan.total, self._plan.total)
        return tally

    async def _gather(self, copies: Copies) -> None:
        self._reader.begin(self._plan.headers)
        while not self._reader.done():
            messages = await self._reader.run(self._reader.take)
            for message in messages:
                copies.gather(message)
            self._show(len(messages))
        copies.close()

    def _show(self, records: int) -> None:
        self._done += records
        self._progress(self._done, self._plan.total)
