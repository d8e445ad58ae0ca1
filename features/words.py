"""Packed entries as words of shape (n, 3): where each field lies (`features/history.py`), read without unpacking."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

WORD: Final = np.dtype("<u8")
ENTRY_BYTES: Final = 24
TIME_SHIFT: Final = np.uint64(16)
REVERSAL_BIT: Final = np.uint64(1 << 15)
CLAMPED_BIT: Final = np.uint64(1 << 14)
AMOUNT_SHIFT: Final = np.uint64(14)
CODE_MASK: Final = np.uint64((1 << 14) - 1)
# An entry as one item: numpy copies such items ten times as fast as rows of three words.
_ENTRY: Final = np.dtype((np.void, ENTRY_BYTES))

Int64 = NDArray[np.int64]
UInt64 = NDArray[np.uint64]
Bool = NDArray[np.bool_]


def times_of(words: UInt64) -> Int64:
    """The times, in milliseconds."""
    # Unsigned shifts throughout: times and amounts reach into the sign bit of their words.
    return (words[:, 0] >> TIME_SHIFT).view(np.int64)


def reversals_of(words: UInt64) -> Bool | None:
    """Which entries are reversals, None where none is."""
    marked = words[:, 0] & REVERSAL_BIT
    return marked != 0 if np.count_nonzero(marked) else None


def amounts_of(words: UInt64, reversal: Bool | None) -> Int64:
    """The amounts in minor units, of reversals the offsets; `reversal` tells which they are."""
    amount = (words[:, 1] >> AMOUNT_SHIFT).view(np.int64)
    return amount if reversal is None else np.where(reversal, words[:, 1].view(np.int64), amount)


def clamped_of(words: UInt64) -> Bool:
    """Which entries have their record's time instead of their own."""
    return np.asarray((words[:, 0] & CLAMPED_BIT) != 0)


def codes_of(words: UInt64) -> tuple[Int64, Int64]:
    """The codes of country and merchant category; a reversal's second is to be taken no notice of."""
    return (words[:, 0] & CODE_MASK).view(np.int64), (words[:, 1] & CODE_MASK).view(np.int64)


def chosen(words: UInt64, at: Bool | Int64) -> UInt64:
    """The entries at a mask or index."""
    return words.view(_ENTRY)[:, 0][at].view(WORD).reshape(-1, 3)


def inserted(words: UInt64, new: UInt64, place: Int64) -> UInt64:
    """Entries with new ones among them, which stand at the given places afterwards."""
    merged = np.empty(len(words) + len(new), _ENTRY)
    old = np.ones(len(merged), np.bool_)
    old[place] = False
    merged[old] = words.view(_ENTRY)[:, 0]
    merged[place] = new.view(_ENTRY)[:, 0]
    return merged.view(WORD).reshape(-1, 3)
