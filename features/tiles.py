"""Tiles: what is left of a hot card's oldest authorizations once they are folded.

A tile stands for consecutive authorizations in order of time: how many, their sum and their largest amount, and the
times of the first and the last. A window holds a tile whole, not at all, or in part; of a part, an even spread between
first and last is taken. How large a tile may grow is decided where it is made (`features/fold.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]

WORDS: Final = 5
# Earlier than any time a record can have: nothing of such a card was folded.
NEVER_FOLDED: Final = -(1 << 62)
_PAIRS_AT_ONCE: Final = 2_000_000


class Tiles(msgspec.Struct, frozen=True):
    """The tiles of several cards, one card after the other, each card's from old to new.

    Attributes:
        table: one row per tile, shape (tiles, 5): time of its first authorization, time of its last, how many, their
            sum and their largest amount in minor units.
        start: first tile of each card, and the number of tiles at the end; length cards + 1.
        folded_ms: time up to which each card is folded, `NEVER_FOLDED` where it is not; length cards.
        any_folded: False where all of them are `NEVER_FOLDED`.
    """

    table: Int64
    start: Int64
    folded_ms: Int64
    any_folded: bool

    def of(self, card: int) -> Int64:
        """A card's rows."""
        return self.table[int(self.start[card]) : int(self.start[card + 1])]


@lru_cache(64)
def no_tiles(cards: int) -> Tiles:
    """The tiles of cards that were never folded; not to be written into."""
    columns = np.empty((0, WORDS), np.int64), np.zeros(cards + 1, np.int64), np.full(cards, NEVER_FOLDED)
    for column in columns:
        column.flags.writeable = False
    return Tiles(*columns, any_folded=False)


def tiles_of(tables: Sequence[Int64], folded_ms: Int64) -> Tiles:
    """Tiles from each card's rows."""
    start = np.concatenate(([0], np.cumsum([len(t) for t in tables])))
    return Tiles(np.concatenate(tables), start, folded_ms, any_folded=bool((folded_ms != NEVER_FOLDED).any()))


def tiles_in(tiles: Tiles, card: Int64, begin_ms: Int64, end_ms: Int64) -> tuple[Int64, Int64, Int64]:
    """What the tiles of cards hold between times, both included.

    Args:
        tiles: of the cards.
        card: rank of each query's card; shape (q,).
        begin_ms: left edge of each query.
        end_ms: right edge of each query.

    Returns:
        Count, sum and largest amount; each of shape (q,), 0 where there is nothing.
    """
    answers = np.zeros((3, len(card)), np.int64)
    sizes = np.diff(tiles.start)[card]
    asked = np.flatnonzero(sizes)
    for at in np.split(asked, np.flatnonzero(np.diff(np.cumsum(sizes[asked]) // _PAIRS_AT_ONCE)) + 1):
        if len(at):
            answers[:, at] = _between(tiles, tiles.start[card[at]], sizes[at], begin_ms[at], end_ms[at])
    return answers[0], answers[1], answers[2]


def _between(tiles: Tiles, start: Int64, sizes: Int64, begin_ms: Int64, end_ms: Int64) -> Int64:
    """The answers of queries that each look at `sizes` tiles from `start` on; shape (3, q)."""
    offsets = np.concatenate(([0], np.cumsum(sizes)[:-1]))
    query = np.repeat(np.arange(len(sizes)), sizes)
    tile = np.arange(sizes.sum()) - offsets[query] + start[query]
    first_ms, last_ms, count, total, amount = tiles.table[tile].T
    inside = _count_inside(first_ms, last_ms, count, begin_ms[query], end_ms[query])
    # Split, so that the product stays within 64 bits.
    share = total // count * inside + total % count * inside // count
    largest = np.where(inside > 0, amount, 0)
    return np.stack(
        (np.add.reduceat(inside, offsets), np.add.reduceat(share, offsets), np.maximum.reduceat(largest, offsets))
    )


def _count_inside(first_ms: Int64, last_ms: Int64, count: Int64, begin_ms: Int64, end_ms: Int64) -> Int64:
    """How many of each tile's authorizations lie in its query's window."""
    begins, ends = first_ms >= begin_ms, last_ms <= end_ms
    overlap_ms = np.minimum(last_ms, end_ms) - np.maximum(first_ms, begin_ms)
    # Of a tile that is cut, the end that lies outside is certainly out and the end that lies inside certainly in.
    cut = np.clip(count * overlap_ms // np.maximum(last_ms - first_ms, 1), (begins | ends).astype(np.int64), count - 1)
    return np.where(overlap_ms < 0, 0, np.where(begins & ends, count, cut))
