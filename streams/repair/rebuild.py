"""Rebuild card histories from the topic: what Redis lost, Kafka still has.

Records are applied as the score role applies them; nothing is scored and nothing published. What became a dead letter
or was sent to another partition is passed over, as it was when it first came. A rebuild that is interrupted goes on
where it stopped, because `applied` moves with every commit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec
import structlog
from confluent_kafka import Message

from features.errors import ConfigError, FraudstreamError, StoreCorrupt, StoreError, StoreLost
from features.store import OnlineStore
from streams.cards import CardState
from streams.intake import Incoming, Reach, Reader, offset_of, reach_of
from streams.repair.homes import Homes, HomesNote
from streams.repair.refused import Refused, is_refused, refused_since
from streams.repair.topic_reader import Span, TopicReader, in_thread, reading
from streams.role import Chunk

log = structlog.get_logger(__name__)

_SAY_EVERY_S: Final = 10.0
_DLQ_MARGIN_MS: Final = 3_600_000

Progress = Callable[[int], None]
"""Takes how many more offsets have been read."""


class Source(msgspec.Struct, frozen=True):
    """Where the records of the histories come from.

    Attributes:
        kafka: librdkafka settings that reach the brokers.
        topic: the transactions, full name.
        dead_letters: their dead letters, full name.
        partitions: of the transactions.
        retention_ms: one week plus grace.
        clock_skew_ms: how far an event's own time may lie after its record's.
    """

    kafka: Mapping[str, str]
    topic: str
    dead_letters: str
    partitions: int
    retention_ms: int
    clock_skew_ms: int

    @property
    def reach_ms(self) -> int:
        """How far back a record can still matter.

        A history lives one retention after its last write, and holds what lies one retention behind its newest entry.
        """
        return 2 * self.retention_ms + self.clock_skew_ms

    def refused(self, since_ms: int) -> Refused:
        """Records from then on that were dead-lettered for a reason outside of them; blocks."""
        return refused_since(self.kafka, self.dead_letters, self.topic, since_ms - _DLQ_MARGIN_MS)


class Tally(msgspec.Struct):
    """What a rebuild did.

    Attributes:
        records: read from the topic.
        applied: of those, what became part of a history, copies included.
        cards: identities of the cards that were met.
    """

    records: int = 0
    applied: int = 0
    cards: set[int] = msgspec.field(default_factory=set)

    def count(self, records: int, incoming: Sequence[Incoming]) -> None:
        """Add a batch."""
        self.records += records
        self.applied += len(incoming)
        self.cards.update(hash(item.transaction.card_id) for item in incoming)

    def add(self, other: Tally) -> None:
        """Add another rebuild's."""
        self.records += other.records
        self.applied += other.applied
        self.cards |= other.cards


