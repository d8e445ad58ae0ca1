"""The servers of one folder, started and stopped together."""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import psutil

from local import process as processes
from local.errors import LocalStackError
from local.kafka import Kafka
from local.keeper import Keeper
from local.opensearch import OpenSearch
from local.redis import Redis
from local.server import Server
from local.state import ServerState, State, load_state, save_state

Progress = Callable[[str], None]

_KINDS: dict[str, type[Server]] = {kind.name: kind for kind in (Kafka, Redis, OpenSearch)}
SERVICES = tuple(_KINDS)


def silent(_: str) -> None:
    """Show no progress."""


class Stack:
    """The local servers, each in its own folder and process.

    Attributes:
        servers: by service name.
    """

    def __init__(
        self,
        directory: Path,
        kafka_port: int = 0,
        redis_port: int = 0,
        opensearch_port: int = 0,
        services: tuple[str, ...] = SERVICES,
        cache: Path | None = None,
    ) -> None:
        """Describe a stack; nothing is started yet.

        Args:
            directory: folder of data, logs and configuration; made if missing, and kept.
            kafka_port: where Kafka shall listen; 0: a free port.
            redis_port: the same for Redis.
            opensearch_port: the same for OpenSearch, between 9201 and 9299.
            services: which of them to start.
            cache: folder of downloads; by default `.stack/cache` of the checkout.

        Raises:
            LocalStackError: a service is unknown.
        """
        if unknown := set(services) - set(SERVICES):
            raise LocalStackError(f"no such service: {', '.join(sorted(unknown))}; there are {', '.join(SERVICES)}")
        self.directory = directory.resolve()
        self._cancelled = threading.Event()
        self._keeper: Keeper | None = None
        self._lock: IO[str] | None = None
        ports = {"kafka": kafka_port, "redis": redis_port, "opensearch": opensearch_port}
        cache = (cache or _default_cache(self.directory)).resolve()
        self.servers = {
            name: kind(self.directory, cache, ports[name], self._cancelled)
            for name, kind in _KINDS.items()
            if name in services
        }

    def start(self, progress: Progress = silent) -> None:
        """Start the servers at the same time and wait until all of them answer.

        Args:
            progress: takes lines for people; called from several threads.

        Raises:
            LocalStackError: a server cannot be had, or the folder is in use; none is left running.
        """
        self.take_folder()
        try:
            self._refuse_running()
            self.start_missing(progress)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop all servers; their data and logs stay. Stopping twice does no harm."""
        alive = [server.process for server in self.servers.values() if server.process is not None]
        processes.stop(alive)
        for server in self.servers.values():
            server.process = None
        self.let_go()

    def env(self) -> dict[str, str]:
        """Return the environment variables that point the roles and commands at these servers."""
        return {server.variable: server.address for server in self.servers.values()}

    def alive(self, name: str) -> bool:
        """Say whether the server's process exists."""
        return self._server(name).alive

    def kill(self, name: str) -> None:
        """End a server at once (SIGKILL), as a crash would."""
        self._server(name).kill()

    def suspend(self, name: str) -> None:
        """Stop a server's clock (SIGSTOP): it keeps its connections and answers nothing."""
        self._process(name).suspend()

    def resume(self, name: str) -> None:
        """Let a suspended server go on (SIGCONT)."""
        self._process(name).resume()

    def restart(self, name: str, progress: Progress = silent) -> None:
        """Start a server again on its port and data, after stopping it if it runs.

        Raises:
            LocalStackError: it did not come back, or the stack was never started.
        """
        server = self._server(name)
        if self._keeper is None:
            raise LocalStackError("the stack is not running")
        server.stop()
        server.start(self._keeper, progress)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start_missing(self, progress: Progress) -> None:
        """Start, at the same time, the servers that do not run; needs the folder taken.

        Raises:
            LocalStackError: a server cannot be had; the others may run until `stop` or `let_go`.
        """
        keeper = self._keeper = Keeper()
        missing = [server for server in self.servers.values() if not server.alive]
        self._cancelled.clear()
        with ThreadPoolExecutor(max(1, len(missing)), thread_name_prefix="start") as pool:
            futures = [pool.submit(server.start, keeper, progress) for server in missing]
            try:
                wait(futures, return_when=FIRST_EXCEPTION)
                failed = [future for future in futures if future.done() and future.exception()]
                for future in failed or futures:
                    future.result()
            except BaseException:
                self._cancelled.set()
                raise

    def detach(self) -> State:
        """Write down what runs, and let it live on without us."""
        state = State(
            env=self.env(),
            servers={
                name: ServerState(processes.identify(self._process(name)), server.port, str(server.log))
                for name, server in self.servers.items()
            },
        )
        save_state(self.directory, state)
        if self._keeper is not None:
            self._keeper.release()
            self._keeper = None
        self.let_go()
        return state

    def adopt(self, state: State) -> None:
        """Take over the servers of an earlier `up` that still run, and the ports of the others where none was asked.

        Raises:
            LocalStackError: a server runs at another port than the one asked for.
        """
        for name, server in self.servers.items():
            known = state.servers.get(name)
            if known is None:
                continue
            server.process = processes.find(known.identity)
            if server.process is not None and server.port not in {0, known.port}:
                raise LocalStackError(f"{name} runs already, at port {known.port}, not {server.port}; stop it first")
            server.port = server.port or known.port

    def take_folder(self) -> None:
        """Keep other runs out of the folder until `let_go`.

        Raises:
            LocalStackError: another run has it.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        lock = (self.directory / ".lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.close()
            raise LocalStackError(f"{self.directory} is in use by another run; stop it, or use another") from error
        self._lock = lock

    def let_go(self) -> None:
        """End what was started here and not detached, and give the folder free."""
        if self._keeper is not None:
            self._keeper.close()
            self._keeper = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _refuse_running(self) -> None:
        if running := running_servers(load_state(self.directory)):
            raise LocalStackError(f"{self.directory} has {', '.join(running)} running; stop them, or use another")

    def _server(self, name: str) -> Server:
        if name not in self.servers:
            raise LocalStackError(f"this stack has no {name}; it has {', '.join(self.servers)}")
        return self.servers[name]

    def _process(self, name: str) -> psutil.Process:
        process = self._server(name).process
        if process is None or not processes.is_alive(process):
            raise LocalStackError(f"{name} is not running")
        return process


def running_servers(state: State | None) -> dict[str, psutil.Process]:
    """Return the processes that still run of those that an `up` left, by service name."""
    if state is None:
        return {}
    found = {name: processes.find(server.identity) for name, server in state.servers.items()}
    return {name: process for name, process in found.items() if process is not None}


def _default_cache(directory: Path) -> Path:
    """Return `.stack/cache` of the checkout; a folder beside the data where this is not a checkout."""
    root = Path(__file__).resolve().parent.parent
    return root / ".stack" / "cache" if (root / "pyproject.toml").is_file() else directory / "cache"
