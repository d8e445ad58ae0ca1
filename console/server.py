"""The console's process: a web server that drains on SIGTERM, and health and metrics beside it."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import structlog
import uvicorn

from console.room import Room
from console.web.app import make_app
from features.errors import ConfigError, FraudstreamError, ServerUnavailable
from streams.settings import Settings
from streams.watch.http import HttpServer

log = structlog.get_logger(__name__)

_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_DRAIN_S: Final = 10


class Server(uvicorn.Server):
    """Uvicorn without its own signal handling, which would end a drained process by the signal itself."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The signals are ours."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        yield

    def _end(self) -> None:
        self.should_exit = True


def run_console(settings: Settings) -> int:
    """Serve until a signal comes; returns the exit code.

    Raises:
        ConfigError: a setting, the users file, or a login at a server cannot be used.
    """
    return asyncio.run(_serve(settings))


async def _serve(settings: Settings) -> int:
    room = Room(settings)
    await _check_logins(room)
    http = HttpServer(room.health.answer, settings.http_host, settings.http_port)
    listening = listen(settings)
    port = listening.getsockname()[1]
    scheme = "https" if settings.console_ssl_certificate else "http"
    if settings.console_host not in _LOOPBACK and scheme == "http" and not room.networks:
        log.warning("console_without_tls", variable="FRAUD_CONSOLE_SSL_CERTIFICATE", host=settings.console_host)
    log.info("http_listening", role="console", host=settings.http_host, port=http.port)
    log.info("console_listening", url=f"{scheme}://{settings.console_host}:{port}")
    await Server(web_config(room)).serve(sockets=[listening])
    log.info("console_stopped")
    return 0


def web_config(room: Room) -> uvicorn.Config:
    """How the web server is set up."""
    settings = room.settings
    return uvicorn.Config(
        make_app(room),
        log_config=None,
        # Addresses of cases name cards and transactions.
        access_log=False,
        server_header=False,
        # Whom a proxy speaks for is decided in `console/web/guard.py`, by its address.
        proxy_headers=False,
        ssl_certfile=settings.console_ssl_certificate or None,
        ssl_keyfile=settings.console_ssl_key or None,
        timeout_graceful_shutdown=_DRAIN_S,
        limit_concurrency=200,
        lifespan="on",
    )


def listen(settings: Settings) -> socket.socket:
    """The listening socket; raises ConfigError where there can be none."""
    host, port = settings.console_host, settings.console_port
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=128)
    except (OSError, UnicodeError) as exc:
        problem = exc.strerror if isinstance(exc, OSError) else exc
        raise ConfigError(
            f"FRAUD_CONSOLE_HOST, FRAUD_CONSOLE_PORT: cannot listen on {host}:{port}: {problem}"
        ) from None


async def _check_logins(room: Room) -> None:
    """Refused logins end the process at once; a server that is away is waited for by whoever needs it."""
    for look in (room.notes.outbox_size, room.library.check):
        try:
            await look()
        except ServerUnavailable as exc:
            log.warning("console_starts_without_a_server", problem=str(exc))
        except ConfigError:
            raise
        except FraudstreamError as exc:
            raise ConfigError(str(exc)) from exc