class Rebuilder:
    """Replays ranges of the transactions into the store.

    Args:
        source: topic and brokers.
        reader: decodes and finds homes.
        cards: applies and commits.
        store: claims partitions and says what was applied.
        note: says whether the number of partitions changed.
    """

    def __init__(
        self, source: Source, *, reader: Reader, cards: CardState, store: OnlineStore, note: HomesNote
    ) -> None:
        self._source, self._reader, self._cards = source, reader, cards
        self._store, self._note = store, note
        # Read once: a change of the number of partitions ends every process that was there before it.
        self._homes: Homes | None = None

    async def catch_up(self, partition: int, end: int, progress: Progress | None = None) -> Tally:
        """Claim a partition, and apply what the store lacks of the records before `end`.

        Args:
            partition: to take over.
            end: first offset that is still to be scored, 0 where none was scored yet.
            progress: takes how many more offsets have been read.

        Raises:
            StoreError: the store is ahead of the topic, which was made anew.
            StaleEpoch: another worker has taken the partition over.
            ConfigError: the histories were built for another number of partitions.
        """
        await self._check_partitions()
        return await self._mend(partition, end, afresh=False, progress=progress or _unseen)

    async def rebuild(self, partition: int, end: int, progress: Progress | None = None) -> Tally:
        """Claim a partition, forget its histories and make them anew from the records before `end`; raises likewise."""
        await self._check_partitions()
        return await self._mend(partition, end, afresh=True, progress=progress or _unseen)

    def reach(self, reader: TopicReader, partition: int, end: int) -> Span:
        """Offsets from which the histories of a partition are made anew; blocks."""
        return self._span(reader, partition, None, end)[0]

    async def _check_partitions(self) -> None:
        """Histories lie where the number of partitions says; under another number nobody would find them."""
        built_for, partitions = await self._store.built_for(), self._source.partitions
        if built_for is None:
            await self._store.set_built_for(partitions, only_if_absent=True)
        elif built_for != partitions:
            raise ConfigError(
                "FRAUD_KEY_PREFIX: a replay of the histories there was not finished; run: fraudstream replay"
                if built_for == 0
                else f"FRAUD_PARTITIONS is {partitions}, but the histories in Redis were built for {built_for}; with "
                "the score roles stopped, run: fraudstream replay"
            )

    async def _mend(self, partition: int, end: int, *, afresh: bool, progress: Progress) -> Tally:
        """Bring the store up to `end`; where Redis loses it meanwhile, begin again."""
        while True:
            applied = await self._store.claim(partition)
            if afresh or applied is None:
                await self._check_homes()
                if end == 0 and not afresh:
                    return Tally()
                forgotten = await self._store.forget(partition)
                log.info("histories_forgotten", partition=partition, cards=forgotten)
                applied = None
            try:
                return await self._bring_up(partition, applied, end, progress)
            except StoreLost as exc:
                log.warning("store_lost", problem=str(exc), variable="FRAUD_REDIS_URL")
            except StoreCorrupt as exc:
                log.warning("store_corrupt", problem=str(exc), partition=partition, variable="FRAUD_REDIS_URL")
                afresh = True

    async def _check_homes(self) -> None:
        """Refuse to rebuild one partition from its own records where some of them lie in the homes of old."""
        if self._homes is None:
            self._homes = await in_thread(self._note.read)
        if not self._homes.since:
            return
        raise ConfigError(
            "FRAUD_REDIS_URL: the histories are gone, and the number of partitions changed not long ago, so that older "
            "records lie in other partitions; with the score roles stopped, run: fraudstream replay"
        )

    async def _bring_up(self, partition: int, applied: int | None, end: int, progress: Progress) -> Tally:
        with reading(self._source.kafka, self._source.topic) as reader:
            span, since_ms = await reader.run(lambda: self._span(reader, partition, applied, end))
            if not len(span):
                return Tally()
            refused = await reader.run(lambda: self._source.refused(since_ms))
            return await self._replay(reader, span, refused, progress)

    def _span(self, reader: TopicReader, partition: int, applied: int | None, end: int) -> tuple[Span, int]:
        """What to apply: what comes after the last applied record, or all that can still matter; and since when."""
        low, high = reader.bounds(partition)
        if applied is not None and applied >= high:
            raise StoreError(
                f"Redis has applied partition {partition} of {self._source.topic} up to offset {applied}, but it ends "
                f"at {high}: the topic was made anew. Use another FRAUD_KEY_PREFIX, or delete the keys of the old topic"
            )
        # A group may have committed more than the topic still holds; what is not there cannot be waited for.
        end = min(end, high)
        start = low if applied is None else max(applied + 1, low)
        if start >= end:
            return Span(partition, end, end), 0
        if applied is not None and applied + 1 < low:
            log.warning("rebuild_misses_records", partition=partition, applied=applied, first_offset=low)
        if applied is None and (newest_ms := _timestamp_ms(reader, partition, end - 1)) is not None:
            start = min(reader.offset_at(partition, newest_ms - self._source.reach_ms), end)
        since_ms = _timestamp_ms(reader, partition, start) or 0
        return Span(partition, start, end), since_ms

    async def _replay(self, reader: TopicReader, span: Span, refused: Refused, progress: Progress) -> Tally:
        partition = span.partition
        log.warning("rebuild_begins", topic=reader.topic, partition=partition, start=span.start, end=span.end)
        tally, began_s = Tally(), time.monotonic()
        said_s, position = began_s, span.start
        reader.begin([span])
        while not reader.done():
            messages = await reader.run(reader.take)
            if messages:
                await self._apply(partition, messages, refused, tally)
            progress(reader.position(partition) - position)
            position = reader.position(partition)
            if time.monotonic() - said_s >= _SAY_EVERY_S:
                said_s = time.monotonic()
                log.warning(
                    "rebuild_goes_on", partition=partition, records=tally.records, position=position, end=span.end
                )
        say_done("rebuild_done", tally, time.monotonic() - began_s, topic=reader.topic, partition=partition)
        return tally

    async def _apply(self, partition: int, messages: list[Message], refused: Refused, tally: Tally) -> None:
        kept = [m for m in messages if not is_refused(refused, partition, offset_of(m))]
        intake = self._reader.read([Chunk(self._source.topic, partition, kept)])
        await apply_or_pass_over(self._cards, intake.incoming, {partition: reach_of(messages)})
        tally.count(len(messages), intake.incoming)


async def apply_or_pass_over(cards: CardState, incoming: Sequence[Incoming], reach: Mapping[int, Reach]) -> None:
    """Apply and commit; a record that fails by itself is found by halving and passed over, and the rest goes on.

    The score role dead-letters such a record; one that it had not yet come to must not stop a rebuild for ever.

    Args:
        cards: the state.
        incoming: records of one batch.
        reach: partition -> offsets of the batch.
    """
    try:
        _, pending = await cards.apply(incoming, reach)
        await cards.commit(pending)
    except FraudstreamError:
        raise
    except Exception as exc:
        if not incoming:
            raise
        if len(incoming) > 1:
            half = len(incoming) // 2
            before = {item.partition: _up_to(reach[item.partition], item.offset) for item in incoming[:half]}
            await apply_or_pass_over(cards, incoming[:half], before)
            await apply_or_pass_over(cards, incoming[half:], reach)
            return
        item = incoming[0]
        log.exception("rebuild_passes_over", partition=item.partition, offset=item.offset, problem=type(exc).__name__)
        await apply_or_pass_over(cards, [], reach)


def _up_to(reach: Reach, offset: int) -> Reach:
    return Reach(reach.first, min(offset, reach.last))


def say_done(event: str, tally: Tally, took_s: float, **where: object) -> None:
    """One line about a finished rebuild: how much, how fast."""
    log.warning(
        event,
        **where,
        records=tally.records,
        applied=tally.applied,
        cards=len(tally.cards),
        seconds=round(took_s, 1),
        records_per_s=round(tally.records / max(took_s, 0.001)),
    )


def _timestamp_ms(reader: TopicReader, partition: int, offset: int) -> int | None:
    """Timestamp of the record at an offset or the next there is; None where there is none, or it has no timestamp."""
    message = reader.record_at(partition, offset)
    if message is None or message.timestamp()[1] < 0:
        return None
    return message.timestamp()[1]


def _unseen(_offsets: int) -> None:
    """No progress to show."""
