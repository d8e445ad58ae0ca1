"""Fold hot cards: beyond so many entries, a card's oldest authorizations become tiles.

Ten-minute windows stay exact because nothing younger than `_MARGIN_MS` is folded. Weekly sums and counts stay within
1 % because a tile stays small against all that is newer than it: when the left edge of a week cuts a tile, everything
newer lies inside the window. It is the idea of exponential histograms (Datar, Gionis, Indyk, Motwani: Maintaining
Stream Statistics over Sliding Windows, SIAM J. Comput. 31(6), 2002).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from features.history import Bool, Entries, Histories, Int64, UInt64, unpack_words
from features.log import NEVER, build_log
from features.tiles import NEVER_FOLDED, WORDS, with_tables
from features.words import chosen

# A record that comes up to ten minutes late still finds its ten minutes whole.
_MARGIN_MS: Final = 20 * 60_000
# Beyond this many entries the margin gives way: one card must not grow without bound.
_MOST_ENTRIES: Final = 131_072
# Parts of what is newer that a tile may hold. Count and sum err by less than 1/256 each, so their quotient by less
# than 1/127; the largest amount by 0.8 %.
_SHARE: Final = 256
_LARGEST_SLACK: Final = 125

_Row = tuple[int, int, int, int, int]


def fold_hot(histories: Histories, held: Bool, *, limit: int, retention_ms: int) -> Histories:
    """Fold the oldest entries of the cards that have more than `limit` of them, by an eighth at least.

    Args:
        histories: of the cards.
        held: cards that are left as they are; shape (cards,).
        limit: youngest entries that a card keeps in any case.
        retention_ms: one week plus grace.
    """
    many = histories.counts > limit + limit // 8
    if not np.count_nonzero(many):
        return histories
    hot = (many & ~held).nonzero()[0].tolist()
    stays = np.ones(len(histories.words), np.bool_)
    ends = np.cumsum(histories.counts)
    tables: dict[int, Int64] = {}
    folded_ms = histories.tiles.folded_ms.copy()
    for card in hot:
        part = slice(int(ends[card] - histories.counts[card]), int(ends[card]))
        words = histories.words[part]
        entries = unpack_words(words)
        horizon_ms = _horizon_ms(entries, limit)
        gone = entries.time_ms[entries.time_ms <= horizon_ms]
        if not len(gone):
            continue
        folded_ms[card] = horizon_ms = int(gone.max())
        stays[part], tables[card] = _fold(words, entries, histories.tiles.of(card), horizon_ms, retention_ms)
    ranks = np.repeat(np.arange(len(ends)), histories.counts)
    counts = np.bincount(ranks[stays], minlength=len(ends))
    return Histories(
        chosen(histories.words, stays), counts, histories.settled, histories.written,
        with_tables(histories.tiles, tables, folded_ms),
    )  # fmt: skip


def _fold(words: UInt64, entries: Entries, table: Int64, horizon_ms: int, retention_ms: int) -> tuple[Bool, Int64]:
    """Which of one card's entries stay, and its tiles."""
    log = build_log(words, np.array([len(words)]), retention_ms)
    oldest_ms = log.newest_ms(len(words) - 1) - retention_ms
    stays = entries.time_ms > horizon_ms
    live = ~entries.reversal & (entries.time_ms >= oldest_ms)
    if log.undone is not None:
        live &= log.undone.dead_from == NEVER
    folded = np.flatnonzero(live & ~stays)
    folded = folded[np.argsort(entries.time_ms[folded], kind="stable")]
    times, amounts = entries.time_ms[folded].tolist(), entries.amount_minor[folded].tolist()
    rows: list[_Row] = [tuple(row) for row in table[table[:, 1] >= oldest_ms].tolist()]
    rows += [(t, t, 1, amount, amount) for t, amount in zip(times, amounts, strict=True)]
    kept = entries.amount_minor[live & stays]
    merged = _merged(rows, len(kept), int(kept.sum()), int(kept.max(initial=0)))
    return stays, np.array(merged, np.int64).reshape(-1, WORDS)


def _horizon_ms(entries: Entries, limit: int) -> int:
    """Time up to which a card is to be folded; earlier than all its entries where nothing may be."""
    times = np.sort(entries.time_ms[~entries.reversal])
    if not len(times):
        return NEVER_FOLDED
    horizon_ms = min(int(times[max(len(times) - limit, 1) - 1]), int(times[-1]) - _MARGIN_MS)
    if len(times) > (most := max(_MOST_ENTRIES, 2 * limit)):
        horizon_ms = max(horizon_ms, int(times[len(times) - most // 2 - 1]))
    return horizon_ms


def _merged(rows: list[_Row], newer_count: int, newer_total: int, newer_largest: int) -> list[_Row]:
    """Join neighbours, from new to old, as long as they stay small against what is newer."""
    if not rows:
        return rows
    merged: list[_Row] = []
    current = rows[-1]
    for row in reversed(rows[:-1]):
        joined = (
            row[0], current[1], row[2] + current[2], row[3] + current[3], max(row[4], current[4])
        )  # fmt: skip
        if (
            joined[2] * _SHARE <= newer_count
            and joined[3] * _SHARE <= newer_total
            and joined[4] * _LARGEST_SLACK <= newer_largest * (_LARGEST_SLACK + 1)
        ):
            current = joined
            continue
        merged.append(current)
        newer_count += current[2]
        newer_total += current[3]
        newer_largest = max(newer_largest, current[4])
        current = row
    merged.append(current)
    merged.reverse()
    return merged
