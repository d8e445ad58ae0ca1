"""Real servers that alerts are sent to: HTTP and SMTP on the loopback address, which do as they are told."""

from __future__ import annotations

import email
import email.policy
import socketserver
import threading
import time
from collections.abc import Callable
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Post(NamedTuple):
    """A request that came in."""

    path: str
    headers: dict[str, str]
    body: bytes
    at_s: float


class HttpReceiver:
    """Answers every POST with what `answer` gives for its number: a status, after `delay_s`."""

    def __init__(self, answer: Callable[[int], int] = lambda _: 204) -> None:
        self.posts: list[Post] = []
        self.answer = answer
        self.hanging = threading.Event()
        self.hanging.set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.posts.append(Post(self.path, headers, body, time.monotonic()))
                receiver.hanging.wait(60)
                status = receiver.answer(len(receiver.posts))
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("location", f"http://127.0.0.1:{receiver.port}/elsewhere")
                self.send_header("content-length", "0")
                self.end_headers()

            do_GET = do_POST  # noqa: N815 - as above

            def log_message(self, *_: Any) -> None:
                """Nothing: the test says what matters."""

            def handle(self) -> None:
                try:
                    super().handle()
                except ConnectionError:
                    self.close_connection = True  # the sender did not wait: often the very thing tested

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def url(self, path: str = "/hook") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def close(self) -> None:
        self.hanging.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class SmtpReceiver:
    """Speaks as much SMTP as it takes to get a mail."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        receiver = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self.say("220 ready")
                while line := self.rfile.readline().decode().strip().upper():
                    if line == "DATA":
                        self.say("354 go on")
                        receiver.mails.append(self.mail())
                        self.say("250 taken")
                    elif line == "QUIT":
                        self.say("221 bye")
                        return
                    else:
                        self.say("250 ok")

            def say(self, line: str) -> None:
                self.wfile.write(f"{line}\r\n".encode())

            def mail(self) -> EmailMessage:
                lines: list[bytes] = []
                while (line := self.rfile.readline()) != b".\r\n":
                    lines.append(line.removeprefix(b"."))
                return email.message_from_bytes(b"".join(lines), policy=email.policy.default)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
