"""What a card's history is when a batch begins: trimmed to the retention, and folded where it is long.

It is done before a batch and not after it, and not while records that the card has met may come again. So what comes
again after a crash, or after several, finds what it found, or made, the first time, and is answered as before.
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np

from features.fold import fold_hot
from features.history import Bool, Histories, Int64, UInt64, are_after
from features.tiles import tiles_since
from features.walk import Delivery
from features.words import chosen, reversals_of, times_of

_LONG_AGO_MS: Final = -(1 << 62)


def settled(histories: Histories, delivery: Delivery, *, limit: int, retention_ms: int) -> Histories:
    """The histories that a batch is to be applied to.

    Args:
        histories: as they were stored.
        delivery: where the batch stands.
        limit: youngest entries that a card keeps singly in any case.
        retention_ms: one week plus grace.
    """
    # Cards whose last records may come again: they answer from what those left, and what was settled stays settled.
    held = ~are_after(delivery.since, histories.written)
    ready = fold_hot(_trimmed(histories, held, retention_ms), held, limit=limit, retention_ms=retention_ms)
    return msgspec.structs.replace(ready, settled=np.where(held, ready.settled, ready.counts))


def _trimmed(histories: Histories, held: Bool, retention_ms: int) -> Histories:
    """Without what lies more than the retention behind each card's newest authorization."""
    words, counts = histories.words, histories.counts
    if not len(words) and not histories.tiles.any_folded:
        return histories
    reversal, times, ends = reversals_of(words), times_of(words), counts.cumsum()
    newest_ms = _newest_ms(times if reversal is None else np.where(reversal, _LONG_AGO_MS // 2, times), counts, ends)
    oldest_ms = newest_ms - retention_ms
    oldest_ms[held] = _LONG_AGO_MS
    old = times < oldest_ms.repeat(counts)
    if np.count_nonzero(old):
        if reversal is not None:
            _keep_with_originals(words, reversal, old, ends)
        counts = counts - np.bincount(ends.searchsorted(np.flatnonzero(old), "right"), minlength=len(counts))
        words = chosen(words, ~old)
    elif not histories.tiles.any_folded:
        return histories
    return Histories(
        words, counts, histories.settled, histories.written,
        tiles_since(histories.tiles, oldest_ms) if histories.tiles.any_folded else histories.tiles,
    )  # fmt: skip


def _newest_ms(times: Int64, counts: Int64, ends: Int64) -> Int64:
    """Newest of the times of each card, long ago where it has none; shape (cards,)."""
    begins = ends - counts
    if np.count_nonzero(counts) == len(counts):
        return np.asarray(np.maximum.reduceat(times, begins))
    some, newest = counts.nonzero()[0], np.full(len(counts), _LONG_AGO_MS // 2)
    if len(some):
        newest[some] = np.maximum.reduceat(times, begins[some])
    return newest


def _keep_with_originals(words: UInt64, reversal: Bool, old: Bool, ends: Int64) -> None:
    """A reversal stays as long as its original: what is old and reverses what is not, is not old either."""
    for card in np.unique(ends.searchsorted(np.flatnonzero(old & reversal), "right")).tolist():
        part = slice(int(ends[card - 1]) if card else 0, int(ends[card]))
        identity = words[part, 2]
        old[part] &= ~(reversal[part] & np.isin(identity, identity[~old[part] & ~reversal[part]]))
