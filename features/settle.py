"""What a card's history is when a batch begins: trimmed to the retention, and folded where it is long.

It is done before a batch and not after it, and not where the batch comes again. So a batch that comes again after a
crash finds what it found, or made, the first time, and everything in it is answered as before.
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np

from features.fold import fold_hot
from features.history import Bool, Histories, Int64, is_after
from features.tiles import NEVER_FOLDED, tiles_of
from features.walk import Batch

_LONG_AGO_MS: Final = -(1 << 62)


def settled(histories: Histories, batch: Batch, *, limit: int, retention_ms: int) -> Histories:
    """The histories that a batch is to be applied to.

    Args:
        histories: as they were stored.
        batch: the records.
        limit: youngest entries that a card keeps singly in any case.
        retention_ms: one week plus grace.
    """
    held = _held_back(histories, batch)
    return fold_hot(_trimmed(histories, held, retention_ms), held, limit=limit, retention_ms=retention_ms)


def _held_back(histories: Histories, batch: Batch) -> Bool:
    """Cards that met a record which the batch that wrote them last had met: they answer from what it left."""
    held = np.zeros(len(histories.counts), np.bool_)
    for record in np.flatnonzero(batch.redelivered).tolist():
        card = int(batch.card[record])
        held[card] |= not is_after(int(batch.offset[record]), int(histories.written[card]))
    return held


def _trimmed(histories: Histories, held: Bool, retention_ms: int) -> Histories:
    """Without what lies more than the retention behind each card's newest authorization."""
    entries, counts = histories.entries, histories.counts
    oldest_ms = np.where(held, _LONG_AGO_MS, _newest_ms(histories) - retention_ms)
    rank = np.repeat(np.arange(len(counts)), counts)
    young = entries.time_ms >= oldest_ms[rank]
    if not young.all():
        for card in np.unique(rank[~young]).tolist():
            # A reversal stays as long as its original.
            part = np.flatnonzero(rank == card)
            stay = entries.identity[part][young[part] & ~entries.reversal[part]]
            young[part] |= entries.reversal[part] & np.isin(entries.identity[part], stay)
        counts = np.bincount(rank[young], minlength=len(counts))
        entries = entries.take(young)
    tiles = histories.tiles
    if (gone := (tiles.folded_ms != NEVER_FOLDED) & (tiles.folded_ms < oldest_ms)).any() or len(tiles.table):
        tables = np.split(tiles.table, tiles.start[1:-1])
        tables = [t[t[:, 1] >= oldest] for t, oldest in zip(tables, oldest_ms.tolist(), strict=True)]
        tiles = tiles_of(tables, np.where(gone, NEVER_FOLDED, tiles.folded_ms))
    return msgspec.structs.replace(
        histories, entries=entries, counts=counts, settled=np.minimum(histories.settled, counts), tiles=tiles
    )


def _newest_ms(histories: Histories) -> Int64:
    """Newest authorization of each card, long ago where it has none; length cards."""
    newest = np.full(len(histories.counts), _LONG_AGO_MS // 2)
    some = np.flatnonzero(histories.counts)
    if len(some):
        times = np.where(histories.entries.reversal, _LONG_AGO_MS // 2, histories.entries.time_ms)
        newest[some] = np.maximum.reduceat(times, (np.cumsum(histories.counts) - histories.counts)[some])
    return newest
