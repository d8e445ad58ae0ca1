"""The online feature store: packed histories in Redis, read once and committed once per batch.

Keys (`{p}` keeps a partition in one Redis Cluster slot):

    hist:{p}:<card>   packed history, expires one retention after the last write
    applied:{p}       last offset applied
    epoch:{p}         fencing token, raised at every assignment of the partition

A batch reads `applied`, `epoch` and its histories with one MGET, so they belong to one moment, and writes them with one
script that refuses a stale epoch and moves `applied`. Kafka is the truth: whatever is lost here can be rebuilt from it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar, cast

import msgspec
import redis.asyncio as redis
import structlog
from redis import exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_delay, wait_exponential_jitter

from features.errors import ConfigError, ServerUnavailable, StaleEpoch, StoreError, StoreLost

log = structlog.get_logger(__name__)
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
for i = 3, #KEYS do redis.call('SET', KEYS[i], ARGV[i + 2], 'PX', ARGV[4]) end
redis.call('SET', KEYS[2], ARGV[3])
return 'done'
"""
_COMMIT_SHA: Final = hashlib.sha1(_COMMIT.encode(), usedforsecurity=False).hexdigest()

# States of a server that heals, or is healed by its operator, without a restart of ours.
_WAITED_FOR: Final = (
    "OOM",
    "LOADING",
    "READONLY",
    "MASTERDOWN",
    "MISCONF",
    "BUSY",
    "NOREPLICAS",
    "TRYAGAIN",
    "CLUSTERDOWN",
)
_MAX_WAIT_S: Final = 5.0


class _Away(Exception):  # noqa: N818 - a state of the server, mapped before it leaves this module
    """Redis did not answer, or answered that it cannot serve now."""


class Snapshot(msgspec.Struct, frozen=True):
    """A partition's state at one moment: last applied offset or None, and the packed histories asked for."""

    applied: int | None
    histories: list[bytes | None]


def connect(url: str, *, ca_path: str = "", timeout_s: float = 5.0) -> redis.Redis:
    """A client for `FRAUD_REDIS_URL`; raises ConfigError for a URL that is none."""
    if ca_path and not url.startswith("rediss://"):
        raise ConfigError("FRAUD_REDIS_SSL_CA is set, but FRAUD_REDIS_URL is no rediss:// URL")
    options: dict[str, Any] = {"ssl_ca_certs": ca_path} if ca_path else {}
    # Waiting is ours (`_waiting`): the client's own retries would hide for how long the server is away.
    options |= {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s, "retry": Retry(NoBackoff(), 0)}
    try:
        return redis.Redis.from_url(url, **options)
    except ValueError as exc:
        raise ConfigError(f"FRAUD_REDIS_URL is not a redis:// or rediss:// URL: {exc}") from None


