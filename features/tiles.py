"""Tiles: what is left of a hot card's oldest authorizations once they are folded.

A tile stands for consecutive authorizations in order of time: how many, their sum and their largest amount, and the
times of the first and the last. A window holds a tile whole, not at all, or in part; of a part, an even spread between
first and last is taken. How large a tile may grow is decided where it is made (`features/fold.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from features.runs import extremes

Int64 = NDArray[np.int64]

WORDS: Final = 5
# Earlier than any time a record can have: nothing of such a card was folded.
NEVER_FOLDED: Final = -(1 << 62)
# Times are below 2**48 ms: with a card's rank above them one sorted column serves many cards.
_RANK_SHIFT: Final = 48


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


def with_tables(tiles: Tiles, tables: Mapping[int, Int64], folded_ms: Int64) -> Tiles:
    """The tiles with the rows of some cards in the place of those that they had; `folded_ms` is of all cards."""
    sizes, pieces, begin = np.diff(tiles.start), [], 0
    for card in sorted(tables):
        pieces += [tiles.table[begin : int(tiles.start[card])], tables[card]]
        begin, sizes[card] = int(tiles.start[card + 1]), len(tables[card])
    pieces.append(tiles.table[begin:])
    start = np.append(0, sizes.cumsum())
    return Tiles(np.concatenate(pieces), start, folded_ms, any_folded=bool((folded_ms != NEVER_FOLDED).any()))


def tiles_since(tiles: Tiles, oldest_ms: Int64) -> Tiles:
    """The tiles that reach beyond each card's oldest time; shape (cards,)."""
    gone = (tiles.folded_ms != NEVER_FOLDED) & (tiles.folded_ms < oldest_ms)
    stays = tiles.table[:, 1] >= oldest_ms.repeat(np.diff(tiles.start))
    if np.count_nonzero(stays) == len(stays) and not np.count_nonzero(gone):
        return tiles
    folded_ms = np.where(gone, NEVER_FOLDED, tiles.folded_ms)
    start = np.append(0, stays.cumsum())[tiles.start]
    return Tiles(tiles.table[stays], start, folded_ms, any_folded=bool((folded_ms != NEVER_FOLDED).any()))


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
    ranks = np.arange(len(tiles.start) - 1).repeat(np.diff(tiles.start)) << _RANK_SHIFT
    # In order of time: those that a window overlaps are a run, and only its two ends may be cut.
    first = (tiles.table[:, 1] + ranks).searchsorted((card << _RANK_SHIFT) + begin_ms)
    last = (tiles.table[:, 0] + ranks).searchsorted((card << _RANK_SHIFT) + end_ms, "right") - 1
    if len(at := ((first <= last) & (begin_ms <= end_ms)).nonzero()[0]):
        answers[:, at] = _between(tiles.table, first[at], last[at], begin_ms[at], end_ms[at])
    return answers[0], answers[1], answers[2]


def _between(table: Int64, first: Int64, last: Int64, begin_ms: Int64, end_ms: Int64) -> Int64:
    """The answers of queries that overlap the tiles `first..last`; shape (3, q)."""
    # Sums wrap around and so do their differences: exact while a window's own sum fits in 63 bits.
    counts, totals = (np.append(0, table[:, column].cumsum()) for column in (2, 3))
    one, whole = first == last, np.minimum(first + 1, last)
    left, right = (_of_end(table, tile, begin_ms, end_ms) for tile in (first, last))
    right[:, one] = 0
    largest = extremes(np.maximum, table[:, 4].copy(), whole, last, np.maximum(left[2], right[2]))
    return np.stack(
        (left[0] + right[0] + counts[last] - counts[whole], left[1] + right[1] + totals[last] - totals[whole], largest)
    )


def _of_end(table: Int64, tile: Int64, begin_ms: Int64, end_ms: Int64) -> Int64:
    """What a tile, which may be cut, gives its query; shape (3, q)."""
    first_ms, last_ms, count, total, amount = table[tile].T
    inside = _count_inside(first_ms, last_ms, count, begin_ms, end_ms)
    # Split, so that the product stays within 64 bits.
    share = total // count * inside + total % count * inside // count
    return np.stack((inside, share, np.where(inside > 0, amount, 0)))


def _count_inside(first_ms: Int64, last_ms: Int64, count: Int64, begin_ms: Int64, end_ms: Int64) -> Int64:
    """How many of each tile's authorizations lie in its query's window."""
    begins, ends = first_ms >= begin_ms, last_ms <= end_ms
    overlap_ms = np.minimum(last_ms, end_ms) - np.maximum(first_ms, begin_ms)
    # Of a tile that is cut, the end that lies outside is certainly out and the end that lies inside certainly in.
    cut = np.clip(count * overlap_ms // np.maximum(last_ms - first_ms, 1), (begins | ends).astype(np.int64), count - 1)
    return np.where(overlap_ms < 0, 0, np.where(begins & ends, count, cut))
