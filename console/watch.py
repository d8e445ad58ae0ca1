"""Health and metrics of a console process, as the roles have them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from importlib.metadata import version
from typing import Any, Final

import msgspec
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder

from console.metrics import ConsoleMetrics
from features.errors import FraudstreamError
from features.outage import Outage
from features.times import format_rfc3339
from streams.watch.health import VARIABLES
from streams.watch.http import Answer
from streams.watch.metrics import BuildInfo
from streams.watch.observed import Observed, State

_PROBE_S: Final = 2.0
_SERVERS: Final = ("redis", "kafka", "opensearch")

Probe = Callable[[], Awaitable[object]]


class ConsoleHealth:
    """What a console process tells of itself.

    Ready while Redis answers, since logins are there. Without OpenSearch or Kafka it is degraded: open cases can be
    answered all the same.

    Attributes:
        registry: everything that `/metrics` shows.
        outages: the servers it needs, by name.
        metrics: counters of this process.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.outages = {name: Outage(name, VARIABLES[name]) for name in _SERVERS}
        self.metrics = ConsoleMetrics(self.registry)
        self._started = self._draining = False
        self._task: asyncio.Task[None] | None = None
        Observed(self.registry, list(self.outages.values()), dict, lambda: (self.state(), self.is_ready()))
        BuildInfo(self.registry).set(role="console", version=version("fraudstream"))
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)

    def start(self, redis: Probe, opensearch: Probe) -> None:
        """Look at the servers now and then, whether or not anybody asks for a page.

        Args:
            redis: raises where Redis does not answer.
            opensearch: tells its outage by itself.
        """
        self._task = asyncio.create_task(self._watch(redis, opensearch))

    async def stop(self) -> None:
        """The process is about to end."""
        self._draining = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def away(self) -> list[str]:
        """Servers that do not answer."""
        return [name for name, outage in self.outages.items() if outage.since_s is not None]

    def state(self) -> State:
        """In one word."""
        if self._draining:
            return "draining"
        if not self._started:
            return "starting"
        away = self.away()
        return "waiting" if "redis" in away else "degraded" if away else "ready"

    def is_ready(self) -> bool:
        """Whether pages can be had."""
        return self.state() in {"ready", "degraded"}

    def report(self) -> dict[str, Any]:
        """The body of `/health`."""
        return {
            "role": "console",
            "state": self.state(),
            "live": True,
            "ready": self.is_ready(),
            "waits_for": [_waited_for(self.outages[name]) for name in self.away()],
        }

    def answer(self, path: str, accept: str) -> Answer:
        """The answer to a GET."""
        if path == "/metrics":
            encode, content_type = choose_encoder(accept)
            return Answer(200, content_type, encode(self.registry))
        report = self.report()
        good = {"/health": report["ready"], "/health/ready": report["ready"], "/health/live": True}
        if path not in good:
            return Answer(404, "text/plain", b"/health, /health/live, /health/ready and /metrics are here\n")
        return Answer(200 if good[path] else 503, "application/json", msgspec.json.encode(report) + b"\n")

    async def _watch(self, redis: Probe, opensearch: Probe) -> None:
        while True:
            try:
                await redis()
            except FraudstreamError as exc:
                self.outages["redis"].failed(str(exc))
            else:
                self.outages["redis"].answered()
            with suppress(FraudstreamError):  # the library has told the outage
                await opensearch()
            self._started = True
            await asyncio.sleep(_PROBE_S)


def _waited_for(outage: Outage) -> dict[str, Any]:
    since_s = outage.since_s
    return {
        "server": outage.server,
        "variable": outage.variable,
        "since": None if since_s is None else format_rfc3339(int(since_s * 1000)),
        "for_s": round(outage.away_s, 1),
    }
