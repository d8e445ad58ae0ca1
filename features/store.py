"""The online feature store: packed histories in Redis, read once and committed once per batch.

Keys (`{p}` keeps a partition in one Redis Cluster slot):

    hist:{p}:<card>   packed history, expires one retention after the last write
    applied:{p}       last offset applied
    epoch:{p}         fencing token, raised at every assignment of the partition
    partitions        number of partitions for which the histories were built

A batch reads `applied`, `epoch` and its histories with one MGET, so they belong to one moment, and writes them with one
script that refuses a stale epoch and moves `applied`. Kafka is the truth: whatever is lost here can be rebuilt from it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar, cast

import msgspec
import redis.asyncio as redis
from redis import exceptions

from features.errors import ConfigError, StaleEpoch, StoreError, StoreLost
from features.outage import Outage
from features.redis_line import RedisLine
from features.redis_link import waiting

T = TypeVar("T")

# An epoch never comes back, even after Redis lost the last one: it is at least the server's clock.
_CLAIM: Final = """
local now = redis.call('TIME')
local epoch = math.max((tonumber(redis.call('GET', KEYS[1]) or 0) or 0) + 1, now[1] * 1000 + math.floor(now[2] / 1000))
redis.call('SET', KEYS[1], string.format('%.0f', epoch))
return {redis.call('GET', KEYS[1]), redis.call('GET', KEYS[2])}
"""
_COMMIT: Final = """
local epoch = redis.call('GET', KEYS[1])
if not epoch then return 'lost' end
if epoch ~= ARGV[1] then return 'stale' end
local applied = redis.call('GET', KEYS[2]) or ''
if applied == ARGV[3] and applied ~= ARGV[2] then return 'done' end
if applied ~= ARGV[2] then return 'moved' end
for i = #ARGV - 1, #KEYS do redis.call('UNLINK', KEYS[i]) end
for i = 3, #ARGV - 2 do redis.call('SET', KEYS[i], ARGV[i + 2], 'PX', ARGV[4]) end
redis.call('SET', KEYS[2], ARGV[3])
return 'done'
"""
_COMMIT_SHA: Final = hashlib.sha1(_COMMIT.encode(), usedforsecurity=False).hexdigest()


class Snapshot(msgspec.Struct, frozen=True):
    """A partition's state at one moment: last applied offset or None, and the packed histories asked for."""

    applied: int | None
    histories: list[bytes | None]


class Commit(msgspec.Struct, frozen=True):
    """What a batch changes in a partition.

    Attributes:
        partition: of these cards.
        histories: card -> packed history.
        applied_before: last offset applied, as it was read; None where there was none.
        applied: last offset applied from now on.
        dropped: cards whose histories are deleted.
    """

    partition: int
    histories: Mapping[str, bytes]
    applied_before: int | None
    applied: int
    dropped: Sequence[str] = ()