class OnlineStore:
    """The histories of the partitions that this process owns.

    Args:
        client: from `connect`.
        key_prefix: put before every key.
        ttl_ms: life of a history after its last write: one week plus grace.
        startup_wait_s: how long the first contact may take; 0 waits for ever.
    """

    def __init__(self, client: redis.Redis, *, key_prefix: str, ttl_ms: int, startup_wait_s: float) -> None:
        self._client = client
        self._prefix = key_prefix
        self._ttl_ms = ttl_ms
        self._startup_wait_s = startup_wait_s
        self._epochs: dict[int, int] = {}
        self._applied: dict[int, int] = {}

    def history_key(self, partition: int, card: str) -> str:
        """Key of a card's history."""
        return f"{self._prefix}hist:{{{partition}}}:{card}"

    def applied_key(self, partition: int) -> str:
        """Key of the last applied offset."""
        return f"{self._prefix}applied:{{{partition}}}"

    def epoch_key(self, partition: int) -> str:
        """Key of the fencing token."""
        return f"{self._prefix}epoch:{{{partition}}}"

    async def start(self) -> None:
        """Meet the server; raises ServerUnavailable, or ConfigError where it may evict histories."""
        memory = await self._waiting(lambda: self._client.info("memory"), give_up_s=self._startup_wait_s)
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
        keys = {p: self._state_keys(p) + [self.history_key(p, c) for c in names] for p, names in cards.items()}

        async def read_all() -> list[list[bytes | None]]:
            if len(keys) == 1:
                return [cast("list[bytes | None]", await self._client.mget(next(iter(keys.values()))))]
            async with self._client.pipeline(transaction=False) as pipe:
                for partition_keys in keys.values():
                    pipe.mget(partition_keys)
                return await pipe.execute()

        answers = await self._waiting(read_all)
        result: dict[int, Snapshot] = {}
        for partition, (epoch, applied, *histories) in zip(keys, answers, strict=True):
            offset = _number(self.applied_key(partition), applied)
            self._check_state(partition, _number(self.epoch_key(partition), epoch), -1 if offset is None else offset)
            result[partition] = Snapshot(offset, histories)
        return result

    async def commit(
        self, partition: int, histories: Mapping[str, bytes], *, applied_before: int | None, applied: int
    ) -> None:
        """Store histories and move `applied`, all or nothing; safe to repeat.

        Raises:
            StaleEpoch: another worker owns the partition; nothing was written.
            StoreLost: Redis does not hold the state that was read; nothing was written.
        """
        keys = self._state_keys(partition) + [self.history_key(partition, card) for card in histories]
        before = "" if applied_before is None else applied_before
        arguments = [self._epochs[partition], before, applied, self._ttl_ms, *histories.values()]
        answer = await self._waiting(lambda: self._run_commit(keys, arguments))
        if answer == b"stale":
            raise StaleEpoch(f"partition {partition} belongs to another worker now; nothing of the batch was written")
        if answer != b"done":
            raise StoreLost(f"Redis lost the state of partition {partition} between read and commit")
        self._applied[partition] = applied

    async def _run_commit(self, keys: Sequence[str], arguments: Sequence[bytes | str | int]) -> bytes:
        try:
            answer = await self._client.evalsha(_COMMIT_SHA, len(keys), *keys, *arguments)
        except exceptions.NoScriptError:
            answer = await self._client.eval(_COMMIT, len(keys), *keys, *arguments)
        return cast("bytes", answer)

    async def forget(self, partition: int) -> int:
        """Remove a claimed partition's histories and what was applied; returns how many cards it knew."""
        pattern = f"{glob_escaped(self.history_key(partition, ''))}*"
        cards = 0
        cursor = 0
        while True:
            cursor, keys = await self._waiting(partial(self._client.scan, cursor, match=pattern, count=1000))
            if keys:
                cards += await self._waiting(partial(self._client.unlink, *keys))
            if not cursor:
                break
        await self._waiting(lambda: self._client.unlink(self.applied_key(partition)))
        return cards

    async def unclaim(self, partition: int) -> None:
        """Remove a partition's fencing token, for a key prefix that is given up."""
        await self._waiting(lambda: self._client.unlink(self.epoch_key(partition)))

    async def stop(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def _state_keys(self, partition: int) -> list[str]:
        return [self.epoch_key(partition), self.applied_key(partition)]

    def _check_state(self, partition: int, epoch: int | None, applied: int) -> None:
        mine = self._epochs[partition]
        if epoch is not None and epoch > mine:
            raise StaleEpoch(f"partition {partition} belongs to another worker now (epoch {epoch}, ours {mine})")
        if epoch is None or epoch < mine or applied < self._applied[partition]:
            raise StoreLost(f"Redis lost the state of partition {partition}: {self._applied[partition]} was applied")

    async def _waiting(self, call: Callable[[], Awaitable[T]], *, give_up_s: float = 0) -> T:
        """Call until Redis answers, with back-off; 0 never gives up."""
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(_Away),
            wait=wait_exponential_jitter(multiplier=0.05, max=_MAX_WAIT_S, jitter=0.1),
            stop=stop_after_delay(give_up_s) if give_up_s else lambda _: False,
            before_sleep=_say_waiting,
            reraise=True,
        )
        try:
            return await retrying(_mapped, call)
        except _Away as exc:
            raise ServerUnavailable(
                f"Redis did not answer within {give_up_s:g} s; check FRAUD_REDIS_URL ({exc})"
            ) from None


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


async def _mapped(call: Callable[[], Awaitable[T]]) -> T:
    """Map redis-py's exceptions to ours; the most specific first."""
    try:
        return await call()
    except exceptions.AuthenticationError as exc:
        raise ConfigError(f"FRAUD_REDIS_URL: Redis refused the login: {exc}") from None
    except exceptions.NoPermissionError as exc:
        raise ConfigError(f"FRAUD_REDIS_URL: the Redis user lacks a right: {exc}") from None
    except (exceptions.ConnectionError, exceptions.TimeoutError, OSError) as exc:
        raise _Away(str(exc) or type(exc).__name__) from exc
    except exceptions.ResponseError as exc:
        if str(exc).lstrip("-").startswith(_WAITED_FOR) or "OOM" in str(exc):
            raise _Away(str(exc)) from exc
        raise StoreError(f"FRAUD_REDIS_URL: Redis refused a command: {exc}") from exc
    except exceptions.RedisError as exc:
        raise ConfigError(f"FRAUD_REDIS_URL: what answers there does not speak as Redis does: {exc}") from None


def _say_waiting(state: RetryCallState) -> None:
    failure = state.outcome.exception() if state.outcome else None
    wait_s = state.next_action.sleep if state.next_action else 0.0
    log.warning(
        "redis_away",
        variable="FRAUD_REDIS_URL",
        problem=str(failure),
        attempt=state.attempt_number,
        wait_s=round(wait_s, 2),
    )
