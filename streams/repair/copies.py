"""Which records of a topic were sent on to another partition: those count where their copies lie."""

from __future__ import annotations

from array import array
from hashlib import blake2b
from typing import Final

import numpy as np
from confluent_kafka import Message
from numpy.typing import NDArray

from streams.intake import offset_of, rerouted_from

_ANYWHERE: Final = -1


class Copies:
    """Gathers what the headers of copies say, 16 bytes a copy; then answers for every record.

    A header counts only together with the value that it names: nobody can have another card's record passed over by
    writing its address.
    """

    def __init__(self) -> None:
        self._gathered = array("Q")
        self._sorted: NDArray[np.uint64] = np.empty(0, np.uint64)

    def gather(self, message: Message) -> None:
        """Look at a record: is it a copy?"""
        if (origin := rerouted_from(message)) is None:
            return
        address = _address(origin[0])
        self._gathered.append(_digest(address, _ANYWHERE, message))
        self._gathered.append(_digest(address, message.partition() or 0, message))

    def close(self) -> None:
        """Everything has been gathered."""
        self._sorted = np.unique(np.frombuffer(self._gathered, np.uint64)) if self._gathered else self._sorted
        self._gathered = array("Q")

    def __len__(self) -> int:
        return len(self._sorted)

    def sent_on(self, message: Message, home: int) -> bool:
        """Whether a record was sent on, so that its copy is the one that counts.

        Args:
            message: the record.
            home: its card's present home.
        """
        if not len(self._sorted):
            return False
        partition = message.partition() or 0
        if self._holds(_digest(b"%d:%d" % (partition, offset_of(message)), _ANYWHERE, message)):
            return True
        # A copy that was sent on once more keeps its first address, and so does the copy of it.
        origin = rerouted_from(message) if home != partition else None
        return origin is not None and self._holds(_digest(_address(origin[0]), home, message))

    def _holds(self, digest: int) -> bool:
        wanted = np.uint64(digest)
        place = int(np.searchsorted(self._sorted, wanted))
        return place < len(self._sorted) and self._sorted[place] == wanted


def _address(header: bytes) -> bytes:
    """Partition and offset of a header `partition:offset:timestamp_ms`, as numbers are written without zeros ahead."""
    partition, offset, _ = header.split(b":")
    return b"%d:%d" % (int(partition), int(offset))


def _digest(address: bytes, partition: int, message: Message) -> int:
    told = blake2b(b"%b|%d|" % (address, partition), digest_size=8)
    told.update(message.value() or b"")
    return int.from_bytes(told.digest(), "little")
