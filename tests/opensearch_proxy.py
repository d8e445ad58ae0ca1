"""A real HTTP server in front of OpenSearch that misbehaves as told, then forwards."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

HOST = "127.0.0.1"


def answer(status, error_type="", reason="", *, content_type="application/json"):
    """An answer in OpenSearch's form of an error."""
    body = json.dumps({"error": {"type": error_type, "reason": reason}, "status": status}).encode()
    return status, content_type, body


DROP = "close the connection without an answer"
MEETING_S = 10


class Proxy:
    """Forwards to OpenSearch, except for bulk requests while `script` holds something for them.

    Attributes:
        script: what the next bulk requests get, in order: an `answer(...)`, `DROP`, or a `threading.Barrier` at which
            requests wait for each other before they are forwarded.
        bulks: bodies of the bulk requests that arrived, in order.
        max_body: bulk bodies over this size (bytes) are answered with 413.
        authorization: the header that every request must have; others are answered with 401. None: no login.
    """

    def __init__(self, upstream_url):
        self.upstream = urlsplit(upstream_url)
        self.script = deque()
        self.bulks = []
        self.max_body = None
        self.authorization = None
        self._port = 0
        self._server = None

    @property
    def url(self):
        """Where clients reach it."""
        return f"http://{HOST}:{self._port}"

    def start(self):
        """Listen."""
        handler = type("Handler", (_Handler,), {"proxy": self})
        self._server = ThreadingHTTPServer((HOST, self._port), handler)
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def wrap_in_tls(self, certificate, key):
        """Speak TLS from now on; where clients reach it then."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        # The handshake belongs to the connection's own thread, where a failed one ends that connection alone.
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        return f"https://localhost:{self._port}"

    def stop(self):
        """Refuse connections; `start` listens again at the same port."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: Proxy

    def handle(self):
        """Serve the connection, unless its client leaves: one that does not trust the certificate does."""
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            super().handle()

    def _serve(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        # One request per connection, so that none outlives a `stop`.
        self.close_connection = True
        step = self._scripted(body) if self.path.startswith("/_bulk") else None
        if self.proxy.authorization not in {None, self.headers.get("authorization")}:
            step = answer(401, "security_exception", "missing authentication credentials")
        if step == DROP:
            return
        if isinstance(step, threading.Barrier):
            step.wait(MEETING_S)
            step = None
        status, content_type, content = step or self._forward(body)
        self.send_response(status)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(content)))
        self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _serve  # noqa: N815 - names that the base class calls

    def _scripted(self, body):
        self.proxy.bulks.append(body)
        if self.proxy.max_body is not None and len(body) > self.proxy.max_body:
            return 413, "text/html", b"<html>too large</html>"
        return self.proxy.script.popleft() if self.proxy.script else None

    def _forward(self, body):
        upstream = self.proxy.upstream
        connection = http.client.HTTPConnection(upstream.hostname, upstream.port, timeout=60)
        try:
            headers = {"content-type": self.headers.get("content-type", "application/json")}
            connection.request(self.command, self.path, body, headers)
            response = connection.getresponse()
            return response.status, response.getheader("content-type", "text/plain"), response.read()
        finally:
            connection.close()

    def log_message(self, *_):
        """Say nothing."""
