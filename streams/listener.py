"""Whom the thread that polls Kafka tells what it sees."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from streams.role import Chunk
from streams.watch.lag import Progress


class Listener(Protocol):
    """What the poll thread tells; every method is called in the poll thread."""

    def on_chunks(self, chunks: list[Chunk]) -> None:
        """Records arrived."""
        ...

    def on_assigned(self, positions: Mapping[int, int | None]) -> None:
        """Partitions were assigned and are paused: partition -> committed offset."""
        ...

    def on_revoked(self, partitions: frozenset[int], *, lost: bool) -> None:
        """Partitions are being taken; returns when the batch in hand is done (not awaited when they are lost)."""
        ...

    def on_settled(self) -> None:
        """Every offset that was done is committed, or is not ours to commit any more."""
        ...

    def on_progress(self, progress: Mapping[int, Progress], *, connected: bool) -> None:
        """Every few seconds: where the assigned partitions stand, and whether a broker answers."""
        ...

    def on_failure(self, error: BaseException) -> None:
        """The thread ended with an error that cannot heal."""
        ...
