"""Health and metrics of a role over HTTP: `/health`, `/health/live`, `/health/ready` and `/metrics`."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
import structlog
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder

from features.outage import Outage
from features.times import format_rfc3339
from streams.role import Chunk
from streams.watch.http import Answer, HttpServer
from streams.watch.lag import Progress
from streams.watch.metrics import RoleMetrics
from streams.watch.observed import Observed, State

log = structlog.get_logger(__name__)

# A batch takes milliseconds; one that takes this long waits for something that is not known to be away.
_STUCK_S: Final = 120.0
# A server that is away for less than this is a hiccup that nobody needs to act on.
_HICCUP_S: Final = 10.0
# The event loop turns many times a second; one that has stood still for this long will not turn again.
_HUNG_S: Final = 60.0

VARIABLES: Final = {
    "kafka": "FRAUD_KAFKA_BOOTSTRAP",
    "redis": "FRAUD_REDIS_URL",
    "opensearch": "FRAUD_OPENSEARCH_URL",
    "spool": "FRAUD_ALERTS_DIR",
}
_NEEDS: Final = {"score": ("kafka", "redis"), "index": ("kafka", "opensearch"), "alert": ("kafka", "spool")}


class Health:
    """What a role tells of itself.

    Live: its event loop turns. Ready: it owns its assignment, no server that it needs is away for long, and no batch is
    stuck. A role that is live and not ready heals by itself; killing it would not help.

    Args:
        role: which one.
        degrades: whether it goes on scoring while Redis is away.
        clock_s: seconds that only grow.

    Attributes:
        registry: everything that `/metrics` shows.
        rebuilding: partition -> records applied again so far, of the rebuilds that are under way.
        outages: the servers that the role needs, by name.
    """

    def __init__(self, role: str, *, degrades: bool = False, clock_s: Callable[[], float] = time.monotonic) -> None:
        self.role = role
        self.registry = CollectorRegistry()
        self.outages = {name: Outage(name, VARIABLES[name], clock_s) for name in _NEEDS[role]}
        self._degrades, self._clock_s = degrades, clock_s
        self._metrics = RoleMetrics(self.registry)
        self._progress: Mapping[int, Progress] = {}
        self._partitions: list[int] = []
        self._ready = self._draining = False
        self.rebuilding: dict[int, int] = {}
        self._batches_since_s: deque[float] = deque()
        self._turned_s: float | None = None
        Observed(
            self.registry,
            list(self.outages.values()),
            lambda: self._progress,
            lambda: (self.state(), self.is_ready()),
        )
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)

    # -- told by the role -------------------------------------------------------------------------------------------

    def assigned(self, partitions: Iterable[int]) -> None:
        """An assignment begins."""
        self._ready = False
        self._partitions = sorted(partitions)
        self._progress = {}
        self._metrics.partitions.set(len(self._partitions))

    def ready(self) -> None:
        """The assignment is taken over."""
        self._ready = True

    def draining(self) -> None:
        """The signal to stop has come."""
        self._draining = True

    def turned(self) -> None:
        """The event loop turns."""
        self._turned_s = self._clock_s()

    def progressed(self, progress: Mapping[int, Progress], *, connected: bool) -> None:
        """Where the partitions stand, and whether a broker answers; called in the poll thread."""
        self._progress = progress
        if connected:
            self.outages["kafka"].answered()
        else:
            self.outages["kafka"].failed("no broker is connected")

    def batch_begins(self) -> None:
        """A batch is in hand; the one before may be too."""
        self._batches_since_s.append(self._clock_s())

    def batch_dropped(self) -> None:
        """The batch that began last was given up."""
        self._batches_since_s.pop()

    def batch_done(self, chunks: Sequence[Chunk], now_ms: int | None = None) -> None:
        """The batch that began first is durable."""
        began_s = self._batches_since_s.popleft()
        done_ms = time.time_ns() // 1_000_000 if now_ms is None else now_ms
        ages_s = [max(done_ms - record.timestamp()[1], 0) / 1000 for chunk in chunks for record in chunk.records]
        self._metrics.batch(ages_s, self._clock_s() - began_s)

    # -- asked by others --------------------------------------------------------------------------------------------

    def state(self) -> State:
        """In one word; of several that are true the first of: draining, waiting, rebuilding, starting, stuck."""
        away = {name for name, outage in self.outages.items() if outage.since_s is not None}
        if self._draining:
            return "draining"
        if away - ({"redis"} if self._degrades else set()):
            return "waiting"
        if any(self.rebuilding.copy().values()):  # one that has applied nothing found nothing to mend so far
            return "rebuilding"
        if not self._ready:
            return "starting"
        if self._in_hand_s() >= _STUCK_S:
            return "stuck"
        return "degraded" if away else "ready"

    def is_live(self) -> bool:
        """Whether the event loop turns; before its first turn it is taken to."""
        return self._turned_s is None or self._clock_s() - self._turned_s < _HUNG_S

    def is_ready(self) -> bool:
        """Whether records are handled as they should be, but for a hiccup."""
        state = self.state()
        if state == "waiting":
            longest_s = max(outage.away_s for outage in self.outages.values())
            return self._ready and not self.rebuilding and longest_s < _HICCUP_S
        return state in {"ready", "degraded"} and self.is_live()

    def report(self) -> dict[str, Any]:
        """The body of `/health`."""
        return {
            "role": self.role,
            "state": self.state(),
            "live": self.is_live(),
            "ready": self.is_ready(),
            "waits_for": [_waited_for(outage) for outage in self.outages.values() if outage.since_s is not None],
            "partitions": self._partitions,
            "rebuilding": {str(p): records for p, records in self.rebuilding.copy().items() if records},
            "lag": sum(at.lag for at in self._progress.values()),
            "batch_in_hand_s": round(self._in_hand_s(), 3),
        }

    def answer(self, path: str, accept: str) -> Answer:
        """The answer to a GET."""
        if path == "/metrics":
            encode, content_type = choose_encoder(accept)
            return Answer(200, content_type, encode(self.registry))
        report = self.report()
        good = {"/health": report["ready"], "/health/ready": report["ready"], "/health/live": report["live"]}
        if path not in good:
            return Answer(404, "text/plain", b"/health, /health/live, /health/ready and /metrics are here\n")
        return Answer(200 if good[path] else 503, "application/json", msgspec.json.encode(report) + b"\n")

    def _in_hand_s(self) -> float:
        # Also asked by the thread that serves HTTP.
        began_s = list(self._batches_since_s)
        return self._clock_s() - began_s[0] if began_s else 0.0


def serve_http(health: Health, host: str, port: int) -> HttpServer:
    """Serve until the process ends; port 0 takes a free one, which is logged."""
    server = HttpServer(health.answer, host, port)
    log.info("http_listening", role=health.role, host=host, port=server.port)
    return server


def _waited_for(outage: Outage) -> dict[str, Any]:
    since_s = outage.since_s
    return {
        "server": outage.server,
        "variable": outage.variable,
        "since": None if since_s is None else format_rfc3339(int(since_s * 1000)),
        "for_s": round(outage.away_s, 1),
    }
