"""A card's home partition: where Kafka's Java clients would put a record keyed by the card id."""

from __future__ import annotations

import struct
from typing import Final

from features.native import native_decode

_SEED: Final = 0x9747B28C
_FACTOR: Final = 0x5BD1E995
_MASK: Final = 0xFFFFFFFF
_POSITIVE: Final = 0x7FFFFFFF


def murmur2_python(data: bytes) -> int:
    """The 32-bit murmur2 of Kafka's default partitioner, unsigned.

    >>> murmur2_python(b"21") - 2**32, murmur2_python(b"foobar") - 2**32
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


murmur2: Final = murmur2_python if native_decode is None else native_decode.murmur2


def home_partition(home_id: bytes, partitions: int) -> int:
    """The partition whose order counts for a card, whatever partition its producer chose.

    Args:
        home_id: `Transaction.home_id`.
        partitions: number of partitions of the topic, at least 1.
    """
    return (murmur2(home_id) & _POSITIVE) % partitions
