"""One attempt at a time, in a thread that nobody waits for longer than the channel may take."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import Protocol

import structlog

from features.errors import FraudstreamError
from streams.alert.errors import ChannelAway
from streams.alert.message import Message

log = structlog.get_logger(__name__)


class Sender(Protocol):
    """What delivers messages; called in a thread of its own."""

    @property
    def deadline_s(self) -> float:
        """How long an attempt may take in all."""
        ...

    def send(self, message: Message, now_ms: int) -> None:
        """Deliver one; raises ChannelAway or MessageRefused."""
        ...


class DryRun:
    """Says in the log what would have been sent.

    Args:
        channel: name.
    """

    deadline_s = 10.0

    def __init__(self, channel: str) -> None:
        self._channel = channel

    def send(self, message: Message, now_ms: int) -> None:
        """Log one."""
        del now_ms
        for alert in message.alerts:
            log.info(
                "alert_not_sent",
                channel=self._channel, message=message.id, alert=alert.id, route=alert.route, outcome=alert.outcome,
                score=alert.score, rule=alert.rule, held_back=alert.held_back, record=alert.record,
            )  # fmt: skip


class Courier:
    """Runs the attempts of one channel.

    A daemon thread for each: one that hangs neither keeps another channel waiting nor the process from ending, and
    until it ends the channel counts as away, so there is never more than one.
    """

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._thread: threading.Thread | None = None

    async def carry(self, message: Message, now_ms: int) -> None:
        """Attempt once; raises ChannelAway or MessageRefused."""
        if self._thread is not None and self._thread.is_alive():
            raise ChannelAway("the attempt before still hangs")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[FraudstreamError | None] = loop.create_future()

        def settle(problem: FraudstreamError | None) -> None:
            if not done.done():
                done.set_result(problem)

        def attempt() -> None:
            problem = self._attempt(message, now_ms)
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(settle, problem)

        self._thread = threading.Thread(target=attempt, name=f"alert-{message.channel}", daemon=True)
        self._thread.start()
        try:
            problem = await asyncio.wait_for(done, self._sender.deadline_s)
        except TimeoutError:
            raise ChannelAway(f"no answer within {self._sender.deadline_s:g} s") from None
        # It has said its last word; that the thread itself may take another moment matters to nobody.
        self._thread = None
        if problem is not None:
            raise problem

    def _attempt(self, message: Message, now_ms: int) -> FraudstreamError | None:
        try:
            self._sender.send(message, now_ms)
        except FraudstreamError as exc:
            return exc
        except Exception as exc:  # noqa: BLE001 - a hundred services raise what they like; it stays with this channel
            return ChannelAway(f"the attempt fails with {type(exc).__name__}")
        return None
