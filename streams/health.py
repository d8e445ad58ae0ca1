"""Health and metrics of a role over HTTP: `/health` and `/metrics`, in a thread of their own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import msgspec
import structlog
from prometheus_client import CollectorRegistry, make_wsgi_app

from features.errors import ConfigError
from streams.metrics import RoleMetrics
from streams.role import Chunk

log = structlog.get_logger(__name__)

# A batch takes milliseconds; one that takes this long waits for a server that is away.
_STUCK_S: Final = 120.0

StartResponse = Callable[[str, list[tuple[str, str]]], object]


class Health:
    """What `/health` and `/metrics` tell of a role.

    Live: the process works, or waits for records. Ready: it owns its assignment and no batch is stuck.
    """

    def __init__(self, role: str) -> None:
        self.role = role
        self.registry = CollectorRegistry()
        self._metrics = RoleMetrics(self.registry)
        self._ready = False
        self._partitions: list[int] = []
        self._batch_since: float | None = None

    def assigned(self, partitions: Iterable[int]) -> None:
        """An assignment begins."""
        self._ready = False
        self._partitions = sorted(partitions)
        self._metrics.partitions.set(len(self._partitions))

    def ready(self) -> None:
        """The assignment is taken over."""
        self._ready = True

    def batch_begins(self) -> None:
        """A batch is in hand."""
        self._batch_since = time.monotonic()

    def batch_done(self, chunks: Sequence[Chunk]) -> None:
        """The batch in hand is durable."""
        began, self._batch_since = self._batch_since, None
        records = sum(len(chunk.records) for chunk in chunks)
        self._metrics.batches.inc()
        self._metrics.records.inc(records)
        self._metrics.batch_size.observe(records)
        if began is not None:
            self._metrics.batch_s.observe(time.monotonic() - began)

    def report(self) -> dict[str, Any]:
        """The body of `/health`."""
        began = self._batch_since
        busy_s = 0.0 if began is None else time.monotonic() - began
        return {
            "role": self.role,
            "live": True,
            "ready": self._ready and busy_s < _STUCK_S,
            "partitions": self._partitions,
            "batch_in_hand_s": round(busy_s, 3),
        }

    def app(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """The WSGI application."""
        if environ.get("PATH_INFO") == "/metrics":
            body: Iterable[bytes] = make_wsgi_app(self.registry)(environ, start_response)
            return body
        if environ.get("PATH_INFO") != "/health":
            start_response("404 Not Found", [("Content-Type", "text/plain")])
            return [b"/health and /metrics are here\n"]
        report = self.report()
        start_response(
            "200 OK" if report["ready"] else "503 Service Unavailable", [("Content-Type", "application/json")]
        )
        return [msgspec.json.encode(report)]


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """Requests are counted by whoever makes them."""


def serve_http(health: Health, host: str, port: int) -> WSGIServer:
    """Serve until the process ends; port 0 takes a free one, which is logged."""
    try:
        server = make_server(host, port, health.app, handler_class=_Quiet)
    except OSError as exc:
        raise ConfigError(f"FRAUD_HTTP_PORT: cannot listen on {host}:{port}: {exc.strerror}") from None
    threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
    log.info("http_listening", role=health.role, host=host, port=server.server_port)
    return server
