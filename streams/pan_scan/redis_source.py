"""Every key and value in Redis under the key prefix, whatever its type."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any, Final

import redis.asyncio as redis

from features.redis_link import ask
from features.store import glob_escaped
from streams.pan_scan.finder import Finder
from streams.pan_scan.report import Report

Show = Callable[[int, int | None], None]

_PAGE: Final = 500
_BLOCK_BYTES: Final = 1024 * 1024
_OVERLAP_BYTES: Final = 512
"""More than any spelling of a card number that the finder knows is long."""


async def scan_redis(client: redis.Redis, key_prefix: str, finder: Finder, report: Report, show: Show) -> None:
    """Look at all keys that begin with the prefix, page by page; long values are read in blocks.

    Raises:
        ServerUnavailable: Redis does not answer.
        ConfigError: the user lacks a right.
    """
    total = None if key_prefix else int(await ask(client.dbsize))
    cursor, done = 0, 0
    while True:
        cursor, keys = await ask(partial(client.scan, cursor, match=f"{glob_escaped(key_prefix)}*", count=_PAGE))
        for key in keys:
            await _look(client, _bytes(key), finder, report)
        done += len(keys)
        show(done, total)
        if not cursor:
            return


async def _look(client: redis.Redis, key: bytes, finder: Finder, report: Report) -> None:
    kind = _bytes(await ask(partial(client.type, key))).decode()
    if kind == "none":
        return  # it has expired since
    report.count("redis keys")
    where = key.decode(errors="backslashreplace")
    report.add("redis", where, "key", finder.in_bytes(key))
    read = _READERS.get(kind)
    if read is None:
        report.notes.append(f"redis: a key of the type {kind} was not read")
        return
    found: set[tuple[str, str]] = set()
    async for value in read(client, key):
        found |= finder.in_bytes(value)
    report.add("redis", where, "value", found)


async def _string(client: redis.Redis, key: bytes) -> AsyncIterator[bytes]:
    start = 0
    while value := _bytes(await ask(partial(client.getrange, key, start, start + _BLOCK_BYTES - 1))):
        yield value
        if len(value) < _BLOCK_BYTES:
            return
        start += _BLOCK_BYTES - _OVERLAP_BYTES


async def _list(client: redis.Redis, key: bytes) -> AsyncIterator[bytes]:
    start = 0
    while values := await ask(partial(client.lrange, key, start, start + _PAGE - 1)):
        for value in values:
            yield _bytes(value)
        start += _PAGE


async def _members(command: Callable[..., Any], key: bytes) -> AsyncIterator[bytes]:
    """Members of a set, a sorted set or a hash: each page is an iterable of values, of pairs, or a mapping."""
    cursor = 0
    while True:
        cursor, page = await ask(partial(command, key, cursor, count=_PAGE))
        for item in page.items() if isinstance(page, dict) else page:
            for part in item if isinstance(item, tuple) else (item,):
                yield _bytes(part)
        if not cursor:
            return


def _hash(client: redis.Redis, key: bytes) -> AsyncIterator[bytes]:
    return _members(client.hscan, key)


def _set(client: redis.Redis, key: bytes) -> AsyncIterator[bytes]:
    return _members(client.sscan, key)


def _sorted_set(client: redis.Redis, key: bytes) -> AsyncIterator[bytes]:
    return _members(client.zscan, key)


async def _stream(client: redis.Redis, key: bytes) -> AsyncIterator[bytes]:
    start = b"-"
    while entries := await ask(partial(client.xrange, key, start, b"+", count=_PAGE)):
        for identifier, fields in entries:
            for name, value in (fields or {}).items():
                yield _bytes(name)
                yield _bytes(value)
            start = b"(" + _bytes(identifier)


def _bytes(value: object) -> bytes:
    """What redis-py gives: bytes, but a score as a float; its types allow for clients that decode."""
    return value if isinstance(value, bytes) else str(value).encode()


_READERS: Final[dict[str, Callable[[redis.Redis, bytes], AsyncIterator[bytes]]]] = {
    "string": _string,
    "list": _list,
    "hash": _hash,
    "set": _set,
    "zset": _sorted_set,
    "stream": _stream,
}
