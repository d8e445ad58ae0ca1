"""Compute past outcomes again from the topic, and compare them with what was published."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from confluent_kafka import Message

from features.errors import ConfigError
from features.history import is_long
from features.store import OnlineStore
from scoring.outcome import Outcome, encode_outcome
from streams.cards import CardState, Pending
from streams.decisions import Decisions
from streams.intake import Incoming, Reach, Reader, offset_of, reach_of
from streams.repair.comparison import DEADLINE, Body, Difference, differences, is_within_folding, versions
from streams.repair.homes import Homes
from streams.repair.published import Published
from streams.repair.rebuild import Source
from streams.repair.refused import Refused, is_refused
from streams.repair.topic_reader import Span, TopicReader, reading
from streams.role import Chunk

_HOUR_MS: Final = 3_600_000
_EXAMPLES: Final = 20
# Answers that are missing are rare; this many are remembered, in case they come out of turn.
_REMEMBERED: Final = 10_000

Show = Callable[[int, int | None], None]


class Example(msgspec.Struct, frozen=True):
    """A record whose outcome differs."""

    partition: int
    offset: int
    found: list[Difference]


class Report(msgspec.Struct):
    """What a comparison found.

    Attributes:
        compared: outcomes compared.
        identical: of those, in every lasting field.
        different: of those, in some field; `hot`, `beyond_grace` not among them.
        features_only: of those compared, the ones of another model or rule set, of which the features alone count.
        hot: differ by what folding a hot card's history may make.
        beyond_grace: differ, and say themselves that they are not exact.
        degraded: were scored without history, and say so; not compared.
        other_feature_set: were made of other features; not compared.
        missing: records without an outcome.
        repeated: outcomes that were published again.
        repeated_otherwise: of those, what differs from the first under the same versions.
        by_field: differing outcomes by field.
        examples: the first differences.
    """

    compared: int = 0
    identical: int = 0
    different: int = 0
    features_only: int = 0
    hot: int = 0
    beyond_grace: int = 0
    degraded: int = 0
    other_feature_set: int = 0
    missing: int = 0
    repeated: int = 0
    repeated_otherwise: int = 0
    by_field: Counter[str] = msgspec.field(default_factory=Counter)
    examples: list[Example] = msgspec.field(default_factory=list)

    @property
    def agrees(self) -> bool:
        """Whether nothing was found that must not be."""
        return not (self.different or self.missing or self.repeated_otherwise)


class Job(msgspec.Struct, frozen=True):
    """One partition's share: records to warm the histories up with, and records to compare."""

    warm_up: Span
    span: Span
    since_ms: int
    from_ms: int


class Rescorer:
    """Computes outcomes again, in histories of its own.

    Args:
        source: topic and brokers.
        outcomes: topic of the outcomes, full name.
        reader: decodes and finds homes.
        store: under a key prefix of its own, which is emptied afterwards.
        cards: over the same store.
        decisions: model and rules in force.
        hot_card_records: from how many entries on a history may be folded.

    Attributes:
        lists_asked: whether rules ask lists in Redis, so that what rules decided is not compared.
    """

    def __init__(
        self,
        source: Source,
        *,
        outcomes: str,
        reader: Reader,
        store: OnlineStore,
        cards: CardState,
        decisions: Decisions,
        hot_card_records: int,
    ) -> None:
        self._source, self._outcomes, self._reader = source, outcomes, reader
        self._store, self._cards, self._decisions = store, cards, decisions
        self._hot_card_records = hot_card_records
        rules = decisions.policy.rules
        self.lists_asked = rules is not None and bool(rules.redis_lists)

    def plan(self, spans: list[Span], homes: Homes) -> list[Job]:
        """What has to be read for ranges of records; blocks.

        Raises:
            ConfigError: the number of partitions changed where the histories would begin.
        """
        with reading(self._source.kafka, self._source.topic) as reader:
            return [self._job(reader, span, homes) for span in spans if len(span)]

    def _job(self, reader: TopicReader, span: Span, homes: Homes) -> Job:
        first = reader.record_at(span.partition, span.start)
        from_ms = max(first.timestamp()[1], 0) if first is not None else 0
        since_ms = max(from_ms - self._source.reach_ms, 0)
        start = min(reader.offset_at(span.partition, since_ms), span.start)
        if start < homes.since.get(span.partition, 0):
            raise ConfigError(
                f"--rescore: the number of partitions changed at offset {homes.since[span.partition]} of partition "
                f"{span.partition}, and the histories of that range begin before it; take a later range"
            )
        return Job(Span(span.partition, start, span.start), span, since_ms, from_ms)

    async def run(self, jobs: list[Job], progress: Show) -> Report:
        """Compute and compare; the histories are removed afterwards."""
        total = sum(len(job.warm_up) + len(job.span) for job in jobs)
        report, done = Report(), 0

        def count(offsets: int) -> None:
            nonlocal done
            done += offsets
            progress(done, total)

        for job in jobs:
            await self._store.claim(job.span.partition)
            try:
                await _Comparison(self, job, report).run(count)
            finally:
                await self._store.forget(job.span.partition)
                await self._store.unclaim(job.span.partition)
        return report

    def readers(self) -> tuple[TopicReader, TopicReader]:
        """Of the transactions and of the outcomes."""
        kafka = self._source.kafka
        return TopicReader(kafka, self._source.topic), TopicReader(kafka, self._outcomes)

    def refused(self, since_ms: int) -> Refused:
        """Records that were dead-lettered for a reason outside of them; blocks."""
        return self._source.refused(since_ms)

    async def warm_up(self, messages: list[Message], refused: Refused) -> None:
        """Apply records that come before the range."""
        incoming, reach = self._arrived(messages, refused)
        _, pending = await self._cards.apply(incoming, reach)
        await self._cards.commit(pending)

    async def again(self, messages: list[Message], refused: Refused) -> list[tuple[Incoming, Outcome, bool]]:
        """Apply and decide; every record at home, its outcome now, and whether its card is hot."""
        incoming, reach = self._arrived(messages, refused)
        applied, pending = await self._cards.apply(incoming, reach)
        outcomes = self._decisions.outcomes(incoming, applied, 0)
        hot = self._hot(pending)
        await self._cards.commit(pending)
        return list(zip(incoming, outcomes, hot, strict=True))

    def published(self, reader: TopicReader, job: Job) -> Published:
        """What was published for a range; blocks."""
        partition = job.span.partition
        # Outcomes carry the clock of the worker that wrote them.
        start = reader.offset_at(partition, job.from_ms - _HOUR_MS)
        outcomes = Span(partition, start, reader.bounds(partition)[1])
        return Published(reader, self._source.topic, job.span, outcomes)

    def _arrived(self, messages: list[Message], refused: Refused) -> tuple[list[Incoming], dict[int, Reach]]:
        partition = messages[-1].partition() or 0
        kept = [m for m in messages if not is_refused(refused, partition, offset_of(m))]
        intake = self._reader.read([Chunk(self._source.topic, partition, kept)])
        return intake.incoming, {partition: reach_of(messages)}

    def _hot(self, pending: Pending) -> list[bool]:
        before = [value for p in pending.roster.cards for value in pending.snapshots[p].histories]
        values = [new or old for new, old in zip(pending.packed, before, strict=True)]
        hot = [value is not None and is_long(value, self._hot_card_records) for value in values]
        return [hot[rank] for rank in pending.roster.rank.tolist()]


