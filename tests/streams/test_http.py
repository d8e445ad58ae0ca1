"""Probes and scrapes are answered while other clients are slow, rude or many."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack

import pytest

from features.errors import ConfigError
from streams.watch.http import Answer, HttpServer
from tests.support import wait_until

HOST = "127.0.0.1"
REQUEST_S = 3.0
BIG = b"x" * 8_000_000


def answer(path: str, accept: str) -> Answer:
    return Answer(200, "text/plain", {"/big": BIG, "/accept": accept.encode()}.get(path, path.encode()))


@pytest.fixture(scope="module")
def port():
    return HttpServer(answer, HOST, 0, request_s=REQUEST_S).port


def send(port: int, request: bytes) -> bytes:
    """All that comes back until the server closes."""
    with socket.create_connection((HOST, port), timeout=10) as client:
        client.sendall(request)
        parts = []
        while part := client.recv(1 << 16):
            parts.append(part)
    return b"".join(parts)


def probe(port: int) -> None:
    """A well-behaved client gets its answer in less time than any other is given."""
    began_s = time.monotonic()
    assert send(port, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").endswith(b"\r\n\r\n/health")
    assert time.monotonic() - began_s < 0.8 * REQUEST_S


def test_an_answer_is_whole_and_closes(port):
    head, _, body = send(port, b"GET /a/b?c=d HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\n\r\n").partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Content-Length: 4" in head
    assert b"Connection: close" in head
    assert body == b"/a/b"


def test_head_has_no_body(port):
    assert send(port, b"HEAD /a HTTP/1.0\r\n\r\n").endswith(b"\r\n\r\n")


def test_the_accept_header_is_handed_on(port):
    assert send(port, b"GET /accept HTTP/1.1\r\naCCept: application/x; q=1\r\n\r\n").endswith(b"application/x; q=1")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"POST /health HTTP/1.1\r\n\r\n", b"405"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"\xff\xfe\x00\r\n\r\n", b"400"),
        (b"GET /health SMTP\r\n\r\n", b"400"),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n", b"431"),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 4_000 + b"\r\n", b"431"),
    ],
)
def test_what_is_no_request_gets_its_status(port, request_, status):
    assert send(port, request_).split(b" ", 2)[1] == status
    probe(port)


def test_a_client_that_sends_nothing_blocks_nobody_and_is_dropped(port):
    with ExitStack() as stack:
        idle = [stack.enter_context(socket.create_connection((HOST, port), timeout=10)) for _ in range(40)]
        idle[0].sendall(b"GET /hea")
        probe(port)
        for client in idle:
            assert ended(client)


def test_a_client_that_sends_a_byte_now_and_then_is_dropped(port):
    with socket.create_connection((HOST, port), timeout=10) as client:
        began_s = time.monotonic()
        client.settimeout(0.1)

        def dropped() -> bool:
            try:
                client.sendall(b"X")
                return client.recv(1) == b""
            except TimeoutError:
                return False
            except OSError:
                return True

        client.sendall(b"GET / HTTP/1.1\r\n")
        wait_until(dropped, 10)
        assert time.monotonic() - began_s < 2 * REQUEST_S


def test_a_client_that_does_not_take_its_answer_blocks_nobody(port):
    with ExitStack() as stack:
        for _ in range(3):
            client = stack.enter_context(socket.create_connection((HOST, port), timeout=10))
            client.sendall(b"GET /big HTTP/1.1\r\n\r\n")
        probe(port)


def test_of_too_many_connections_the_oldest_goes_first(port):
    with ExitStack() as stack:
        first = stack.enter_context(socket.create_connection((HOST, port), timeout=10))
        for _ in range(200):
            stack.enter_context(socket.create_connection((HOST, port), timeout=10))
        probe(port)
        assert ended(first)


def test_a_client_that_hangs_up_is_no_problem(port):
    for _ in range(20):
        with socket.create_connection((HOST, port), timeout=10) as client:
            client.sendall(b"GET /big HTTP/1.1\r\n\r\n")
    probe(port)


def test_a_port_that_is_taken_names_its_variable(port):
    with pytest.raises(ConfigError, match=f"FRAUD_HTTP_PORT.*{port}"):
        HttpServer(answer, HOST, port)


def test_it_listens_on_ipv6_too():
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    try:
        server = HttpServer(answer, "::1", 0)
    except ConfigError:
        pytest.skip("this machine has no IPv6 loopback")
    with socket.create_connection(("::1", server.port), timeout=5) as client:
        client.sendall(b"GET /x HTTP/1.1\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 200")


def ended(client: socket.socket) -> bool:
    """Whether the server closes the connection (the client's timeout is the deadline)."""
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True
