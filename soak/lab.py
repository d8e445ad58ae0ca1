"""Servers and roles of a run, in a folder that is gone afterwards."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import psutil
from opensearchpy import OpenSearch
from redis import Redis

from features.offline import build_table
from local import process as processes
from local.demo_processes import Role, run_command
from local.generator import generate
from local.keeper import Keeper
from local.stack import Stack
from scoring.training import train
from sinks.topics import PROCESSED, TRANSACTIONS
from streams.watch.lag import INTERVAL_MS

ROOT: Final = Path(__file__).resolve().parent.parent
TOPICS: Final = {"score": TRANSACTIONS, "index": PROCESSED}
STATISTICS_S: Final = INTERVAL_MS / 1000
_COLUMNS: Final = 100


class Lab:
    """Kafka, Redis, OpenSearch, a model and both roles; as a context, all of it ends with the block, or with us.

    Attributes:
        env: the `FRAUD_*` variables.
        roles: the roles by name, ready.
    """

    def __init__(self, progress: Callable[[str], None]) -> None:
        (ROOT / ".stack").mkdir(exist_ok=True)
        self.folder = Path(tempfile.mkdtemp(prefix="soak-", dir=ROOT / ".stack"))
        self._stack = Stack(self.folder / "servers")
        self._progress = progress
        self._keeper: Keeper | None = None
        self.env: dict[str, str] = {}
        self.roles: dict[str, Role] = {}

    def __enter__(self) -> Self:
        try:
            self._stack.start(self._progress)
            self._progress("training the model")
            generate(60_000, 120, 7, self.folder / "history")
            build_table(self.folder / "history", self.folder / "table.parquet")
            train(self.folder / "table.parquet", self.folder / "model", seed=7)
            self.env = {**self._stack.env(), "FRAUD_MODEL": str(self.folder / "model")}
            self._progress("starting the roles")
            run_command(["setup"], self.env, self.folder, show=False, columns=_COLUMNS)
            self._keeper = Keeper()
            self.roles = {name: Role(name, self._keeper, self.env, self.folder) for name in TOPICS}
            for role in self.roles.values():
                role.wait_ready()
        except BaseException:
            self._end()
            raise
        self.redis = Redis.from_url(self.env["FRAUD_REDIS_URL"])
        self.opensearch = OpenSearch(self.env["FRAUD_OPENSEARCH_URL"], timeout=30)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.redis.close()
        self.opensearch.close()
        self._end()

    def _end(self) -> None:
        processes.stop([role.process for role in self.roles.values()])
        if self._keeper is not None:
            self._keeper.close()
        self._stack.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def kafka(self) -> dict[str, str]:
        """How librdkafka reaches the broker."""
        return {"bootstrap.servers": self.env["FRAUD_KAFKA_BOOTSTRAP"]}

    def server(self, name: str) -> psutil.Process:
        """The process of a server."""
        process = self._stack.servers[name].process
        assert process is not None
        return process

    def dead_roles(self) -> str:
        """What the roles that have ended said last; empty while all run."""
        return "\n".join(
            f"{name}:\n{processes.tail(role.log)}"
            for name, role in self.roles.items()
            if not processes.is_alive(role.process)
        )
