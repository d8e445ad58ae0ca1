"""What a role is to the delivery: a handler of chunks of records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec
from confluent_kafka import Message


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


class Handler(Protocol):
    """A role's work. Every method runs on the event loop; an exception from `process` ends the process."""

    async def start(self) -> None:
        """Connect to what the role needs; called once, before any partition is assigned."""
        ...

    async def assigned(self, positions: dict[int, int | None]) -> None:
        """Partitions were assigned: partition -> committed offset (None: nothing was committed yet)."""
        ...

    async def process(self, chunks: Sequence[Chunk]) -> None:
        """Handle the chunks; returning means that every effect is durable and the offsets may be committed."""
        ...

    async def stop(self) -> None:
        """Release connections; called once, after the last batch."""
        ...
