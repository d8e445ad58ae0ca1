"""Servers between a worker and a server, that make it slow or let it refuse."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

from local.ports import HOST, free_port

_BYTES: Final = 65_536
_ANSWER_S: Final = 60.0


class SlowProxy:
    """Passes bytes on, each portion after a delay.

    Attributes:
        delay_s: for what comes from now on.
        port: where it listens.
    """

    def __init__(self, host: str, port: int) -> None:
        self._upstream = host, port
        self.port = free_port()
        self.delay_s = 0.0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Listen."""
        self._thread.start()
        self._run(asyncio.start_server(self._serve, HOST, self.port)).result(_ANSWER_S)

    def stop(self) -> None:
        """Drop all connections."""
        self._run(self._drop()).result(_ANSWER_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self, work: Any) -> Future[Any]:  # noqa: ANN401 - any coroutine
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _drop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            up_reader, up_writer = await asyncio.open_connection(*self._upstream)
            for source, sink in ((reader, up_writer), (up_reader, writer)):
                task = asyncio.ensure_future(self._pass_on(source, sink))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(_BYTES):
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                sink.write(data)
                await sink.drain()
        except OSError:
            return
        finally:
            sink.close()


class BulkProxy:
    """Passes HTTP requests on to OpenSearch, and lets bulk requests fail as told.

    Attributes:
        mode: empty: everything passes; `429`: bulk requests are refused; `items`: of each bulk request only every
            other document is passed on, and the rest is said to be refused with 429 or 503.
    """

    def __init__(self, upstream_url: str) -> None:
        self.mode = ""
        self.refused = 0
        self.upstream = urlsplit(upstream_url)
        handler = type("Handler", (_Handler,), {"proxy": self})
        self._server = ThreadingHTTPServer((HOST, 0), handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        """Where clients reach it."""
        return f"http://{HOST}:{self._server.server_port}"

    def stop(self) -> None:
        """Refuse connections."""
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: ClassVar[BulkProxy]

    def serve(self) -> None:
        """Answer one request."""
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        mode = self.proxy.mode if self.path.startswith("/_bulk") else ""
        if mode == "429":
            status, answer = 429, _error("too_many_requests", 429)
        elif mode == "items":
            status, answer = 200, self._half(body)
        else:
            status, answer = self._forward(self.path, body)
        self.proxy.refused += bool(mode)
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = serve  # noqa: N815 - names that the base class calls

    def _half(self, body: bytes) -> bytes:
        pairs = list(_pairs(body))
        _, answer = self._forward(self.path, b"".join(pairs[::2]))
        stored: list[dict[str, Any]] = json.loads(answer)["items"]
        refused = [
            {"index": {"status": status, "error": {"type": "rejected_execution_exception", "reason": "full"}}}
            for status in (429, 503) * (len(pairs) // 4 + 1)
        ]
        items = [stored[at // 2] if at % 2 == 0 else refused[at // 2] for at in range(len(pairs))]
        return json.dumps({"errors": len(pairs) > 1, "items": items}).encode()

    def _forward(self, path: str, body: bytes) -> tuple[int, bytes]:
        upstream = self.proxy.upstream
        connection = http.client.HTTPConnection(upstream.hostname or HOST, upstream.port, timeout=_ANSWER_S)
        try:
            headers = {"content-type": self.headers.get("content-type", "application/json")}
            connection.request(self.command, path, body, headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def log_message(self, format: str, *_: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


def _error(kind: str, status: int) -> bytes:
    return json.dumps({"error": {"type": kind, "reason": "refused by the fault matrix"}, "status": status}).encode()


def _pairs(body: bytes) -> Iterator[bytes]:
    lines = body.splitlines(keepends=True)
    for action, document in zip(lines[::2], lines[1::2], strict=True):
        yield action + document
