"""The `score` role: transactions in, outcomes out.

A batch goes: decode -> read histories -> windows -> features -> model -> decision -> commit histories -> publish
outcomes, dead letters and reroutes, every one confirmed -> (delivery) commit offsets. Nothing is acknowledged before it
is published, and a batch that comes again after a crash is answered with what was answered first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog

from features.errors import StoreLost
from features.store import OnlineStore
from scoring.outcome import Outcome, encode_outcome, outcome_headers
from sinks.publisher import Publisher, Record
from streams.cards import CardState
from streams.decisions import Decisions
from streams.intake import Intake, Reader, offset_of
from streams.metrics import ScoreMetrics
from streams.rebuild import Rebuilder
from streams.role import Chunk

log = structlog.get_logger(__name__)


class ScoreHandler:
    """Scores batches; the module's first lines give the order of the steps.

    Delivery: at least once, with effects that repeat as they were; `process` returns when everything is published.

    Args:
        reader: decodes and finds homes.
        store: the online feature store.
        cards: applies and commits.
        rebuilder: claims partitions and gives Redis back what it lost.
        publisher: confirmed publish.
        decisions: model and verdict.
        sink: topic of the outcomes.
        now_ms: the clock, epoch milliseconds.
        metrics: counters of this process.
    """

    def __init__(
        self,
        *,
        reader: Reader,
        store: OnlineStore,
        cards: CardState,
        rebuilder: Rebuilder,
        publisher: Publisher,
        decisions: Decisions,
        sink: str,
        now_ms: Callable[[], int],
        metrics: ScoreMetrics,
    ) -> None:
        self._reader, self._store, self._publisher, self._decisions = reader, store, publisher, decisions
        self._cards, self._rebuilder = cards, rebuilder
        self._sink = sink
        self._now_ms, self._metrics = now_ms, metrics

    async def start(self) -> None:
        """Meet Redis and Kafka, or say that they are away."""
        await self._store.start()
        self._publisher.start()

    async def assigned(self, positions: dict[int, int | None]) -> None:
        """Claim the partitions, so that nobody else's commits are taken from here on, and mend what Redis lost."""
        for partition, committed in positions.items():
            await self._rebuilder.catch_up(partition, committed or 0)

    async def process(self, chunks: Sequence[Chunk]) -> None:
        """Score a batch and publish everything that it became."""
        intake = self._reader.read(chunks)
        outcomes = await self._score(chunks, intake)
        await self._publisher.publish(intake.records + [self._record(o) for o in outcomes])
        self._metrics.batch(outcomes, intake)

    async def _score(self, chunks: Sequence[Chunk], intake: Intake) -> list[Outcome]:
        """Apply, decide and commit; where Redis lost its state, rebuild it up to this batch and begin again."""
        first = {chunk.partition: offset_of(chunk.records[0]) for chunk in reversed(chunks)}
        last = {chunk.partition: offset_of(chunk.records[-1]) for chunk in chunks}
        while True:
            try:
                applied, pending = await self._cards.apply(intake.incoming, last)
                outcomes = self._decisions.outcomes(intake.incoming, applied, self._now_ms())
                await self._cards.commit(applied, pending)
            except StoreLost as exc:
                log.warning("store_lost", problem=str(exc), variable="FRAUD_REDIS_URL")
                self._metrics.repairs.inc()
                for partition, offset in first.items():
                    await self._rebuilder.catch_up(partition, offset)
            else:
                return outcomes

    async def stop(self) -> None:
        """Close connections."""
        await self._store.stop()
        self._publisher.close()

    def _record(self, outcome: Outcome) -> Record:
        return Record(
            self._sink,
            outcome.card_id.encode(),
            encode_outcome(outcome),
            outcome_headers(outcome),
            outcome.fraud.source.partition,
        )
