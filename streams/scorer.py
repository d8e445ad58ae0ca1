"""Score what a batch holds: histories, windows, decisions, commit; and what to do where Redis cannot serve.

Three things can be wrong with Redis. It lost state: the state is rebuilt from the topic and the batch begins again. It
holds a history that is none: the partition is made anew. It is out of reach: by `FRAUD_ON_STORE_LOSS` it is waited for,
or the batch is scored without history, which every such outcome says, and what Redis missed is applied before the next
batch of the partition that finds it back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec
import structlog

from features.errors import StoreAway, StoreCorrupt, StoreError, StoreLost
from features.store import OnlineStore
from sinks.publisher import Record
from streams.answers import Answers
from streams.cards import CardState, Pending
from streams.decisions import Decisions
from streams.intake import Incoming, Reach
from streams.repair.rebuild import Rebuilder
from streams.role import Turn, at_once
from streams.watch.metrics import ScoreMetrics

log = structlog.get_logger(__name__)

STORE_AWAY: Final = "store_away"


class Scored(msgspec.Struct, frozen=True):
    """Outcomes of a batch and the records that carry them."""

    answers: Answers
    records: list[Record]


class Scorer:
    """Scores batches of records that are at home.

    Args:
        store: the online feature store.
        cards: applies and commits.
        rebuilder: claims partitions and gives Redis back what it lost.
        decisions: model and verdict.
        sink: topic of the outcomes.
        degrades: whether to score without history while Redis is out of reach.
        now_ms: the clock, epoch milliseconds.
        metrics: counters of this process.
    """

    def __init__(
        self,
        *,
        store: OnlineStore,
        cards: CardState,
        rebuilder: Rebuilder,
        decisions: Decisions,
        sink: str,
        degrades: bool,
        now_ms: Callable[[], int],
        metrics: ScoreMetrics,
    ) -> None:
        self._store, self._cards, self._rebuilder = store, cards, rebuilder
        self._decisions, self._sink, self._degrades = decisions, sink, degrades
        self._now_ms, self._metrics = now_ms, metrics
        self._owned: set[int] = set()
        # Partitions of which Redis lacks records that were scored.
        self._behind: set[int] = set()
        self._waiting: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Meet Redis; raises StoreAway where it is away and nothing may be scored without it."""
        try:
            await self._store.start()
        except StoreAway as exc:
            if not self._degrades:
                raise
            self._detach(exc)

    async def assigned(self, positions: Mapping[int, int | None]) -> dict[int, int]:
        """Claim the partitions, so that nobody else's commits are taken from here on, and mend what Redis lost.

        Returns:
            Partition -> last offset applied, of those whose state is known.
        """
        self._owned, self._behind = set(positions), set(positions)
        self._cards.begin()
        for partition, committed in positions.items():
            try:
                await self._attach({partition: Reach(committed or 0, committed or 0)}, at_once)
            except StoreAway as exc:
                self._detach(exc)
        return {p: self._store.applied(p) for p in positions if p not in self._behind}

    async def score(
        self, reaches: Mapping[int, Reach], whole: Mapping[int, Reach], incoming: Sequence[Incoming], turn: Turn
    ) -> Scored:
        """The outcomes of a batch.

        When this returns, the batch has had its turn, and Redis has what it changed, or the outcomes say it has not.

        Args:
            reaches: partition -> offsets of the batch.
            whole: likewise, of the batch as it was taken, of which this one may be a part.
            incoming: its records that are at home.
            turn: of the batch.
        """
        try:
            await self._attach(reaches, turn)
            return await self._with_history(reaches, whole, incoming, turn)
        except StoreAway as exc:
            self._detach(exc)
            await turn()
            applied = self._cards.alone(incoming)
            return self._written(self._decisions.answers(incoming, applied, self._now_ms(), STORE_AWAY))

    async def pass_over(self, partition: int, offset: int) -> None:
        """Move on behind a record that is not scored."""
        try:
            _, pending = await self._cards.apply([], {partition: Reach(offset, offset)})
            await self._cards.commit(pending)
        except (StoreAway, StoreLost) as exc:
            # Whoever mends Redis reads in the dead letters that the record is none.
            log.warning("store_lacks_offset", partition=partition, offset=offset, problem=str(exc))

    def prove(self, sample: Incoming) -> None:
        """Score a sample without Redis; what this raises is wrong with every record."""
        self._written(self._decisions.answers([sample], self._cards.alone([sample]), self._now_ms()))

    def flagged(self, scored: Scored, degraded: str) -> Scored:
        """The same outcomes, saying that something was wrong; one that says so already stays."""
        return self._written(scored.answers.degraded(degraded))

    async def stop(self) -> None:
        """Close connections."""
        if self._waiting is not None:
            self._waiting.cancel()
        await self._store.stop()

    async def _with_history(
        self, reaches: Mapping[int, Reach], whole: Mapping[int, Reach], incoming: Sequence[Incoming], turn: Turn
    ) -> Scored:
        # Nothing of the whole is acknowledged before all of it is done.
        unacknowledged = {p: Reach(whole[p].first, reach.last) for p, reach in reaches.items()}
        stages = self._metrics.stages
        while True:
            try:
                applied, pending = await self._cards.apply(incoming, unacknowledged)
                scored = self._written(self._decisions.answers(incoming, applied, self._now_ms()))
                stages.lap("encode")
                await turn()
                stages.lap("turn")
                await self._commit(pending)
                stages.lap("commit")
            except (StoreLost, StoreCorrupt) as exc:
                await turn()
                await self._mend(exc, reaches)
                stages.skip()
            else:
                return scored

    async def _commit(self, pending: Pending) -> None:
        """Commit; where Redis goes away meanwhile, the outcomes are right all the same."""
        try:
            await self._cards.commit(pending)
        except StoreAway as exc:
            self._detach(exc)

    async def _mend(self, problem: StoreError, reaches: Mapping[int, Reach]) -> None:
        """Give Redis back what it lost before the batch; of a history that is none, make all of its partition anew."""
        afresh = isinstance(problem, StoreCorrupt)
        log.warning("store_corrupt" if afresh else "store_lost", problem=str(problem), variable="FRAUD_REDIS_URL")
        self._metrics.repairs.inc()
        mend = self._rebuilder.rebuild if afresh else self._rebuilder.catch_up
        for partition, reach in reaches.items():
            with self._metrics.rebuild(partition) as progress:
                await mend(partition, reach.first, progress)

    async def _attach(self, reaches: Mapping[int, Reach], turn: Turn) -> None:
        """Apply what Redis missed of these partitions; raises StoreAway while it is not back."""
        if self._waiting is not None:
            if not self._waiting.done():
                raise StoreAway("Redis is not back yet")
            self._waiting.result()
            self._waiting = None
        for partition in sorted(self._behind & reaches.keys()):
            await turn()
            with self._metrics.rebuild(partition) as progress:
                await self._rebuilder.catch_up(partition, reaches[partition].first, progress)
            self._behind.discard(partition)

    def _detach(self, problem: StoreAway) -> None:
        """From here on, score without history; somebody else waits for Redis."""
        if not self._degrades:
            raise problem
        self._behind |= self._owned
        if self._waiting is None:
            log.warning("scoring_without_history", problem=str(problem), variable="FRAUD_REDIS_URL")
            self._waiting = asyncio.get_running_loop().create_task(self._store.wait_until_back())

    def _written(self, answers: Answers) -> Scored:
        return Scored(answers, answers.records(self._sink))
