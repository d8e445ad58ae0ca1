"""Free ports on the loopback address."""

from __future__ import annotations

import random
import socket

from local.errors import PortTakenError

HOST = "127.0.0.1"
# Below the ephemeral range of Linux and macOS: a client that reconnects to a stopped server can there be given the
# server's own port as its source port, talk to itself, and keep the server from coming back.
LOWEST_PORT = 20_000
HIGHEST_PORT = 29_999
_ATTEMPTS = 200


def is_free(port: int) -> bool:
    """Say whether a server could listen on the port of the loopback address now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As the servers do: connections of a predecessor that are only waiting to be forgotten do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def free_port(lowest: int = LOWEST_PORT, highest: int = HIGHEST_PORT) -> int:
    """Return a port, taken at random, that is free now; two callers at once seldom get the same one.

    Args:
        lowest: smallest port to return.
        highest: largest port to return.

    Raises:
        PortTakenError: no port of the range is free.
    """
    candidates = random.sample(range(lowest, highest + 1), k=min(_ATTEMPTS, highest - lowest + 1))
    for port in candidates:
        if is_free(port):
            return port
    raise PortTakenError(f"no free port between {lowest} and {highest} on {HOST}")
