"""Run a role: the Faust app, its one agent, and the ways in which the process ends."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, cast

import structlog

from features.errors import BatchRevoked, FraudstreamError, ServerUnavailable
from sinks.topics import DEAD_LETTERS, PROCESSED, TRANSACTIONS
from streams.beside.source import Service
from streams.brokers import wait_for_topics
from streams.delivery import BatchConsumer
from streams.role import Chunk, Handler, Told
from streams.roles import SOURCES, Role, make_handler, now_ms
from streams.settings import Settings
from streams.transport import BatchApp
from streams.watch.health import Health, serve_http

log = structlog.get_logger(__name__)

EXIT_UNEXPECTED: Final = 70
_ABANDON_S: Final = 3.0
# For so long the threads that poll and publish wait for the interpreter while the loop computes; by default it is 5 ms,
# which is longer than a small batch takes.
_SWITCH_S: Final = 0.0005
# Objects that may be part of a cycle, made and not yet freed; by default 700.
_COLLECT_AFTER: Final = 50_000
_CRASH_CHECK_S: Final = 0.5
# Longer than any healthy batch, shorter than what supervisors wait for before they kill.
_DRAIN_S: Final = 25.0

_CONSUMER: Final[dict[str, str | int | bool]] = {
    "session.timeout.ms": 6_000,
    "heartbeat.interval.ms": 1_000,
    "max.poll.interval.ms": 300_000,
    "partition.assignment.strategy": "roundrobin",
    "fetch.wait.max.ms": 100,
    "fetch.message.max.bytes": 4 * 1024 * 1024,
    "queued.min.messages": 20_000,
    "queued.max.messages.kbytes": 65_536,
    "fetch.queue.backoff.ms": 10,
    # A topic that comes back, or grows, is seen within seconds.
    "topic.metadata.refresh.interval.ms": 10_000,
    "allow.auto.create.topics": False,
}


def run_role(role: Role, settings: Settings) -> int:
    """Run a role until SIGTERM or SIGINT.

    Returns:
        0 after a signal; any other end leaves the process with the exit code of what went wrong.

    Raises:
        FraudstreamError: the role cannot start.
    """
    health = Health(role, degrades=settings.on_store_loss == "degrade")
    handler = make_handler(role, settings, health)
    serve_http(health, settings.http_host, settings.http_port)
    sys.setswitchinterval(_SWITCH_S)
    _collect_seldom()
    return _Process(settings, handler, settings.topic(SOURCES[role]), health).run()


def _collect_seldom() -> None:
    """Look for garbage in cycles once in some batches, and not among what the process was started with.

    What a batch makes goes as it came. Looked through every 700 objects, now and then with all modules and the model,
    it takes much of the time of a full topic (docs/performance.md has the figures).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER)


def _services(settings: Settings, health: Health) -> list[Service]:
    """What runs beside the batches."""
    if health.role != "index":
        return []
    from streams.beside.make import make_services  # noqa: PLC0415 - the other roles do not wait for its imports

    return make_services(settings, health, _CONSUMER, now_ms)


class _Process:
    """One role in this process."""

    def __init__(self, settings: Settings, handler: Handler, source: str, health: Health) -> None:
        self._settings, self._handler, self._health = settings, handler, health
        self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._loop)
        self._app = BatchApp(
            settings.group(health.role),
            topic=source,
            config={**settings.kafka(), **_CONSUMER},
            on_assigned=self._assigned,
            on_failure=self._fail,
            on_stopped=self._handler.stop,
            on_progress=self._health.progressed,
        )
        self._app.agent(self._app.batch_topic)(self._agent)
        self._beside = _services(settings, health)
        # The event loop itself keeps no task alive.
        self._finishing: asyncio.Future[None] | None = None

    def run(self) -> int:
        """Start, run until a signal, drain, stop."""
        return self._loop.run_until_complete(self._run())

    async def _run(self) -> int:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, stop.set)
        self._loop.add_signal_handler(signal.SIGHUP, self._handler.hurry)
        if not await self._prepare(stop):
            return 0
        await self._app.start()
        for service in self._beside:
            await service.start(self._fail)
        while not stop.is_set() and not self._app.should_stop:
            self._health.turned()
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _CRASH_CHECK_S)
        if not stop.is_set():
            self._fail(self._app.crash_reason or RuntimeError("Faust stopped by itself"))
        self._health.draining()
        log.info("draining", role=self._health.role)
        if not await self._consumer().drain(_DRAIN_S):
            self._fail(ServerUnavailable(f"the batch in hand was not done within {_DRAIN_S:g} s of the signal to stop"))
        await asyncio.gather(*(service.stop() for service in self._beside))
        await self._app.stop()
        log.info("stopped", role=self._health.role)
        return 0

    async def _prepare(self, stop: asyncio.Event) -> bool:
        """Wait for the servers; False when the signal to stop comes first."""
        meeting, stopping = asyncio.ensure_future(self._meet_servers()), asyncio.ensure_future(stop.wait())
        await asyncio.wait({meeting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if meeting.done():
            meeting.result()
            return True
        meeting.cancel()
        await asyncio.gather(meeting, stopping, return_exceptions=True)
        await self._handler.stop()
        log.info("stopped", role=self._health.role)
        return False

    async def _meet_servers(self) -> None:
        settings = self._settings
        homes = [settings.topic(TRANSACTIONS), settings.topic(PROCESSED)]
        await wait_for_topics(settings, homes, [settings.topic(DEAD_LETTERS)], outage=self._health.outages["kafka"])
        await self._handler.start()

    async def _agent(self, stream: Any) -> None:  # noqa: ANN401 - faust's own stream
        consumer = self._consumer()
        try:
            while True:
                chunks, turn = await consumer.next_batch(stream, self._settings.max_batch)
                self._health.batch_begins()
                try:
                    rest = await self._handler.process(chunks, turn)
                except BatchRevoked:
                    consumer.dropped()
                    self._health.batch_dropped()
                    continue
                # Beside the next batch, whose effects wait for their turn.
                self._finishing = asyncio.ensure_future(self._finish(chunks, rest))
        except StopAsyncIteration:
            return
        except Exception as exc:  # noqa: BLE001 - an unexpected error must end the process, never pass for an outcome
            self._fail(exc)

    async def _finish(self, chunks: Sequence[Chunk], rest: Awaitable[Told] | None) -> None:
        try:
            tell = None if rest is None else await rest
            self._consumer().done(chunks)
            self._health.batch_done(chunks)
            if tell is not None:
                tell()
        except Exception as exc:  # noqa: BLE001 - as above
            self._fail(exc)

    def _consumer(self) -> BatchConsumer:
        return cast("BatchConsumer", self._app.consumer)

    async def _assigned(self, positions: dict[int, int | None]) -> Mapping[int, int]:
        self._health.assigned(positions)
        again = await self._handler.assigned(positions)
        self._health.ready()
        log.info("ready", role=self._health.role, partitions=sorted(positions))
        return again

    def _fail(self, error: BaseException) -> None:
        """End the process without acknowledging anything more; a supervisor starts it again."""
        known = isinstance(error, FraudstreamError)
        code = error.exit_code if isinstance(error, FraudstreamError) else EXIT_UNEXPECTED
        log.critical(
            "role_failed", role=self._health.role, problem=str(error), exit_code=code, exc_info=None if known else error
        )
        self._consumer().abandon(_ABANDON_S)
        logging.shutdown()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):  # a full disk, say; the exit code must still say what happened
                stream.flush()
        os._exit(code)