class OnlineStore:
    """The histories of the partitions that this process owns.

    Args:
        client: from `connect`.
        key_prefix: put before every key.
        ttl_ms: life of a history after its last write: one week plus grace.
        startup_wait_s: how long the first contact may take; 0 waits for ever.
        patience_s: how long any other call may take; 0 waits for ever.
        outage: told when Redis goes away and comes back.
    """

    def __init__(
        self, client: redis.Redis, *, key_prefix: str, ttl_ms: int, startup_wait_s: float, patience_s: float = 0,
        outage: Outage | None = None,
    ) -> None:  # fmt: skip
        self._client, self._line = client, RedisLine(client)
        self._prefix = key_prefix
        self._ttl_ms = ttl_ms
        self._startup_wait_s, self._patience_s = startup_wait_s, patience_s
        self._outage = outage or Outage("redis", "FRAUD_REDIS_URL")
        self._epochs: dict[int, int] = {}
        self._applied: dict[int, int] = {}

    def applied(self, partition: int) -> int:
        """Last offset known to be applied of a claimed partition; -1 where there is none."""
        return self._applied[partition]

    def history_key(self, partition: int, card: str) -> str:
        """Key of a card's history."""
        return f"{self._prefix}hist:{{{partition}}}:{card}"

    def applied_key(self, partition: int) -> str:
        """Key of the last applied offset."""
        return f"{self._prefix}applied:{{{partition}}}"

    def epoch_key(self, partition: int) -> str:
        """Key of the fencing token."""
        return f"{self._prefix}epoch:{{{partition}}}"

    def partitions_key(self) -> str:
        """Key of the number of partitions for which the histories were built."""
        return f"{self._prefix}partitions"

    async def built_for(self) -> int | None:
        """Number of partitions for which the histories were built; None where nothing says so."""
        raw = await self._waiting(lambda: self._client.get(self.partitions_key()))
        return _number(self.partitions_key(), cast("bytes | None", raw))

    async def set_built_for(self, partitions: int, *, only_if_absent: bool = False) -> None:
        """Say for how many partitions the histories are built; 0 while they are being built anew."""
        await self._waiting(lambda: self._client.set(self.partitions_key(), partitions, nx=only_if_absent))

    async def start(self) -> None:
        """Meet the server; raises StoreAway, or ConfigError where it may evict histories."""
        await self._meet(self._patience_s or self._startup_wait_s)

    async def wait_until_back(self) -> None:
        """Wait for a server that is away, as long as it takes; raises ConfigError where it may evict histories."""
        await self._meet(0)

    async def _meet(self, give_up_s: float) -> None:
        memory = await self._waiting(lambda: self._client.info("memory"), give_up_s=give_up_s)
        policy = memory.get("maxmemory_policy", "noeviction")
        if policy != "noeviction":
            raise ConfigError(
                f"FRAUD_REDIS_URL: this Redis may evict histories (maxmemory-policy {policy}); set it to noeviction"
            )

    async def claim(self, partition: int) -> int | None:
        """Take a partition over: raise its epoch, so that a former owner's commits are refused.

        Returns:
            The last applied offset, None where there is none.
        """
        keys = self._state_keys(partition)
        epoch, applied = await self._waiting(lambda: self._client.eval(_CLAIM, len(keys), *keys))
        offset = _number(self.applied_key(partition), applied)
        self._epochs[partition] = _number(self.epoch_key(partition), epoch) or 0
        self._applied[partition] = -1 if offset is None else offset
        return offset

    async def read(self, cards: Mapping[int, Sequence[str]]) -> dict[int, Snapshot]:
        """Read the histories of each partition's cards.

        Raises:
            StaleEpoch: another worker has claimed a partition since.
            StoreLost: the epoch is gone: Redis was emptied or came back with an older state.
        """
        keys = {p: self._state_keys(p) + self._history_keys(p, names) for p, names in cards.items()}

        async def read_all() -> list[list[bytes | None]]:
            return _granted(await self._line.exchange([("MGET", *names) for names in keys.values()]))

        answers = await self._waiting(read_all)
        result: dict[int, Snapshot] = {}
        for partition, (epoch, applied, *histories) in zip(keys, answers, strict=True):
            offset = _number(self.applied_key(partition), applied)
            self._check_state(partition, _number(self.epoch_key(partition), epoch), -1 if offset is None else offset)
            result[partition] = Snapshot(offset, histories)
        return result

    async def commit(
        self,
        partition: int,
        histories: Mapping[str, bytes],
        *,
        applied_before: int | None,
        applied: int,
        dropped: Sequence[str] = (),
    ) -> None:
        """Store histories, delete those of `dropped` cards and move `applied`, all or nothing; safe to repeat.

        Raises:
            StaleEpoch: another worker owns the partition; nothing was written.
            StoreLost: Redis does not hold the state that was read; nothing was written.
        """
        await self.commit_all([Commit(partition, histories, applied_before, applied, dropped)])

    async def commit_all(self, commits: Sequence[Commit]) -> None:
        """Make the commits of several partitions in one go, each by itself all or nothing; safe to repeat.

        Raises:
            StaleEpoch: another worker owns a partition, of which nothing was written.
            StoreLost: Redis does not hold the state that was read of a partition; nothing of it was written.
        """
        calls = [self._call_of(commit) for commit in commits]
        answers = await self._waiting(lambda: self._run_commits(calls))
        refused = []
        for commit, answer in zip(commits, answers, strict=True):
            if answer == b"done":
                self._applied[commit.partition] = commit.applied
            else:
                refused.append((commit.partition, answer))
        for partition, answer in refused:
            if answer == b"stale":
                raise StaleEpoch(
                    f"partition {partition} belongs to another worker now; nothing of the batch was written to it"
                )
            raise StoreLost(f"Redis lost the state of partition {partition} between read and commit")

    def _call_of(self, commit: Commit) -> list[bytes | str | int]:
        """Keys and arguments of the script, as they follow its name."""
        partition = commit.partition
        keys = self._state_keys(partition) + self._history_keys(partition, (*commit.histories, *commit.dropped))
        before = "" if commit.applied_before is None else commit.applied_before
        arguments = [self._epochs[partition], before, commit.applied, self._ttl_ms, *commit.histories.values()]
        return [len(keys), *keys, *arguments]

    async def _run_commits(self, calls: Sequence[Sequence[bytes | str | int]]) -> list[bytes]:
        answers = await self._line.exchange([("EVALSHA", _COMMIT_SHA, *call) for call in calls])
        unknown = [place for place, answer in enumerate(answers) if isinstance(answer, exceptions.NoScriptError)]
        if unknown:
            again = await self._line.exchange([("EVAL", _COMMIT, *calls[place]) for place in unknown])
            for place, answer in zip(unknown, again, strict=True):
                answers[place] = answer
        return _granted(answers)

    async def forget(self, partition: int) -> int:
        """Remove a claimed partition's histories and what was applied; returns how many cards it knew."""
        # First of all: interrupted, what is left must not pass for the whole.
        await self._waiting(lambda: self._client.unlink(self.applied_key(partition)))
        self._applied[partition] = -1
        pattern = f"{glob_escaped(self.history_key(partition, ''))}*"
        cards = 0
        cursor = 0
        while True:
            cursor, keys = await self._waiting(partial(self._client.scan, cursor, match=pattern, count=1000))
            if keys:
                cards += await self._waiting(partial(self._client.unlink, *keys))
            if not cursor:
                return cards

    async def unclaim(self, partition: int) -> None:
        """Remove a partition's fencing token, for a key prefix that is given up."""
        await self._waiting(lambda: self._client.unlink(self.epoch_key(partition)))

    async def stop(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def _history_keys(self, partition: int, cards: Iterable[str]) -> list[str]:
        before = self.history_key(partition, "")
        return [before + card for card in cards]

    def _state_keys(self, partition: int) -> list[str]:
        return [self.epoch_key(partition), self.applied_key(partition)]

    def _check_state(self, partition: int, epoch: int | None, applied: int) -> None:
        mine = self._epochs[partition]
        if epoch is not None and epoch > mine:
            raise StaleEpoch(f"partition {partition} belongs to another worker now (epoch {epoch}, ours {mine})")
        if epoch is None or epoch < mine or applied < self._applied[partition]:
            raise StoreLost(f"Redis lost the state of partition {partition}: {self._applied[partition]} was applied")

    async def _waiting(self, call: Callable[[], Awaitable[T]], *, give_up_s: float | None = None) -> T:
        """Call until Redis answers; 0 never gives up, None has the patience of this store."""
        return await waiting(call, self._outage, self._patience_s if give_up_s is None else give_up_s)


def _granted(answers: list[Any]) -> list[Any]:
    """The answers, if none of them is a refusal; else the first refusal is raised."""
    for answer in answers:
        if isinstance(answer, exceptions.ResponseError):
            raise answer
    return answers


def _number(key: str, raw: bytes | None) -> int | None:
    """A number of ours in Redis; raises StoreError where somebody wrote something else there."""
    if raw is None:
        return None
    try:
        return int(raw)
    except ValueError:
        raise StoreError(
            f"Redis key {key} holds no number (FRAUD_REDIS_URL); delete it and run: fraudstream replay"
        ) from None


def glob_escaped(text: str) -> str:
    r"""A key as a pattern that matches itself alone.

    >>> print(glob_escaped("a[1]*?"))
    a\[1\]\*\?
    """
    return "".join(f"\\{c}" if c in "\\*?[]^" else c for c in text)
