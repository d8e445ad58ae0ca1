"""What running workers decide by, in Redis: they tell it, and `fraudstream reload` asks them to look for something new.

policy:asked           how often a reload was asked for
policy:{<partition>}   Standing of the partition's worker as JSON, told every second; expires with the worker
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, Final

import msgspec
import redis.asyncio as redis

from features.redis_link import ask

ALIVE_MS: Final = 5_000
"""A worker that has told nothing for so long is gone."""


class Standing(msgspec.Struct, frozen=True):
    """What a worker decides by.

    Attributes:
        worker: names it.
        answered: the last reload that it has done with.
        versions: of each part of its policy.
        problems: of each part whose newest version is refused, why.
    """

    worker: str
    answered: int
    versions: dict[str, str]
    problems: dict[str, str]


class Board:
    """Reads and writes what workers tell; every method raises ServerUnavailable where Redis does not answer.

    Args:
        client: of Redis.
        key_prefix: put before every key.
    """

    def __init__(self, client: redis.Redis, key_prefix: str) -> None:
        # Its annotations give every answer of every command as one union.
        self._client: Any = client
        self._prefix = f"{key_prefix}policy:"

    async def ask(self) -> int:
        """Ask all workers to look for something new; returns the number of this request."""
        return int(await ask(partial(self._client.incr, f"{self._prefix}asked")))

    async def asked(self) -> int:
        """The number of the newest request."""
        return int(await ask(partial(self._client.get, f"{self._prefix}asked")) or 0)

    async def tell(self, standing: Standing, partitions: Iterable[int]) -> None:
        """Put up what the worker of some partitions decides by."""
        told = msgspec.json.encode(standing)
        for partition in partitions:
            await ask(partial(self._client.set, self._key(partition), told, px=ALIVE_MS))

    async def leave(self, partitions: Iterable[int]) -> None:
        """Take down what was told of some partitions."""
        for partition in partitions:
            await ask(partial(self._client.unlink, self._key(partition)))

    async def standings(self, partitions: int) -> list[Standing]:
        """Of every worker that is alive and owns one of the first so many partitions."""
        found: dict[str, Standing] = {}
        for partition in range(partitions):
            told = await ask(partial(self._client.get, self._key(partition)))
            if told is not None:
                standing = msgspec.json.decode(told, type=Standing)
                found[standing.worker] = standing
        return [found[worker] for worker in sorted(found)]

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def _key(self, partition: int) -> str:
        return f"{self._prefix}{{{partition}}}"
