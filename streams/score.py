"""The `score` role: transactions in, outcomes out.

A batch goes: decode -> read histories -> windows -> features -> model -> decision -> commit histories -> publish
outcomes, dead letters and reroutes, every one confirmed -> (delivery) commit offsets. Nothing is acknowledged before it
is published, and a batch that comes again after a crash is answered with what was answered first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import structlog

from features.apply import Applied, apply_batch, packed_histories
from features.errors import StoreLost
from features.history import Histories, unpack
from features.store import OnlineStore, Snapshot
from scoring.outcome import Outcome, encode_outcome, outcome_headers
from sinks.publisher import Publisher, Record
from streams.columns import Roster, batch_columns
from streams.decisions import Decisions, Limits
from streams.intake import Incoming, Reader, offset_of
from streams.metrics import ScoreMetrics
from streams.role import Chunk

log = structlog.get_logger(__name__)


class CardState:
    """Reads, applies and commits the histories of a batch's cards.

    Args:
        store: the online feature store.
        limits: retention and clock skew.
    """

    def __init__(self, store: OnlineStore, limits: Limits) -> None:
        self._store, self._limits = store, limits

    async def apply(self, incoming: Sequence[Incoming], last: Mapping[int, int]) -> tuple[Applied, Pending]:
        """Apply records to their cards' histories; nothing is stored before `commit`."""
        roster = Roster(incoming, last)
        snapshots = await self._store.read(roster.cards)
        histories = unpack([h for partition in roster.cards for h in snapshots[partition].histories])
        applied = apply_batch(
            histories,
            batch_columns(incoming, roster, snapshots, self._limits.clock_skew_ms),
            retention_ms=self._limits.retention_ms,
            clock_skew_ms=self._limits.clock_skew_ms,
        )
        return applied, Pending(roster, snapshots, histories)

    async def commit(self, applied: Applied, pending: Pending) -> None:
        """Store what changed and move each partition's `applied`, one atomic script a partition."""
        roster = pending.roster
        changed = np.unique(roster.rank[applied.appended])
        values = packed_histories(
            applied,
            pending.histories.counts,
            changed,
            last_offset=roster.last_offsets(),
            retention_ms=self._limits.retention_ms,
        )
        packed = dict(zip(changed.tolist(), values, strict=True))
        for partition, names in roster.cards.items():
            base = roster.first_rank[partition]
            stored = {name: packed[base + k] for k, name in enumerate(names) if base + k in packed}
            before, last = pending.snapshots[partition].applied, roster.last[partition]
            if stored or before is None or last > before:
                after = last if before is None else max(before, last)
                await self._store.commit(partition, stored, applied_before=before, applied=after)


class Pending:
    """What a batch read, kept until it is committed."""

    def __init__(self, roster: Roster, snapshots: Mapping[int, Snapshot], histories: Histories) -> None:
        self.roster, self.snapshots, self.histories = roster, snapshots, histories


class ScoreHandler:
    """Scores batches; the module's first lines give the order of the steps.

    Delivery: at least once, with effects that repeat as they were; `process` returns when everything is published.

    Args:
        reader: decodes and finds homes.
        store: the online feature store.
        publisher: confirmed publish.
        decisions: model and verdict.
        limits: grace, retention and clock skew.
        sink: topic of the outcomes.
        now_ms: the clock, epoch milliseconds.
        metrics: counters of this process.
    """

    def __init__(
        self,
        *,
        reader: Reader,
        store: OnlineStore,
        publisher: Publisher,
        decisions: Decisions,
        limits: Limits,
        sink: str,
        now_ms: Callable[[], int],
        metrics: ScoreMetrics,
    ) -> None:
        self._reader, self._store, self._publisher, self._decisions = reader, store, publisher, decisions
        self._cards = CardState(store, limits)
        self._sink = sink
        self._now_ms, self._metrics = now_ms, metrics

    async def start(self) -> None:
        """Meet Redis, or say that it is away."""
        await self._store.start()

    async def assigned(self, positions: dict[int, int | None]) -> None:
        """Claim the partitions: nobody else's commits are taken from here on."""
        for partition, committed in positions.items():
            applied = await self._store.claim(partition)
            if committed is not None and committed > 0 and (applied is None or applied < committed - 1):
                raise StoreLost(
                    f"FRAUD_REDIS_URL: Redis has applied partition {partition} up to offset {applied}, Kafka was told "
                    f"{committed - 1}; the feature store lost data"
                )

    async def process(self, chunks: Sequence[Chunk]) -> None:
        """Score a batch and publish everything that it became."""
        intake = self._reader.read(chunks)
        last = {chunk.partition: offset_of(chunk.records[-1]) for chunk in chunks}
        applied, pending = await self._cards.apply(intake.incoming, last)
        outcomes = self._decisions.outcomes(intake.incoming, applied, self._now_ms())
        await self._cards.commit(applied, pending)
        await self._publisher.publish(intake.records + [self._record(o) for o in outcomes])
        self._metrics.batch(outcomes, intake)

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
