"""The state of a batch's cards: read, apply, commit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from features.apply import Applied, apply_batch, changed_cards, packed_histories
from features.history import Histories, unpack
from features.settle import settled
from features.store import Commit, OnlineStore, Snapshot
from streams.columns import Roster, batch_columns
from streams.decisions import Limits
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
        histories = unpack([h for partition in roster.cards for h in snapshots[partition].histories])
        limits = self._limits
        batch = batch_columns(incoming, roster.rank, snapshots, limits.clock_skew_ms)
        histories = settled(histories, batch, limit=limits.hot_card_records, retention_ms=limits.retention_ms)
        applied = apply_batch(histories, batch, retention_ms=limits.retention_ms, clock_skew_ms=limits.clock_skew_ms)
        if self._metrics is not None:
            self._metrics.stages.lap("windows")
            self._metrics.hot(histories.tiles)
        return applied, Pending(roster, snapshots, histories, moved)

    def alone(self, incoming: Sequence[Incoming]) -> Applied:
        """Every record as the first of its card, for when no history can be had; nothing is read and nothing stored."""
        batch = batch_columns(incoming, np.arange(len(incoming)), {}, self._limits.clock_skew_ms)
        return apply_batch(
            unpack([None] * len(incoming)),
            batch,
            retention_ms=self._limits.retention_ms,
            clock_skew_ms=self._limits.clock_skew_ms,
        )

    async def commit(self, applied: Applied, pending: Pending) -> None:
        """Store what changed and move each partition's `applied`, one atomic script a partition, all in one go."""
        roster = pending.roster
        changed = changed_cards(applied, pending.histories)
        values = packed_histories(
            applied,
            pending.histories,
            changed,
            last_offset=roster.last_offsets(),
        )
        packed = dict(zip(changed.tolist(), values, strict=True))
        commits = []
        for partition, names in roster.cards.items():
            base = roster.first_rank[partition]
            stored = {name: packed[base + k] for k, name in enumerate(names) if base + k in packed}
            # A history that was taken over is stored under its new name even where the batch has not changed it.
            stored = {**pending.renamed.taken.get(partition, {}), **stored}
            dropped = pending.renamed.dropped.get(partition, [])
            before, last = pending.snapshots[partition].applied, roster.last[partition]
            if stored or dropped or before is None or last > before:
                after = last if before is None else max(before, last)
                commits.append(Commit(partition, stored, before, after, dropped))
        if commits:
            await self._store.commit_all(commits)


class Pending:
    """What a batch read, kept until it is committed."""

    def __init__(
        self, roster: Roster, snapshots: Mapping[int, Snapshot], histories: Histories, renamed: Renamed
    ) -> None:
        self.roster, self.snapshots, self.histories, self.renamed = roster, snapshots, histories, renamed
