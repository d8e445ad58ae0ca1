"""What a role is to the delivery: a handler of chunks of records."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Final, Protocol

import msgspec
from confluent_kafka import Message

# More records of a partition than a batch ever has; where more come again, somebody has set the offsets back.
MOST_AGAIN: Final = 100_000

_WEIGHED_BYTES: Final = 4096


class Chunk(msgspec.Struct, frozen=True, gc=False):
    """Consecutive records of one partition, as librdkafka delivered them.

    Attributes:
        topic: where they were read.
        partition: likewise.
        records: at least one.
        weight: how much they take of a queue or a batch: one a record, and one more for every 4 KiB of it.
    """

    topic: str
    partition: int
    records: Sequence[Message]
    weight: int = 0


def chunks_of(topic: str, partition: int, records: Sequence[Message], weight: int) -> Iterator[Chunk]:
    """Consecutive records of one partition, halved until they weigh no more."""
    weighs = sum(1 + len(record) // _WEIGHED_BYTES for record in records)
    if weighs <= weight or len(records) == 1:
        yield Chunk(topic, partition, records, weighs)
        return
    half = len(records) // 2
    yield from chunks_of(topic, partition, records[:half], weight)
    yield from chunks_of(topic, partition, records[half:], weight)


Told = Callable[[], None]
"""Counts and logs a batch that is done: nobody waits for that."""


class Turn(Protocol):
    """Awaited by a handler before a batch has its first effect: the batch before is acknowledged then."""

    async def __call__(self) -> None:
        """See the class; raises BatchRevoked when the partitions have gone meanwhile."""
        ...


async def at_once() -> None:
    """The turn of a batch that follows no other."""


class Handler(Protocol):
    """A role's work. Every method runs on the event loop; an exception from `process` ends the process."""

    async def start(self) -> None:
        """Connect to what the role needs; called once, before any partition is assigned."""
        ...

    async def assigned(self, positions: dict[int, int | None]) -> Mapping[int, int]:
        """Partitions were assigned: partition -> committed offset (None: nothing was committed yet).

        Returns:
            Partition -> offset up to which records had their effect before; they come again, and are acknowledged
            together.
        """
        ...

    async def process(self, chunks: Sequence[Chunk], turn: Turn) -> Awaitable[Told] | None:
        """Handle the chunks, up to where the next batch may be begun.

        What is returned is awaited beside the next batch; once it is done, every effect is durable and the offsets may
        be committed. What that gives is called when their commit is on its way. None: they are durable already.
        """
        ...

    def hurry(self) -> None:
        """SIGHUP: look now whether files that may change while the role runs have changed."""
        ...

    async def stop(self) -> None:
        """Release connections; called once, after the last batch."""
        ...
