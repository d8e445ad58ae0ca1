"""What running workers decide by, in Redis: they tell it, and `fraudstream reload` asks them to look for something new.

policy:asked     how often a reload was asked for
policy:workers   hash: worker -> Standing as JSON, told every second; one of a worker that is gone is old
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import msgspec
import redis.asyncio as redis

from features.redis_link import ask

ALIVE_MS: Final = 5_000
"""A worker that has told nothing for so long is gone."""
_FORGOTTEN_MS: Final = 3_600_000


class Standing(msgspec.Struct, frozen=True):
    """What a worker decides by.

    Attributes:
        worker: names it.
        at_ms: when it told this, epoch milliseconds.
        answered: the last reload that it has done with.
        versions: of each part of its policy.
        problems: of each part whose newest version is refused, why.
    """

    worker: str
    at_ms: int
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
        self._asked, self._workers = f"{key_prefix}policy:asked", f"{key_prefix}policy:workers"

    async def ask(self) -> int:
        """Ask all workers to look for something new; returns the number of this request."""
        return int(await ask(partial(self._client.incr, self._asked)))

    async def asked(self) -> int:
        """The number of the newest request."""
        return int(await ask(partial(self._client.get, self._asked)) or 0)

    async def tell(self, standing: Standing) -> None:
        """Put up what a worker decides by."""
        await ask(partial(self._client.hset, self._workers, standing.worker, msgspec.json.encode(standing)))

    async def leave(self, worker: str) -> None:
        """Take a worker's standing down."""
        await ask(partial(self._client.hdel, self._workers, worker))

    async def standings(self, now_ms: int) -> list[Standing]:
        """Of every worker that is alive; those gone for an hour are swept out."""
        found = await ask(partial(self._client.hgetall, self._workers))
        standings = [msgspec.json.decode(raw, type=Standing) for _, raw in sorted(found.items())]
        for old in standings:
            if now_ms - old.at_ms > _FORGOTTEN_MS:
                await self.leave(old.worker)
        return [standing for standing in standings if now_ms - standing.at_ms <= ALIVE_MS]
