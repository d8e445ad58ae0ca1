"""The held connection on a real Redis: answers in order, and no answer is ever taken for another's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis import Redis, exceptions

from features.redis_line import RedisLine
from features.redis_link import connect
from local.stack import Stack


@asynccontextmanager
async def a_line(url: str, timeout_s: float = 5.0) -> AsyncIterator[RedisLine]:
    client = connect(url, timeout_s=timeout_s)
    try:
        yield RedisLine(client)
    finally:
        await client.aclose()


def on_redis(servers: Stack, scene: Callable[[RedisLine], Coroutine[Any, Any, None]], timeout_s: float = 5.0) -> None:
    async def played() -> None:
        async with a_line(servers.env()["FRAUD_REDIS_URL"], timeout_s) as line:
            await scene(line)

    asyncio.run(played())


def test_answers_come_in_order_and_a_refusal_is_one_of_them(servers: Stack, unique: str) -> None:
    async def scene(line: RedisLine) -> None:
        commands = [("SET", unique, b"\x00\xff"), ("HGET", unique, "x"), ("MGET", unique, f"{unique}none")]
        stored, refused, found = await line.exchange(commands)
        assert stored == b"OK"
        assert isinstance(refused, exceptions.ResponseError)
        assert found == [b"\x00\xff", None]
        assert isinstance((await line.exchange([("EVALSHA", "0" * 40, 0)]))[0], exceptions.NoScriptError)

    on_redis(servers, scene)


def test_what_does_not_fit_into_one_read_arrives_whole(servers: Stack, unique: str) -> None:
    async def scene(line: RedisLine) -> None:
        values = {f"{unique}{i}": bytes([i]) * 900_000 for i in range(8)}
        await line.exchange([("SET", name, value) for name, value in values.items()])
        both = await line.exchange([("MGET", *values), ("MGET", *reversed(values))])
        assert both == [list(values.values()), list(reversed(values.values()))]

    on_redis(servers, scene)


def test_several_at_once_take_turns(servers: Stack) -> None:
    async def scene(line: RedisLine) -> None:
        answers = await asyncio.gather(*(line.exchange([("ECHO", f"{i}"), ("ECHO", f"-{i}")]) for i in range(50)))
        assert answers == [[f"{i}".encode(), f"-{i}".encode()] for i in range(50)]

    on_redis(servers, scene)


def test_a_connection_that_the_server_closed_is_an_error_once(servers: Stack, redis_client: Redis) -> None:
    async def scene(line: RedisLine) -> None:
        ((number,),) = [await line.exchange([("CLIENT", "ID")])]
        redis_client.client_kill_filter(_id=str(number))
        with pytest.raises(exceptions.ConnectionError):
            await line.exchange([("CLIENT", "ID")])
        assert await line.exchange([("ECHO", "again")]) == [b"again"]

    on_redis(servers, scene)


def test_an_answer_that_comes_too_late_is_nobodys(servers: Stack, redis_client: Redis) -> None:
    async def scene(line: RedisLine) -> None:
        await line.exchange([("ECHO", "before")])
        redis_client.client_pause(600)
        with pytest.raises(exceptions.TimeoutError):
            await line.exchange([("ECHO", "late")])
        redis_client.client_unpause()
        assert await line.exchange([("ECHO", "after")]) == [b"after"]

    on_redis(servers, scene, timeout_s=0.2)


def test_nor_is_one_that_nobody_waits_for_any_more(servers: Stack, unique: str) -> None:
    async def scene(line: RedisLine) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(line.exchange([("BLPOP", unique, 1)]), 0.2)
        assert await line.exchange([("ECHO", "mine")]) == [b"mine"]

    on_redis(servers, scene)


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", exceptions.InvalidResponse),
        (b"+one\r\n+two\r\n", exceptions.InvalidResponse),
        (b"$5\r\nhal", exceptions.ConnectionError),
        (b"", exceptions.ConnectionError),
    ],
)
def test_what_redis_would_not_say_is_an_error(said: bytes, problem: type[Exception]) -> None:
    """A server that greets as Redis does, and then says something else and hangs up."""

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while b"ECHO" not in (asked := await reader.read(65536)) and asked:
            writer.write(b"+OK\r\n" * asked.count(b"*"))
        writer.write(said)
        await writer.drain()
        writer.close()

    async def scene() -> None:
        server = await asyncio.start_server(served, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        async with server, a_line(f"redis://{host}:{port}?protocol=2", timeout_s=2.0) as line:
            with pytest.raises(problem):
                await line.exchange([("ECHO", "?")])

    asyncio.run(scene())
