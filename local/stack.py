"""Kafka, Redis and OpenSearch without containers, as long as a `with` block or until `down`.

In the foreground, the servers live as long as the `Stack`, and never longer than the process that started it:

    with Stack(Path(".stack/run")) as stack:
        os.environ.update(stack.env())

Detached, they live until they are told to stop: `up`, `status`, `load_state`, `down`.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from local import process as processes
from local.errors import LocalStackError
from local.servers import SERVICES, Progress, Stack, running_servers, silent
from local.state import State, forget_state, load_state

__all__ = ["SERVICES", "LocalStackError", "ServerStatus", "Stack", "State", "down", "load_state", "status", "up"]


class ServerStatus(msgspec.Struct, frozen=True):
    """How a server that `up` started fares.

    Attributes:
        running: whether its process lives.
        pid: its process id.
        port: its port on the loopback address.
        log: path of its log.
    """

    running: bool
    pid: int
    port: int
    log: str


def up(
    directory: Path,
    kafka_port: int = 0,
    redis_port: int = 0,
    opensearch_port: int = 0,
    services: tuple[str, ...] = SERVICES,
    progress: Progress = silent,
    cache: Path | None = None,
) -> State:
    """Start servers that outlive this process; those of an earlier `up` that still run are left as they are.

    Args:
        directory: folder of data, logs, configuration and of the note of what runs.
        kafka_port: where Kafka shall listen; 0: a free port, or the one it had.
        redis_port: the same for Redis.
        opensearch_port: the same for OpenSearch, between 9201 and 9299.
        services: which of them shall run.
        progress: takes lines for people; called from several threads.
        cache: folder of downloads; by default `.stack/cache` of the checkout.

    Raises:
        LocalStackError: a server cannot be had, or runs at another port than the one asked for; what was started here
            is stopped again.
    """
    state = load_state(directory)
    running = running_servers(state)
    wanted = tuple(name for name in SERVICES if name in {*services, *running})
    stack = Stack(directory, kafka_port, redis_port, opensearch_port, wanted, cache)
    stack.take_folder()
    try:
        if state is not None:
            stack.adopt(state)
        stack.start_missing(progress)
        return stack.detach()
    finally:
        stack.let_go()


def down(directory: Path) -> list[str]:
    """Stop what `up` left running and return the names of the servers that were; data and logs stay.

    Raises:
        LocalStackError: the folder is being worked on by another run, or its note cannot be read.
    """
    if not directory.is_dir():
        return []
    stack = Stack(directory, services=())
    stack.take_folder()
    try:
        running = running_servers(load_state(directory))
        processes.stop(list(running.values()))
        forget_state(directory)
        return list(running)
    finally:
        stack.let_go()


def status(directory: Path) -> dict[str, ServerStatus]:
    """Return how the servers fare that `up` started, by service name; empty where there are none.

    Raises:
        LocalStackError: the note of what runs cannot be read.
    """
    state = load_state(directory)
    if state is None:
        return {}
    running = running_servers(state)
    return {
        name: ServerStatus(name in running, server.identity.pid, server.port, server.log)
        for name, server in state.servers.items()
    }
