"""Lists of rules that live in Redis: what `fraudstream list` writes, and what a role keeps of it in memory.

list:<name>      sorted set: entries by the time at which they end, epoch milliseconds, +inf for never
lists:fields     hash: name -> field that the list is of
lists:versions   hash: name -> how often the list was changed, so that a look at one small hash finds what is new
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

import msgspec
import redis.asyncio as redis
import structlog

from features.errors import ConfigError
from features.redis_link import ask
from scoring.rules.lists import Entries, ListDefinition

log = structlog.get_logger(__name__)

_PAGE: Final = 1_000
_RELOAD_MS: Final = 60_000
"""A list is read again after this time even where nothing says that it changed."""

Entry = tuple[str, float]
"""A value and the time at which it ends, epoch milliseconds; infinity for never."""


class ListStore:
    """Reads and writes lists.

    Args:
        client: of Redis.
        key_prefix: put before every key.
    """

    def __init__(self, client: redis.Redis, key_prefix: str) -> None:
        # Its annotations give every answer of every command as one union.
        self._client: Any = client
        self._prefix = key_prefix

    async def add(self, name: str, field: str, entries: Sequence[str], ends_ms: float, now_ms: int) -> int:
        """Put entries into a list, or give those that are there another end; what has ended is swept out.

        Args:
            name: of the list; it is made where it is not there.
            field: what it is of.
            entries: see `scoring.rules.entries.list_entry`.
            ends_ms: until when they count, epoch milliseconds; infinity for ever.
            now_ms: the clock.

        Returns:
            How many of them are new.

        Raises:
            ConfigError: the list is of another field.
            ServerUnavailable: Redis does not answer.
        """
        await ask(partial(self._client.hsetnx, self._fields, name, field))
        known = await self.field(name)
        if known != field:
            raise ConfigError(f"the list {name} is one of {known}, not of {field}")
        key = self._key(name)
        await ask(partial(self._client.zremrangebyscore, key, "-inf", now_ms))
        added = 0
        for first in range(0, len(entries), _PAGE):
            page = dict.fromkeys(entries[first : first + _PAGE], ends_ms)
            added += int(await ask(partial(self._client.zadd, key, page)))
        await self._changed(name)
        return added

    async def remove(self, name: str, entries: Sequence[str]) -> int:
        """Take entries out of a list; returns how many were there."""
        removed = 0
        for first in range(0, len(entries), _PAGE):
            page = entries[first : first + _PAGE]
            removed += int(await ask(partial(self._client.zrem, self._key(name), *page)))
        await self._changed(name)
        return removed

    async def field(self, name: str) -> str | None:
        """What a list is of; None where there is no such list."""
        found = await ask(partial(self._client.hget, self._fields, name))
        return None if found is None else _text(found)

    async def names(self) -> dict[str, str]:
        """Every list and its field."""
        found = await ask(partial(self._client.hgetall, self._fields))
        return {_text(name): _text(field) for name, field in sorted(found.items())}

    async def versions(self) -> dict[str, int]:
        """How often each list was changed."""
        found = await ask(partial(self._client.hgetall, self._versions))
        return {_text(name): int(count) for name, count in found.items()}

    async def entries(self, name: str, now_ms: int) -> list[Entry]:
        """What is in a list, by its end; read page by page, so that others on the loop are not held up."""
        found: list[Entry] = []
        key = self._key(name)
        while True:
            page = await ask(
                partial(
                    self._client.zrange, key, f"({now_ms}", "+inf", byscore=True, withscores=True, offset=len(found),
                    num=_PAGE,
                )
            )  # fmt: skip
            found += [(_text(value), float(ends_ms)) for value, ends_ms in page]
            if len(page) < _PAGE:
                return found

    async def _changed(self, name: str) -> None:
        await ask(partial(self._client.hincrby, self._versions, name, 1))

    def _key(self, name: str) -> str:
        return f"{self._prefix}list:{name}"

    @property
    def _fields(self) -> str:
        return f"{self._prefix}lists:fields"

    @property
    def _versions(self) -> str:
        return f"{self._prefix}lists:versions"


class _Held(msgspec.Struct):
    """A list in memory: which version, when it was read, and what of it ends when."""

    version: int
    read_ms: int
    entries: Entries
    ending: list[Entry]


class ListBook:
    """The lists in Redis that a rule set asks, in memory.

    A look-up never waits for Redis. `refresh` brings the lists up to date; what it cannot read stays as it was, and a
    list that was never read is not in `members`, so that look-ups in it are NULL.

    Args:
        store: where the lists are.
    """

    def __init__(self, store: ListStore) -> None:
        self._store = store
        self._held: dict[str, _Held] = {}
        self._warned: set[str] = set()
        self.members: dict[str, Entries] = {}

    async def refresh(self, wanted: Mapping[str, ListDefinition], now_ms: int) -> bool:
        """Read what is new; of a list of 100,000 entries only when it changed, and once a minute.

        Args:
            wanted: lists by name, see `RuleSet.redis_lists`; others are forgotten.
            now_ms: the clock, epoch milliseconds.

        Returns:
            Whether anything changed.

        Raises:
            ServerUnavailable: Redis does not answer; everything stays as it was, but for what has ended.
        """
        ended = [self._drop_ended(name, now_ms) for name in self._held]
        versions, fields = (await self._store.versions(), await self._store.names()) if wanted else ({}, {})
        read = False
        held: dict[str, _Held] = {}
        for name, definition in wanted.items():
            if fields.get(name, definition.field) != definition.field:
                self._warn(name, fields[name], definition.field)
                continue
            old, version = self._held.get(name), versions.get(name, 0)
            if old and old.version == version and now_ms - old.read_ms < _RELOAD_MS and _like(old, definition):
                held[name] = old
                continue
            held[name] = await self._read(definition, version, now_ms)
            read = True
        changed = read or any(ended) or held.keys() != self._held.keys()
        self._held = held
        self.members = {name: one.entries for name, one in held.items()}
        return changed

    async def _read(self, definition: ListDefinition, version: int, now_ms: int) -> _Held:
        found = await self._store.entries(definition.name, now_ms)
        ending = [entry for entry in reversed(found) if math.isfinite(entry[1])]
        return _Held(version, now_ms, Entries({value for value, _ in found}, definition.match), ending)

    def _drop_ended(self, name: str, now_ms: int) -> bool:
        held = self._held[name]
        gone = set()
        while held.ending and held.ending[-1][1] <= now_ms:
            gone.add(held.ending.pop()[0])
        if gone:
            held.entries = Entries(set(held.entries.values) - gone, held.entries.match)
            self.members = {**self.members, name: held.entries}
        return bool(gone)

    def _warn(self, name: str, found: str, wanted: str) -> None:
        if name not in self._warned:
            self._warned.add(name)
            log.warning("list_is_of_another_field", list=name, found=found, wanted=wanted)


def _like(held: _Held, definition: ListDefinition) -> bool:
    return held.entries.match == definition.match


def _text(raw: bytes | str) -> str:
    return raw.decode() if isinstance(raw, bytes) else raw
