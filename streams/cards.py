"""The state of a batch's cards: read, apply, commit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from features.apply import Applied
from features.store import Commit, OnlineStore, Snapshot
from features.stored import Limits, apply_stored
from features.walk import Delivery
from streams.columns import MetAgain, Roster, batch_columns
from streams.intake import Incoming, Reach
from streams.renamed import Renamed, names_to_read, settle
from streams.role import MOST_AGAIN
from streams.watch.metrics import ScoreMetrics


class CardState:
    """Reads, applies and commits the histories of a batch's cards.

    Args:
        store: the online feature store.
        limits: retention, clock skew, and how long a history may be.
    """

    def __init__(self, store: OnlineStore, limits: Limits, metrics: ScoreMetrics | None = None) -> None:
        self._store, self._limits, self._metrics = store, limits, metrics
        self._again: dict[int, MetAgain] = {}

    def begin(self) -> None:
        """Partitions were assigned: what comes again, comes from its beginning."""
        self._again.clear()

    async def apply(self, incoming: Sequence[Incoming], reach: Mapping[int, Reach]) -> tuple[Applied, Pending]:
        """Apply records to their cards' histories; nothing is stored before `commit`.

        Args:
            incoming: the records, in order per partition.
            reach: partition -> offsets of the batch.

        Raises:
            StoreLost: Redis holds less than this process has committed.
            StoreCorrupt: a card's history is none.
            StaleEpoch: another worker owns a partition.
        """
        roster = Roster(incoming, reach)
        snapshots, moved = settle(roster, await self._store.read(names_to_read(roster)))
        if self._metrics is not None:
            self._metrics.stages.lap("read")
        self._look_for_redelivery(roster, snapshots)
        histories = [history for partition in roster.cards for history in snapshots[partition].histories]
        batch = batch_columns(incoming, roster.rank, snapshots, self._limits.clock_skew_ms)
        stored = apply_stored(histories, batch, roster.delivery(self._again), self._limits)
        if self._metrics is not None:
            self._metrics.stages.lap("windows")
            self._metrics.hot(stored.folded)
        return stored.applied, Pending(roster, snapshots, stored.packed, moved, stored.met)

    def alone(self, incoming: Sequence[Incoming]) -> Applied:
        """Every record as the first of its card, for when no history can be had; nothing is read and nothing stored."""
        alone = np.arange(len(incoming))
        batch = batch_columns(incoming, alone, {}, self._limits.clock_skew_ms)
        return apply_stored([None] * len(incoming), batch, Delivery(alone, alone), self._limits).applied

    async def commit(self, pending: Pending) -> None:
        """Store what changed and move each partition's `applied`, one atomic script a partition, all in one go."""
        roster = pending.roster
        commits = []
        for partition, names in roster.cards.items():
            base = roster.first_rank[partition]
            own = zip(names, pending.packed[base : base + len(names)], strict=True)
            stored = {name: value for name, value in own if value is not None}
            # A history that was taken over is stored under its new name even where the batch has not changed it.
            stored = {**pending.renamed.taken.get(partition, {}), **stored}
            dropped = pending.renamed.dropped.get(partition, [])
            before, last = pending.snapshots[partition].applied, roster.reach[partition].last
            if stored or dropped or before is None or last > before:
                after = last if before is None else max(before, last)
                commits.append(Commit(partition, stored, before, after, dropped))
        if commits:
            await self._store.commit_all(commits)
        self._remember(pending)

    def _remember(self, pending: Pending) -> None:
        """How far each card has met its records again."""
        for partition in self._again.keys() & pending.roster.cards.keys():
            base = pending.roster.first_rank[partition]
            for rank, name in enumerate(pending.roster.cards[partition], base):
                if rank in pending.met:
                    self._again[partition].met[name] = pending.met[rank]

    def _look_for_redelivery(self, roster: Roster, snapshots: Mapping[int, Snapshot]) -> None:
        """It lasts until a batch begins after all that was applied when it began: then all of it is acknowledged."""
        for partition, reach in roster.reach.items():
            again, applied = self._again.get(partition), snapshots[partition].applied
            if again is not None and reach.first > again.until:
                del self._again[partition]
            elif again is None and applied is not None and reach.first <= applied <= reach.first + MOST_AGAIN:
                self._again[partition] = MetAgain(reach.first, applied, {})


class Pending(msgspec.Struct, frozen=True):
    """What is to be committed of a batch.

    Attributes:
        roster: its cards.
        snapshots: what was read of each partition.
        packed: by rank the history to be stored; None where nothing has changed.
        renamed: what moves to another name.
        met: of the cards that met records again, by rank, how many of their entries.
    """

    roster: Roster
    snapshots: Mapping[int, Snapshot]
    packed: list[bytes | None]
    renamed: Renamed
    met: Mapping[int, int]
