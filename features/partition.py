"""A card's home partition: where Kafka's Java clients would put a record keyed by the card id."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]

_SEED: Final = 0x9747B28C
_FACTOR: Final = 0x5BD1E995
_MASK: Final = 0xFFFFFFFF
_POSITIVE: Final = 0x7FFFFFFF
# Fewer ids than this are hashed one by one, and so is an id that is longer than ids are: in columns every id takes as
# many steps as the longest.
_FEW: Final = 32
_LONG: Final = 64


def murmur2(data: bytes) -> int:
    """The 32-bit murmur2 of Kafka's default partitioner, unsigned.

    >>> murmur2(b"21") - 2**32, murmur2(b"foobar") - 2**32
    (-973932308, -790332482)
    """
    size = len(data)
    whole = size & ~3
    state = _SEED ^ size
    for word in struct.unpack_from(f"<{whole // 4}I", data):
        mixed = word * _FACTOR & _MASK
        state = (state * _FACTOR ^ (mixed ^ mixed >> 24) * _FACTOR) & _MASK
    if size > whole:
        state = (state ^ int.from_bytes(data[whole:], "little")) * _FACTOR & _MASK
    state = (state ^ state >> 13) * _FACTOR & _MASK
    return state ^ state >> 15


def home_partition(home_id: bytes, partitions: int) -> int:
    """The partition whose order counts for a card, whatever partition its producer chose.

    Args:
        home_id: `Transaction.home_id`.
        partitions: number of partitions of the topic, at least 1.
    """
    return (murmur2(home_id) & _POSITIVE) % partitions


def home_partitions(home_ids: Sequence[bytes], partitions: int) -> Int64:
    """The `home_partition` of every id.

    >>> home_partitions([b"21", b"foobar"], 4).tolist() == [home_partition(i, 4) for i in (b"21", b"foobar")]
    True
    """
    if len(home_ids) < _FEW:
        return np.array([home_partition(one, partitions) for one in home_ids], np.int64)
    sizes = np.fromiter(map(len, home_ids), np.uint32, len(home_ids))
    homes = ((_murmur2_columns(home_ids, sizes) & _POSITIVE) % partitions).astype(np.int64)
    for at in np.flatnonzero(sizes > _LONG).tolist():
        homes[at] = home_partition(home_ids[at], partitions)
    return homes


def _murmur2_columns(data: Sequence[bytes], sizes: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """The `murmur2` of every item of at most `_LONG` bytes, a word of all of them at a time."""
    width = min(int(sizes.max()), _LONG) // 4 * 4 + 4
    words = np.array(data, f"S{width}").view("<u4").reshape(len(data), -1)  # zeros behind the end of each
    whole = sizes // 4
    factor = np.uint32(_FACTOR)
    state = sizes ^ np.uint32(_SEED)
    for place, word in enumerate(words.T):
        mixed = word * factor
        mixed = (mixed ^ mixed >> np.uint32(24)) * factor
        state = np.where(place < whole, state * factor ^ mixed, state)
    rest = words[np.arange(len(data)), np.minimum(whole, words.shape[1] - 1)]
    state = np.where(sizes % 4 > 0, (state ^ rest) * factor, state)
    state = (state ^ state >> np.uint32(13)) * factor
    return state ^ state >> np.uint32(15)
