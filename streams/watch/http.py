"""A very small HTTP server for probes and scrapes, in a thread with an event loop of its own.

Many clients at once, and none can keep another waiting: each has seconds to send its request and to take its answer, a
request is a few kilobytes at most, and of too many connections the oldest is dropped.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

import msgspec

from features.errors import ConfigError

_REQUEST_S: Final = 5.0
_ANSWER_S: Final = 10.0
_MOST_BYTES: Final = 8 * 1024
_MOST_CONNECTIONS: Final = 64
_BACKLOG: Final = 128
_PORTION: Final = 64 * 1024


class Answer(msgspec.Struct, frozen=True):
    """What to send."""

    status: int
    content_type: str
    body: bytes


Answerer = Callable[[str, str], Answer]
"""Takes the path and the `Accept` header of a GET, in the server's thread."""


class HttpServer:
    """Answers GET and HEAD requests until the process ends.

    Args:
        answer: makes the answers.
        host: address to listen on.
        port: 0 takes a free one.
        request_s: time in which a client must have sent its request.

    Attributes:
        port: where it listens.

    Raises:
        ConfigError: it cannot listen there.
    """

    def __init__(self, answer: Answerer, host: str, port: int, request_s: float = _REQUEST_S) -> None:
        self._answer, self._request_s = answer, request_s
        self._open: dict[asyncio.Task[None], None] = {}
        try:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            self._socket = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        except (OSError, UnicodeError) as exc:
            problem = exc.strerror if isinstance(exc, OSError) else exc
            raise ConfigError(f"FRAUD_HTTP_HOST, FRAUD_HTTP_PORT: cannot listen on {host}:{port}: {problem}") from None
        self.port = int(self._socket.getsockname()[1])
        threading.Thread(target=lambda: asyncio.run(self._serve()), name="http", daemon=True).start()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connected, sock=self._socket, limit=_MOST_BYTES)
        await server.serve_forever()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open[task] = None
        if len(self._open) > _MOST_CONNECTIONS:
            oldest = next(iter(self._open))
            del self._open[oldest]
            oldest.cancel()
        try:
            await self._exchange(reader, writer)
        except (TimeoutError, OSError, EOFError, asyncio.CancelledError):
            writer.transport.abort()  # too slow, gone, or one too many: there is nobody to explain it to
        finally:
            self._open.pop(task, None)

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.set_write_buffer_limits(0)
        async with asyncio.timeout(self._request_s):
            try:
                request = await reader.readuntil(b"\r\n\r\n")
            except asyncio.LimitOverrunError:
                request = b""
        async with asyncio.timeout(_ANSWER_S):
            response = memoryview(self._response(request))
            for start in range(0, len(response), _PORTION):  # a large buffer would be moved with every bit that is sent
                writer.write(response[start : start + _PORTION])
                await writer.drain()
            writer.close()
            await writer.wait_closed()

    def _response(self, request: bytes) -> bytes:
        line, _, headers = request.decode("latin-1").partition("\r\n")
        words = line.split(" ")
        if not request:
            answer = _said(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        elif len(words) != 3 or not words[2].startswith("HTTP/"):
            answer = _said(HTTPStatus.BAD_REQUEST)
        elif words[0] not in {"GET", "HEAD"}:
            answer = _said(HTTPStatus.METHOD_NOT_ALLOWED)
        else:
            answer = self._answer(words[1].partition("?")[0], _accepted(headers))
        body = b"" if words[0] == "HEAD" else answer.body
        head = (
            f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\r\nContent-Type: {answer.content_type}\r\n"
            f"Content-Length: {len(answer.body)}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
        )
        return head.encode() + body


def _accepted(headers: str) -> str:
    for line in headers.split("\r\n"):
        name, _, value = line.partition(":")
        if name.strip().lower() == "accept":
            return value.strip()
    return ""


def _said(status: HTTPStatus) -> Answer:
    return Answer(status, "text/plain", f"{status.phrase}\n".encode())
