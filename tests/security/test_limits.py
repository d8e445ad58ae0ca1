"""Inputs of every size through the real role: each is answered, nothing grows out of proportion, health answers."""

from __future__ import annotations

import json
import socket
import time
from contextlib import ExitStack
from pathlib import Path

from tests.streams.pipeline import Pipeline
from tests.streams.records import Sent, by_source, fields, read_all, send, value_of, wait_acknowledged
from tests.support import wait_until

KIB = 1024
MEBI = 1024 * KIB
MOST_MEMORY = 1200 * MEBI
"""Resident memory of a role in hand of two hundred megabytes of records; at rest it has about 250 MiB."""

MANY = 250


def filled(size: int, card: str) -> bytes:
    """A right transaction of exactly so many bytes."""
    bare = json.dumps(fields(card_id=card, transaction_id=card, filler="")).encode()
    return json.dumps(fields(card_id=card, transaction_id=card, filler="x" * (size - len(bare)))).encode()


def many_keys(card: str) -> bytes:
    """As many JSON keys as fit, every one another."""
    value = value_of(card_id=card)[:-1]
    keys = ",".join(f'"{number:x}":0' for number in range(22_000))
    return value + b"," + keys.encode() + b"}"


def test_records_of_every_size_are_answered_in_bounded_memory(pipeline: Pipeline) -> None:
    right = {
        "many keys": Sent(many_keys("many-keys"), 0),
        "one key often": Sent(value_of(card_id="same-key")[:-1] + b',"k":0' * 40_000 + b"}", 1),
        "a thousand headers": Sent(value_of(card_id="h1"), 2, None, tuple((f"h{i}", b"x" * 500) for i in range(1000))),
        "a header of 3 MiB": Sent(value_of(card_id="h2"), 3, None, (("big", b"x" * (3 * MEBI)),)),
        "a header's name of 30 KB": Sent(value_of(card_id="h3"), 0, None, (("n" * 30_000, None),)),
        "a long way from home": Sent(value_of(card_id="h4"), 1, None, (("rerouted_from", b"9" * MEBI),)),
        "numbers that are none": Sent(value_of(card_id="h5"), 2, None, (("rerouted_from", b"1:2:" + b"9" * 59),)),
        "a key of 256 KiB": Sent(value_of(card_id="h6"), 3, b"k" * (256 * KIB)),
        "a long number": Sent(value_of(card_id="h7")[:-1] + b',"n":' + b"9" * 200_000 + b"}", 0),
        "a huge exponent": Sent(value_of(card_id="h8")[:-1] + b',"n":1e' + b"9" * 200_000 + b"}", 1),
    }
    refused = {
        "a key over 256 KiB": Sent(value_of(card_id="k"), 0, b"k" * (256 * KIB + 1)),
        "value and key of 2 MB": Sent(b"\x01" * 2_000_000, 1, b"\x02" * 1_900_000),
    }
    large = [Sent(filled(256 * KIB, f"large-{i}"), i % 4) for i in range(MANY)]
    larger = [Sent(b"[" * (4 * MEBI - 200), i % 4) for i in range(MANY // 10)]
    send(pipeline, [*right.values(), *refused.values(), *large, *larger])
    role = pipeline.start().wait_ready()
    wait_acknowledged(pipeline, timeout_s=120)
    status = Path(f"/proc/{role.process.pid}/status").read_text()
    most = int(status.split("VmHWM:")[1].split()[0]) * KIB

    outcomes, letters = read_all(pipeline, "processed_transactions"), read_all(pipeline, "transactions.dlq")
    assert len(by_source(outcomes)) == len(right) + len(large)
    assert [letter.header("reason") for letter in letters] == [b"too_large"] * (len(refused) + len(larger))
    assert max(len(letter.value or b"") for letter in letters) < MEBI
    # A record that is sent home takes none of its headers along, but where it came from.
    sent_home = [r for r in read_all(pipeline, "transactions") if (r.header("rerouted_from") or b"").count(b":") == 2]
    assert all(len(r.headers) == 1 for r in sent_home if len(r.header("rerouted_from") or b"") < 40)
    assert most < MOST_MEMORY, f"{most / MEBI:.0f} MiB"
    assert role.stop() == 0


def test_nobody_who_is_slow_keeps_health_from_answering(pipeline: Pipeline) -> None:
    role = pipeline.start().wait_ready()
    with ExitStack() as open_ones:
        slow = [open_ones.enter_context(socket.create_connection(("127.0.0.1", role.port))) for _ in range(60)]
        for number, one in enumerate(slow):
            one.sendall((b"", b"G", b"GET /health HTTP/1.1\r\nx: ", b"GET /" + b"x" * 5000)[number % 4])
        began_s = time.monotonic()
        assert role.get("/health")[0] == 200
        assert role.get("/metrics")[0] == 200
        assert time.monotonic() - began_s < 5

        endless = (
            b"GET /" + b"x" * MEBI + b" HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 100_000 + b"\r\n",
        )
        for request in endless:
            with socket.create_connection(("127.0.0.1", role.port), timeout=10) as huge:
                answer_or_end(huge, request)
        assert role.get("/health")[0] == 200
    wait_until(lambda: role.get("/health")[0] == 200)
    assert role.stop() == 0


def answer_or_end(connection: socket.socket, request: bytes) -> None:
    """Send what is too much: it is refused, or the connection ends; never is it taken."""
    try:
        connection.sendall(request)
        answer = connection.recv(4096)
    except (ConnectionError, TimeoutError):
        return
    assert not answer.startswith((b"HTTP/1.1 200", b"HTTP/1.0 200"))
