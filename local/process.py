"""Processes known by id and start time, so that a reused id is never taken for the one we started."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import psutil

STOP_GRACE_S = 15.0
_KILL_TIMEOUT_S = 10.0
_SAME_START_S = 1.0
_POLL_S = 0.05
_TAIL_BYTES = 16_384


class Identity(msgspec.Struct, frozen=True):
    """What tells one process from every other.

    Attributes:
        pid: process id.
        started_s: when it started, epoch seconds as the system reports it.
    """

    pid: int
    started_s: float


def identify(process: psutil.Process) -> Identity:
    """Return the identity of a process to keep across our own restarts."""
    return Identity(process.pid, process.create_time())


def find(identity: Identity) -> psutil.Process | None:
    """Return the process of that identity while it lives."""
    try:
        process = psutil.Process(identity.pid)
        if abs(process.create_time() - identity.started_s) > _SAME_START_S:
            return None
    except psutil.NoSuchProcess:
        return None
    return process if is_alive(process) else None


def is_alive(process: psutil.Process) -> bool:
    """Say whether the process still runs (or is suspended); one that only awaits its burial does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def stop(processes: list[psutil.Process], grace_s: float = STOP_GRACE_S) -> None:
    """End the processes: SIGTERM to all, and SIGKILL to those that are still there after the grace."""
    for process in processes:
        _signal(process, "terminate")
        _signal(process, "resume")  # a suspended process would sleep through the request
    for process in _await_end(processes, grace_s):
        _signal(process, "kill")
    _await_end(processes, _KILL_TIMEOUT_S)


def kill(process: psutil.Process) -> None:
    """End the process at once (SIGKILL)."""
    _signal(process, "kill")
    _await_end([process], _KILL_TIMEOUT_S)


def tail(log: Path, lines: int = 15, start: int = 0) -> str:
    """Return the last lines of a log, as much as there is of it.

    Args:
        log: the file; one that is missing counts as empty.
        lines: how many lines at most.
        start: offset in bytes before which nothing is read.
    """
    try:
        with log.open("rb") as file:
            file.seek(max(start, log.stat().st_size - _TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def _signal(process: psutil.Process, action: str) -> None:
    if is_alive(process):
        try:
            getattr(process, action)()
        except psutil.NoSuchProcess:
            return


def _await_end(processes: list[psutil.Process], timeout_s: float) -> list[psutil.Process]:
    """Wait until all have ended; return those that have not after the timeout."""
    deadline_s = time.monotonic() + timeout_s
    while (alive := [process for process in processes if is_alive(process)]) and time.monotonic() < deadline_s:
        time.sleep(_POLL_S)
    return alive
