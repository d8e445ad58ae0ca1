"""The task of one channel: what waits for it goes out, whatever happens to the other channels."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

import structlog
from tenacity import AsyncRetrying, retry_if_exception_type, stop_never, wait_random_exponential

from streams.alert.courier import Courier, Sender
from streams.alert.desk import Desk
from streams.alert.errors import ChannelAway, MessageRefused
from streams.alert.message import Message
from streams.alert.plan import Channel
from streams.alert.spool import Spool
from streams.watch.metrics import AlertMetrics

log = structlog.get_logger(__name__)

# How often it looks whether a digest is due or quiet hours are over.
_TICK_S: Final = 1.0
_FIRST_WAIT_S: Final = 0.5
_MOST_WAIT_S: Final = 30.0
_AFTER_A_FAULT_S: Final = 30.0
# What is under way when the role stops is given so long; cut off, it is repeated after the next start.
_STOP_S: Final = 3.0


class ChannelWorker:
    """Delivers the messages of one channel, at least once, with growing pauses while it is away.

    Args:
        channel: as the plan has it.
        sender: delivers to it.
        desk: the spool.
        now_ms: the clock, epoch milliseconds.
        metrics: counters of this process.
        most_wait_s: longest pause between attempts.
        tick_s: how often it looks at the clock.
    """

    def __init__(
        self, channel: Channel, sender: Sender, desk: Desk, now_ms: Callable[[], int], metrics: AlertMetrics, *,
        most_wait_s: float = _MOST_WAIT_S, tick_s: float = _TICK_S,
    ) -> None:  # fmt: skip
        self._channel, self._courier, self._desk = channel, Courier(sender), desk
        self._now_ms, self._metrics, self._tick_s = now_ms, metrics, tick_s
        self._wait = wait_random_exponential(multiplier=_FIRST_WAIT_S, max=most_wait_s)
        self._news, self._stopping = asyncio.Event(), asyncio.Event()
        self._is_away = False
        # What waits may be of a time when the channel had a digest.
        self._may_wait = True
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; call it on the event loop."""
        self._task = asyncio.create_task(self._run(), name=f"alert-{self._channel.name}")

    def wake(self) -> None:
        """Something new is in the spool."""
        self._news.set()

    async def stop(self) -> None:
        """Finish the attempt under way, if it does not take long."""
        self._stopping.set()
        self._news.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=_STOP_S)
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                await self._serve()
            except Exception:  # a fault of ours in one channel must neither stop the others nor go unseen
                log.exception("channel_failed", channel=self._channel.name)
                self._is_away = True
                self._metrics.away(self._channel.name, away=True)
                await self._pause(_AFTER_A_FAULT_S)

    async def _serve(self) -> None:
        """Deliver until there is nothing left, then wait for news."""
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(ChannelAway), wait=self._wait, stop=stop_never, sleep=self._pause
        )
        self._news.clear()
        delivered = True
        while delivered and not self._stopping.is_set():
            async for attempt in retrying:
                with attempt:
                    delivered = await self._deliver()
        if not self._stopping.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), self._tick_s)

    async def _deliver(self) -> bool:
        """Attempt the next message; whether there was one. Raises ChannelAway where it stays in the spool."""
        now_ms, name = self._now_ms(), self._channel.name
        message = None if self._stopping.is_set() else await self._next(now_ms)
        if message is None:
            return False
        try:
            await self._courier.carry(message, now_ms)
        except MessageRefused as exc:
            self._told()
            await self._bury(message, partial(Spool.bury, message=message, reason="refused", detail=str(exc)))
        except ChannelAway as exc:
            self._metrics.attempt_failed(name)
            self._told(problem=str(exc))
            if now_ms - message.made_ms >= self._channel.give_up_ms:
                await self._bury(message, partial(Spool.bury, message=message, reason="gave_up", detail=str(exc)))
            else:
                await self._desk(partial(Spool.failed, message=message))
            raise
        else:
            self._told()
            await self._desk(partial(Spool.sent, message=message))
            self._metrics.count(name, "sent", len(message.alerts))
        return True

    async def _next(self, now_ms: int) -> Message | None:
        """The next message, those included that a digest has become."""
        channel = self._channel
        is_quiet = channel.is_quiet(now_ms)
        if channel.digest_ms or channel.quiet is not None or self._may_wait:
            digest = partial(
                Spool.digest,
                channel=channel.name, since_ms=now_ms - channel.digest_ms, now_ms=now_ms, urgent_only=is_quiet,
            )  # fmt: skip
            if digested := await self._desk(digest):
                self._metrics.count(channel.name, "digested", digested)
            self._may_wait = bool(digested)
        return await self._desk(partial(Spool.next, channel=channel.name, urgent_only=is_quiet))

    async def _bury(self, message: Message, bury: Callable[..., None]) -> None:
        await self._desk(partial(bury, now_ms=self._now_ms()))
        self._metrics.count(self._channel.name, "given_up", len(message.alerts))
        log.error("alert_given_up", channel=self._channel.name, message=message.id, alerts=len(message.alerts))

    def _told(self, problem: str = "") -> None:
        """Say it when the channel goes and when it is back."""
        if bool(problem) == self._is_away:
            return
        self._is_away = bool(problem)
        self._metrics.away(self._channel.name, away=self._is_away)
        if problem:
            log.warning("channel_away", channel=self._channel.name, problem=problem)
        else:
            log.warning("channel_back", channel=self._channel.name)

    async def _pause(self, seconds: float) -> None:
        """Wait before the next attempt; the signal to stop cuts it short."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)
