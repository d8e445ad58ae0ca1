"""Worker processes, and a supervisor that starts again what ended, as the table of exit codes tells operators to."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from local.ports import HOST, free_port

ROOT: Final = Path(__file__).resolve().parents[1]
RESTARTED: Final = frozenset({69, 70, 74, 75})
"""Exit codes after which a supervisor starts a worker again; so it does after a signal that nobody meant."""
_CHECK_S: Final = 0.1
_PAUSE_S: Final = 0.5
_READY_S: Final = 90.0
_STOP_S: Final = 40.0


class FleetError(RuntimeError):
    """A worker did not do what the row needs."""


class Worker:
    """One process.

    Attributes:
        role: `score`, `index` or `alert`.
        ended: its exit code once the supervisor has seen it; the negative number of a signal.
    """

    def __init__(
        self, role: str, options: tuple[str, ...], variables: Mapping[str, str], log: Path, folder: Path
    ) -> None:
        self.role, self.log = role, log
        self.ended: int | None = None
        self.wanted = True
        self._port = free_port()
        kept = {name: value for name, value in os.environ.items() if not name.startswith("FRAUD_")}
        with log.open("ab") as out:
            self.process = subprocess.Popen(  # noqa: S603 - our own module
                [sys.executable, "-m", "faults.worker", role, *options],
                env={**kept, "PYTHONPATH": str(ROOT), **variables, "FRAUD_HTTP_PORT": str(self._port)},
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=out,
                cwd=folder,
            )

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if it still runs."""
        if self.process.poll() is None:
            self.process.send_signal(number)

    @property
    def ready(self) -> bool:
        """Whether `/health` says so."""
        try:
            with urllib.request.urlopen(f"http://{HOST}:{self._port}/health", timeout=2) as answer:
                return int(answer.status) == 200
        except OSError:
            return False

    @property
    def listens(self) -> bool:
        """Whether it serves HTTP, which it does before it begins to listen to signals; or has ended."""
        try:
            with socket.create_connection((HOST, self._port), timeout=2):
                return True
        except OSError:
            return self.process.poll() is not None

    def wait(self, timeout_s: float = _STOP_S) -> int:
        """Wait for its end; returns the exit code."""
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise FleetError(f"a {self.role} worker has not ended within {timeout_s:g} s") from None

    def said(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-2000:] if self.log.is_file() else ""


class Fleet:
    """All workers of a row; as a context, they end with the block.

    Args:
        variables: FRAUD_* settings; what is changed there counts for workers started from then on.
        folder: where logs go.

    Attributes:
        ends: how workers ended that were not told to, in order: role and exit code.
        log: where what workers say goes instead, where it is set.
        options: of every `score` worker, those of `faults.worker`.
        next_options: of the next ones besides, one after the other.
    """

    def __init__(self, variables: dict[str, str], folder: Path) -> None:
        self.variables, self._folder = variables, folder
        self.ends: list[tuple[str, int]] = []
        self.log: Path | None = None
        self.options: tuple[str, ...] = ()
        self.next_options: list[tuple[str, ...]] = []
        self._workers: list[Worker] = []
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._supervise, name="supervisor", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()
        for worker in self._workers:
            worker.signal(signal.SIGKILL)
            worker.wait()
            if worker.process.stdin is not None:
                worker.process.stdin.close()

    def start(self, role: str) -> Worker:
        """Start a worker."""
        with self._lock:
            options: tuple[str, ...] = ()
            if role == "score":
                options = self.options + (self.next_options.pop(0) if self.next_options else ())
            log = self.log or self._folder / f"{role}-{len(self._workers)}.log"
            worker = Worker(role, options, self.variables, log, self._folder)
            self._workers.append(worker)
        return worker

    def running(self, role: str) -> list[Worker]:
        """Workers of a role that live, oldest first."""
        return [w for w in list(self._workers) if w.role == role and w.process.poll() is None]

    def wait_ready(self, timeout_s: float = _READY_S) -> None:
        """Wait until every running worker is ready; raises FleetError where one is not, or has ended."""
        deadline_s = time.monotonic() + timeout_s
        while late := [w for w in list(self._workers) if w.wanted and w.ended is None and not w.ready]:
            if time.monotonic() > deadline_s:
                raise FleetError(f"{late[0].role} is not ready: {late[0].said()}")
            self._closing.wait(_CHECK_S)

    def dismiss(self, worker: Worker) -> int:
        """SIGTERM; nobody starts it again. Returns its exit code."""
        worker.wanted = False
        worker.signal(signal.SIGTERM)
        return worker.wait()

    def stop(self) -> list[tuple[str, int]]:
        """SIGTERM to all that run; returns how they ended. One that was just started again is let begin first."""
        deadline_s = time.monotonic() + _READY_S
        while time.monotonic() < deadline_s and not all(worker.listens for worker in self._workers):
            self._closing.wait(_CHECK_S)
        running = [w for w in self._workers if w.process.poll() is None]
        for worker in running:
            worker.wanted = False
            worker.signal(signal.SIGTERM)
        return [(worker.role, worker.wait()) for worker in running]

    def _supervise(self) -> None:
        while not self._closing.wait(_CHECK_S):
            for worker in list(self._workers):
                if worker.ended is None and (code := worker.process.poll()) is not None:
                    worker.ended = code
                    if worker.wanted:
                        self._ended(worker, code)

    def _ended(self, worker: Worker, code: int) -> None:
        self.ends.append((worker.role, code))
        if (code < 0 or code in RESTARTED) and not self._closing.wait(_PAUSE_S):
            self.start(worker.role)
