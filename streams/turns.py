"""The batches in hand, the turn that each waits for before its first effect, and when it is acknowledged.

So no more than one batch ever comes again, from its beginning, and what a history knows of the records that may come
again is enough to answer them as before.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from features.errors import BatchRevoked
from streams.role import MOST_AGAIN, Chunk, Turn


class Batch:
    """A batch in hand, as Faust sees one message.

    Attributes:
        acknowledged: set once its offsets are committed, or are another's to commit.
    """

    refcount, acked = 1, False

    def __init__(self) -> None:
        self.acknowledged = asyncio.Event()


class Again:
    """What comes again after an assignment: it is acknowledged all at once, so that it never comes again in part.

    What a card has met again is known as long as the assignment lasts; a process that began in the middle would take
    the records before the middle for firsts of what it meets.
    """

    def __init__(self) -> None:
        self._until: dict[int, int] = {}
        self._since: dict[int, int] = {}

    def begin(self, until: Mapping[int, int]) -> None:
        """An assignment begins.

        Args:
            until: partition -> offset up to which records had their effect before.
        """
        self._until, self._since = dict(until), {}

    def acknowledged(self, chunks: Sequence[Chunk]) -> dict[int, int]:
        """Offsets that may be committed when these chunks are done: partition -> the first that is not."""
        offsets: dict[int, int] = {}
        for chunk in chunks:
            first, last = (int(chunk.records[end].offset() or 0) for end in (0, -1))
            since = self._since.setdefault(chunk.partition, first)
            until = self._until.get(chunk.partition, -1)
            waits = last < until <= since + MOST_AGAIN
            offsets[chunk.partition] = since if waits else last + 1
        return offsets


class InHand:
    """Batches from when they are taken until they are done; used on the event loop alone.

    Attributes:
        idle: set while there is none.
    """

    def __init__(self) -> None:
        self.idle = asyncio.Event()
        self.idle.set()
        self._batches: deque[Batch] = deque()
        self._latest: Batch | None = None
        self._unacknowledged: list[Batch] = []

    def take(self, is_ours: Callable[[], bool]) -> tuple[Batch, Turn]:
        """A batch is taken; `is_ours` says later whether its partitions still are."""
        before, self._latest = self._latest, Batch()
        self._batches.append(self._latest)
        self.idle.clear()

        async def turn() -> None:
            if before is not None:
                await before.acknowledged.wait()
            if not is_ours():
                raise BatchRevoked("the partitions were taken away before the batch had any effect")

        return self._latest, turn

    def done(self) -> Batch:
        """The batch that was taken first is done; its offsets are about to be committed."""
        self._unacknowledged.append(self._batches[0])
        return self._leave(self._batches.popleft())

    def dropped(self) -> Batch:
        """The batch that was taken last was given up before it had any effect."""
        return self._leave(self._batches.pop())

    def acknowledge(self) -> None:
        """The offsets of every batch that was done are committed."""
        for batch in self._unacknowledged:
            batch.acknowledged.set()
        self._unacknowledged.clear()

    def call_off(self) -> None:
        """The partitions are gone: whoever waits for its turn hears that it will not come."""
        self.acknowledge()
        for batch in self._batches:
            batch.acknowledged.set()

    def _leave(self, batch: Batch) -> Batch:
        if not self._batches:
            self.idle.set()
        return batch
