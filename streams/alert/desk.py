"""The spool's own thread: the event loop never waits for a disk, and a full disk is waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_delay,
    stop_never,
    wait_random_exponential,
)

from features.outage import Outage
from streams.alert.errors import SpoolAway
from streams.alert.spool import Spool

T = TypeVar("T")

_MOST_WAIT_S: Final = 10.0


class Desk:
    """Calls the spool, one call after the other.

    Args:
        spool: whose methods are called.
        outage: told when the folder cannot be written, and when it can be again.
    """

    def __init__(self, spool: Spool, outage: Outage) -> None:
        self._spool, self._outage = spool, outage
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="alert-spool")

    async def open(self, wait_s: float) -> None:
        """Take the folder; raises SpoolAway where that takes longer (0: never), ConfigError where it is damaged."""
        await self._retried(Spool.open, wait_s)

    async def __call__(self, work: Callable[[Spool], T]) -> T:
        """Do something with the spool, however long the disk is full."""
        return await self._retried(work, 0)

    def waiting(self, channel: str) -> int:
        """How many alerts of a channel are not delivered yet; any thread may ask."""
        return self._spool.waiting[channel]

    async def close(self) -> None:
        """Give the folder back; calls that have begun are finished."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._spool.close)
        self._thread.shutdown(wait=True)

    async def _retried(self, work: Callable[[Spool], T], wait_s: float) -> T:
        loop = asyncio.get_running_loop()
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(SpoolAway),
            wait=wait_random_exponential(multiplier=0.2, max=_MOST_WAIT_S),
            stop=stop_after_delay(wait_s) if wait_s else stop_never,
            before_sleep=self._failed,
            reraise=True,
        )
        async for attempt in retrying:
            with attempt:
                result = await loop.run_in_executor(self._thread, work, self._spool)
        self._outage.answered()
        return result

    def _failed(self, state: RetryCallState) -> None:
        self._outage.failed(str(state.outcome.exception() if state.outcome else ""))
