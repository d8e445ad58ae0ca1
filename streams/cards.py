"""The state of a batch's cards: read, apply, commit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from features.apply import Applied
from features.store import Commit, OnlineStore, Snapshot
from features.stored import Limits, apply_stored
from streams.columns import Roster, batch_columns
from streams.intake import Incoming
from streams.renamed import Renamed, names_to_read, settle
from streams.watch.metrics import ScoreMetrics


class CardState:
    """Reads, applies and commits the histories of a batch's cards.

    Args:
        store: the online feature store.
        limits: retention, clock skew, and how long a history may be.
    """

    def __init__(self, store: OnlineStore, limits: Limits, metrics: ScoreMetrics | None = None) -> None:
        self._store, self._limits, self._metrics = store, limits, metrics

    async def apply(self, incoming: Sequence[Incoming], last: Mapping[int, int]) -> tuple[Applied, Pending]:
        """Apply records to their cards' histories; nothing is stored before `commit`.

        Args:
            incoming: the records, in order per partition.
            last: last offset of the batch in each of its partitions.

        Raises:
            StoreLost: Redis holds less than this process has committed.
            StoreCorrupt: a card's history is none.
            StaleEpoch: another worker owns a partition.
        """
        roster = Roster(incoming, last)
        snapshots, moved = settle(roster, await self._store.read(names_to_read(roster)))
        if self._metrics is not None:
            self._metrics.stages.lap("read")
        histories = [history for partition in roster.cards for history in snapshots[partition].histories]
        batch = batch_columns(incoming, roster.rank, snapshots, self._limits.clock_skew_ms)
        stored = apply_stored(histories, batch, roster.last_offsets(), self._limits)
        if self._metrics is not None:
            self._metrics.stages.lap("windows")
            self._metrics.hot(stored.folded)
        return stored.applied, Pending(roster, snapshots, stored.packed, moved)

    def alone(self, incoming: Sequence[Incoming]) -> Applied:
        """Every record as the first of its card, for when no history can be had; nothing is read and nothing stored."""
        alone = np.arange(len(incoming))
        batch = batch_columns(incoming, alone, {}, self._limits.clock_skew_ms)
        return apply_stored([None] * len(incoming), batch, alone, self._limits).applied

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
            before, last = pending.snapshots[partition].applied, roster.last[partition]
            if stored or dropped or before is None or last > before:
                after = last if before is None else max(before, last)
                commits.append(Commit(partition, stored, before, after, dropped))
        if commits:
            await self._store.commit_all(commits)


class Pending(msgspec.Struct, frozen=True):
    """What is to be committed of a batch.

    Attributes:
        roster: its cards.
        snapshots: what was read of each partition.
        packed: by rank the history to be stored; None where nothing has changed.
        renamed: what moves to another name.
    """

    roster: Roster
    snapshots: Mapping[int, Snapshot]
    packed: list[bytes | None]
    renamed: Renamed
