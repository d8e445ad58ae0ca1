"""What the local servers have in common: start and wait until it answers, stop, kill, suspend, restart."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import psutil

from local import process as processes
from local.errors import LocalStackError, PortTakenError
from local.keeper import Keeper
from local.ports import HOST, free_port, is_free

Progress = Callable[[str], None]

_PORT_ATTEMPTS = 5
_POLL_S = 0.1
_PORT_RELEASE_S = 5.0
_TAKEN = ("Address already in use", "is unavailable.", "Failed to bind")


class Server(ABC):
    """One server of a stack, in its own folder.

    Attributes:
        name: of the service, also of its folder.
        variable: environment variable that points clients at it.
        start_timeout_s: how long it may take until it answers; generous, for busy machines.
        port: where it listens for clients.
        log: file with everything that it says.
    """

    name: ClassVar[str]
    variable: ClassVar[str]
    start_timeout_s: ClassVar[float]

    def __init__(self, directory: Path, cache: Path, port: int, cancelled: threading.Event) -> None:
        self.directory = directory / self.name
        self.log = self.directory / "server.log"
        self.port = port
        self.process: psutil.Process | None = None
        self._cache = cache
        self._cancelled = cancelled
        self._log_start = 0
        self._port_was_asked_for = port != 0

    @property
    @abstractmethod
    def address(self) -> str:
        """Value of the environment variable."""

    @abstractmethod
    def prepare(self, progress: Progress) -> None:
        """Get the program; downloads it if need be."""

    @abstractmethod
    def configure(self) -> None:
        """Write what the server reads at its start."""

    @abstractmethod
    def command(self) -> list[str]:
        """Return program and arguments."""

    @abstractmethod
    def answers(self) -> bool:
        """Ask the server: is it ready, and the one that we started?

        Raises:
            PortTakenError: another server answered.
        """

    def choose_port(self) -> int:
        """Return a free port for the server."""
        return free_port()

    @property
    def alive(self) -> bool:
        """Whether its process exists (also while suspended)."""
        return self.process is not None and processes.is_alive(self.process)

    def start(self, keeper: Keeper, progress: Progress) -> None:
        """Start the server and wait until it answers.

        Raises:
            LocalStackError: it died or did not answer in time; the message holds the tail of its log.
            PortTakenError: the port that was asked for is in use.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        self.prepare(progress)
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            if not self.port:
                self.port = self.choose_port()
            try:
                self._start_once(keeper)
            except PortTakenError:
                if self._port_was_asked_for or attempt == _PORT_ATTEMPTS:
                    raise
                self.port = 0
            else:
                # From now on clients know the port: a restart must not move.
                self._port_was_asked_for = True
                progress(f"{self.name}: ready at {HOST}:{self.port}")
                return

    def stop(self) -> None:
        """End the server politely, and after a grace for certain."""
        if self.process is not None:
            processes.stop([self.process])
            self.process = None

    def kill(self) -> None:
        """End the server at once (SIGKILL), as a crash would."""
        if self.process is not None:
            processes.kill(self.process)
            self.process = None

    def failure(self, what: str) -> LocalStackError:
        """Return the error that tells what went wrong, with the end of the log and its place."""
        tail = processes.tail(self.log, start=self._log_start) or "(it wrote nothing)"
        return LocalStackError(f"{self.name} {what}; the end of its log {self.log}:\n{tail}")

    def _start_once(self, keeper: Keeper) -> None:
        self._await_free_port()
        self.configure()
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        self.process = psutil.Process(keeper.spawn(self.command(), self.log, self.directory))
        try:
            self._await_answer(self.process)
        except BaseException:
            self.kill()
            raise

    def _await_free_port(self) -> None:
        """Wait a little: the threads of a killed server hold its port for a moment longer than the process."""
        deadline_s = time.monotonic() + (_PORT_RELEASE_S if self._port_was_asked_for else 0.0)
        while not is_free(self.port):
            if time.monotonic() >= deadline_s or self._cancelled.wait(_POLL_S):
                raise PortTakenError(f"{self.name} cannot have port {self.port}: it is in use on {HOST}")

    def _await_answer(self, process: psutil.Process) -> None:
        deadline_s = time.monotonic() + self.start_timeout_s
        while time.monotonic() < deadline_s:
            if not processes.is_alive(process):
                if any(sign in processes.tail(self.log, lines=200, start=self._log_start) for sign in _TAKEN):
                    raise PortTakenError(str(self.failure(f"found port {self.port} taken")))
                raise self.failure("ended while starting")
            if self.answers():
                return
            if self._cancelled.wait(_POLL_S):
                raise LocalStackError(f"{self.name}: the start was given up")
        raise self.failure(f"did not answer within {self.start_timeout_s:.0f} s")
