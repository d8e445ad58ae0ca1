"""Histories laid out for window queries: keys that sort many cards at once, and what reversals took out.

A key is a time with its card's rank in the bits above it. So one sorted column serves many cards, and differences of
the keys of one card are differences of times.
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np

from features.words import Bool, Int64, UInt64, amounts_of, reversals_of, times_of

# Times are below 2**48 ms (year 9999).
RANK_SHIFT: Final = 48
TIME_MASK: Final = (1 << RANK_SHIFT) - 1
MAX_CARDS: Final = 1 << 14
NEVER: Final = np.iinfo(np.int64).max


class Undone(msgspec.Struct, frozen=True):
    """What reversals did to a log.

    Attributes:
        reversal: the entry is one; length n.
        dead_from: position of the reversal that takes an authorization out (its own position where the reversal came
            first), a huge number where there is none; length n.
    """

    reversal: Bool
    dead_from: Int64


class Log(msgspec.Struct, frozen=True):
    """The histories of several cards, one after the other, each in order of application.

    Attributes:
        words: the entries, packed; shape (n, 3).
        start: first position of each card and n at the end; length cards + 1.
        amount_minor: amounts, of reversals their offsets; length n.
        key: time of each authorization, 0 of a reversal, with the card's rank above it; length n.
        newest_key: running maximum of `key`; length n.
        undone: None where no entry is a reversal and none is for itself alone.
        mess: entries that are a reversal, are taken out by one or came late; None where there is none.
    """

    words: UInt64
    start: Int64
    amount_minor: Int64
    key: Int64
    newest_key: Int64
    undone: Undone | None
    mess: Bool | None

    def newest_ms(self, position: int) -> int:
        """Newest effective time of the card's authorizations at or before a position; 0 where there is none."""
        return int(self.newest_key[position]) & TIME_MASK


def build_log(words: UInt64, counts: Int64, retention_ms: int, alone: Int64 | None = None) -> Log:
    """Prepare histories for window queries.

    Args:
        words: the entries, one card after the other, each card's in order of application; shape (n, 3).
        counts: entries per card; at most `MAX_CARDS` cards.
        retention_ms: how far behind the card's newest authorization an entry is kept.
        alone: positions of authorizations that no query sees but their own.
    """
    if len(counts) > MAX_CARDS:
        raise ValueError(f"at most {MAX_CARDS} cards at once")
    start = np.zeros(len(counts) + 1, np.int64)
    counts.cumsum(out=start[1:])
    rank = np.arange(0, len(counts) << RANK_SHIFT, 1 << RANK_SHIFT)
    reversal = reversals_of(words)
    times = times_of(words) if reversal is None else np.where(reversal, 0, times_of(words))
    key = times | rank.repeat(counts)
    newest_key = np.maximum.accumulate(key)
    late = key != newest_key
    mess = late if np.count_nonzero(late) else None
    log = Log(words, start, amounts_of(words, reversal), key, newest_key, None, mess)
    if reversal is None and alone is None:
        return log
    undone = Undone(np.zeros(len(words), np.bool_) if reversal is None else reversal, np.full(len(words), NEVER))
    for position in np.flatnonzero(undone.reversal).tolist():
        _apply_reversal(log, undone, position, retention_ms)
    if alone is not None:
        undone.dead_from[alone] = alone
    return msgspec.structs.replace(log, undone=undone, mess=late | undone.reversal | (undone.dead_from != NEVER))


def _apply_reversal(log: Log, undone: Undone, reversal: int, retention_ms: int) -> None:
    """Write into `dead_from` what the reversal at a position takes out."""
    card = int(log.newest_key[reversal]) >> RANK_SHIFT
    first, end = log.start[card], log.start[card + 1]
    same = log.words[first:end, 2] == log.words[reversal, 2]
    time_ms = int(times_of(log.words[reversal : reversal + 1])[0])
    for position in (first + np.flatnonzero(same & ~undone.reversal[first:end])).tolist():
        if position < reversal:
            undone.dead_from[position] = min(undone.dead_from[position], reversal)
        elif time_ms >= log.newest_ms(position - 1) - retention_ms:
            # Remembered for an original that came later, as long as the memory lasts.
            undone.dead_from[position] = min(undone.dead_from[position], position)