class _Comparison:
    """One partition's range, from warm-up to the last outcome that repeats another."""

    def __init__(self, rescorer: Rescorer, job: Job, report: Report) -> None:
        self._rescorer, self._job, self._report = rescorer, job, report
        self._unanswered: dict[int, tuple[Incoming, Body, bool]] = {}

    async def run(self, count: Callable[[int], None]) -> None:
        job, rescorer = self._job, self._rescorer
        transactions, outcomes = rescorer.readers()
        try:
            refused = await transactions.run(lambda: rescorer.refused(job.since_ms))
            published = await outcomes.run(lambda: rescorer.published(outcomes, job))
            for span in (job.warm_up, job.span):
                transactions.begin([span])
                position = span.start
                while not transactions.done():
                    messages = await transactions.run(transactions.take)
                    if messages and span is job.warm_up:
                        await rescorer.warm_up(messages, refused)
                    elif messages:
                        await self._compare_batch(messages, refused, published)
                    count(transactions.position(span.partition) - position)
                    position = transactions.position(span.partition)
            await self._close(published)
        finally:
            transactions.close()
            outcomes.close()

    async def _compare_batch(self, messages: list[Message], refused: Refused, published: Published) -> None:
        for item, outcome, hot in await self._rescorer.again(messages, refused):
            computed: Body = msgspec.json.decode(encode_outcome(outcome))
            answer = await published.answer(item.offset)
            if answer is not None:
                self._compare(item, answer, computed, hot=hot)
            else:
                self._report.missing += 1
                if len(self._unanswered) < _REMEMBERED:
                    self._unanswered[item.offset] = (item, computed, hot)

    async def _close(self, published: Published) -> None:
        for offset, answers in (await published.rest()).items():
            if (unanswered := self._unanswered.pop(offset, None)) is not None:
                self._report.missing -= 1
                item, computed, hot = unanswered
                self._compare(item, answers[0], computed, hot=hot)
        self._report.repeated += published.repeated
        self._report.repeated_otherwise += len(published.repeated_otherwise)
        for offset in published.repeated_otherwise:
            self._show(offset, [Difference("(a repeated outcome)", "differs from the first", "")])

    def _compare(self, item: Incoming, published: Body, computed: Body, *, hot: bool) -> None:
        report, fraud = self._report, published["fraud"]
        if fraud.get("degraded") not in {None, DEADLINE}:
            report.degraded += 1
            return
        if fraud.get("feature_set") != computed["fraud"]["feature_set"]:
            report.other_feature_set += 1
            return
        if published.get("card_id") in item.transaction.old_card_ids:
            computed["card_id"] = published["card_id"]  # the key of the card numbers was changed since
        report.compared += 1
        report.features_only += versions(published) != versions(computed)
        found = differences(published, computed, lists_asked=self._rescorer.lists_asked)
        if not found:
            report.identical += 1
        elif hot and is_within_folding(found, published, computed):
            report.hot += 1
        elif _says_inexact(fraud) and _says_inexact(computed["fraud"]):
            report.beyond_grace += 1
        else:
            report.different += 1
            report.by_field.update(difference.field for difference in found)
            self._show(item.offset, found)

    def _show(self, offset: int, found: list[Difference]) -> None:
        if len(self._report.examples) < _EXAMPLES:
            self._report.examples.append(Example(self._job.span.partition, offset, found))


def _says_inexact(fraud: Mapping[str, Any]) -> bool:
    return bool(fraud.get("beyond_grace"))
