"""One connection to Redis that is held, for commands that go out together and whose answers come together.

redis-py makes the connection: address, TLS, login, database. What follows is a conversation of one kind, several times
a batch, of which redis-py's pool, its limits of time for each step and its stream take most of the time. So its
transport is given a protocol of ours, which hands what arrives to hiredis and wakes one future.

Private names of redis-py 8.1.0 relied on: `Connection._writer`, `redis._parsers.BaseParser`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import hiredis
import redis.asyncio as redis
from redis import exceptions
from redis._parsers import BaseParser

_INCOMPLETE: Final = object()


class RedisLine:
    """Exchanges over one connection, one after the other; it is made when it is needed, and anew after it broke.

    Args:
        client: from `redis_link.connect`; its pool counts the connection as in use.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._pool = client.connection_pool
        self._busy = asyncio.Lock()
        self._connection: redis.Connection | None = None
        self._answers = _Answers(None)

    async def exchange(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Send commands in one go and read their answers, in their order; what the server refused is an answer too.

        Raises:
            redis.exceptions.RedisError: no connection, no answer in time, or nothing that Redis would say.
        """
        async with self._busy:
            if not self._answers.is_open:
                await self._connect()
            assert self._connection is not None
            try:
                async with asyncio.timeout(self._connection.socket_timeout):
                    return await self._answers.to(commands)
            except BaseException as exc:
                # Answers may still be on their way, and would be taken for those of the next commands.
                await self._hang_up()
                if isinstance(exc, TimeoutError):
                    raise exceptions.TimeoutError("no answer in time") from exc
                raise

    async def _connect(self) -> None:
        await self._hang_up()
        self._connection = await self._pool.get_connection()  # type: ignore[no-untyped-call]  # it has no types
        writer = self._connection._writer  # noqa: SLF001 - see the module
        assert writer is not None
        self._answers = _Answers(writer.transport)

    async def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        self._answers.is_open = False
        if connection is not None:
            await connection.disconnect(nowait=True)
            await self._pool.release(connection)


class _Answers(asyncio.Protocol):
    """What Redis says on a transport that redis-py opened.

    Attributes:
        is_open: whether commands can be sent.
    """

    def __init__(self, transport: asyncio.WriteTransport | None) -> None:
        self.is_open = transport is not None
        self._transport = transport
        self._reader = hiredis.Reader(
            protocolError=exceptions.InvalidResponse, replyError=BaseParser.parse_error, notEnoughData=_INCOMPLETE
        )
        self._expected = 0
        self._come: list[Any] = []
        self._all_come: asyncio.Future[None] | None = None
        if transport is not None:
            # Who waits for redis-py's own streams to close is told by theirs.
            self._theirs = transport.get_protocol()
            transport.set_protocol(self)

    async def to(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """The answers to commands."""
        assert self._transport is not None
        self._expected, self._come = len(commands), []
        self._all_come = asyncio.get_running_loop().create_future()
        self._transport.write(b"".join([hiredis.pack_command(command) for command in commands]))
        await self._all_come
        return self._come

    def data_received(self, data: bytes) -> None:
        """Some bytes arrived."""
        try:
            self._reader.feed(data)
            while (answer := self._reader.gets()) is not _INCOMPLETE:
                if not isinstance(answer, hiredis.PushNotification):
                    self._come.append(answer)
        except exceptions.InvalidResponse as exc:
            self._broken(exc)
            return
        if len(self._come) > self._expected:
            self._broken(exceptions.InvalidResponse("Redis answered what was not asked"))
        elif len(self._come) == self._expected and self._all_come is not None and not self._all_come.done():
            self._all_come.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        self._broken(exceptions.ConnectionError(f"Redis closed the connection: {exc or 'without a word'}"))
        self._theirs.connection_lost(exc)

    def _broken(self, problem: Exception) -> None:
        self.is_open = False
        if self._all_come is not None and not self._all_come.done():
            self._all_come.set_exception(problem)
