"""The way to Redis: the connection, redis-py's exceptions as ours, and the patience with a server that is away."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import redis.asyncio as redis
from redis import exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_exponential_jitter

from features.errors import ConfigError, ServerUnavailable, StoreAway, StoreError
from features.outage import Outage

T = TypeVar("T")

# States of a server that heals, or is healed by its operator, without a restart of ours.
_STATES: Final = "OOM|LOADING|READONLY|MASTERDOWN|MISCONF|BUSY|NOREPLICAS|TRYAGAIN|CLUSTERDOWN"
# At the beginning, or behind what older versions put before the error of a command in a script.
_WAITED_FOR: Final = re.compile(rf"(?:^|[\s:]-)(?:{_STATES})\b").search
# Those that redis-py knows, it tells without their word.
_WAITED_FOR_TYPES: Final = (
    exceptions.ReadOnlyError,
    exceptions.OutOfMemoryError,
    exceptions.MasterDownError,
    exceptions.TryAgainError,
    exceptions.ClusterDownError,
)
_MAX_WAIT_S: Final = 5.0


class _Away(Exception):  # noqa: N818 - a state of the server, mapped before it leaves this module
    """Redis did not answer, or answered that it cannot serve now."""


def connect(url: str, *, ca_path: str = "", timeout_s: float = 5.0) -> redis.Redis:
    """A client for `FRAUD_REDIS_URL`; raises ConfigError for a URL that is none."""
    if ca_path and not url.startswith("rediss://"):
        raise ConfigError("FRAUD_REDIS_SSL_CA is set, but FRAUD_REDIS_URL is no rediss:// URL")
    options: dict[str, Any] = {"ssl_ca_certs": ca_path} if ca_path else {}
    # Waiting is ours (`waiting`): the client's own retries would hide for how long the server is away.
    options |= {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s, "retry": Retry(NoBackoff(), 0)}
    try:
        client = redis.Redis.from_url(url, **options)
    except ValueError as exc:
        raise ConfigError(f"FRAUD_REDIS_URL is not a redis:// or rediss:// URL: {exc}") from None
    return client


async def waiting(call: Callable[[], Awaitable[T]], outage: Outage, give_up_s: float) -> T:
    """Call until Redis answers, with back-off.

    Args:
        call: makes a new attempt.
        outage: told of every failure and of the answer.
        give_up_s: for how long; 0 never gives up.

    Raises:
        StoreAway: it did not answer in that time.
        ConfigError: it refuses us, or is no Redis.
        StoreError: it refuses the command.
    """

    async def attempt() -> T:
        try:
            answer = await _mapped(call)
        except _Away as exc:
            outage.failed(str(exc))
            raise
        outage.answered()
        return answer

    began_s = time.monotonic()
    try:
        try:
            # Nearly always all that is needed, and tenacity takes a quarter of a millisecond to begin.
            return await attempt()
        except _Away:
            left_s = give_up_s - (time.monotonic() - began_s)
            if give_up_s and left_s <= 0:
                raise
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(_Away),
            wait=wait_exponential_jitter(multiplier=0.05, max=_MAX_WAIT_S, jitter=0.1),
            stop=stop_after_delay(left_s) if give_up_s else lambda _: False,
            reraise=True,
        )
        return await retrying(attempt)
    except _Away as exc:
        raise StoreAway(f"Redis did not answer within {give_up_s:g} s; check FRAUD_REDIS_URL ({exc})") from None


async def _mapped(call: Callable[[], Awaitable[T]]) -> T:
    """Map redis-py's exceptions to ours; the most specific first."""
    try:
        return await call()
    except exceptions.AuthenticationError as exc:
        raise ConfigError(f"FRAUD_REDIS_URL: Redis refused the login: {exc}") from None
    except exceptions.NoPermissionError as exc:
        raise ConfigError(f"FRAUD_REDIS_URL: the Redis user lacks a right: {exc}") from None
    except (exceptions.ConnectionError, exceptions.TimeoutError, OSError) as exc:
        if "CERTIFICATE_VERIFY_FAILED" in str(exc):
            raise ConfigError(f"FRAUD_REDIS_SSL_CA: the certificate of Redis is not trusted ({exc})") from None
        raise _Away(str(exc) or type(exc).__name__) from exc
    except exceptions.ResponseError as exc:
        if isinstance(exc, _WAITED_FOR_TYPES) or _WAITED_FOR(str(exc)):
            raise _Away(str(exc)) from exc
        raise StoreError(f"FRAUD_REDIS_URL: Redis refused a command: {exc}") from exc
    except exceptions.RedisError as exc:
        raise ConfigError(f"FRAUD_REDIS_URL: what answers there does not speak as Redis does: {exc}") from None


async def ask(call: Callable[[], Awaitable[T]]) -> T:
    """One call of a command; raises ServerUnavailable at once where Redis does not answer."""
    try:
        return await _mapped(call)
    except _Away as exc:
        raise ServerUnavailable(f"Redis does not answer; check FRAUD_REDIS_URL ({exc})") from None
