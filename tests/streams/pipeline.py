"""Drive the roles from outside: publish bytes, read outcomes, kill and start processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from confluent_kafka import Message, Producer

from features.partition import home_partition
from tests.forked import Forked, run
from tests.support import wait_until
from tests.topics import read_messages


class Got(NamedTuple):
    """A record read from a topic."""

    partition: int
    offset: int
    key: bytes | None
    value: Any
    headers: dict[str, bytes]


class RoleProcess:
    """`fraudstream <role>` as a process of its own."""

    def __init__(self, role: str, variables: Mapping[str, str], log_path: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.log_path = log_path
        clean = {k: v for k, v in os.environ.items() if not k.startswith("FRAUD_")}
        with log_path.open("ab") as log:
            env = {**clean, **variables, "FRAUD_HTTP_PORT": str(self.port)}
            self.process = Forked([role], env, log_path.parent, log.fileno(), log.fileno())

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as exc:
            return exc.code, exc.read().decode()
        except OSError:
            return 0, ""

    def wait_ready(self, timeout_s: float = 60) -> RoleProcess:
        wait_until(lambda: self.process.poll() is not None or self.get("/health")[0] == 200, timeout_s)
        assert self.process.poll() is None, self.log()
        return self

    def log(self) -> str:
        return self.log_path.read_text()

    def stop(self, number: signal.Signals = signal.SIGTERM, timeout_s: float = 60) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout_s)


class Pipeline:
    """One test's topics, keys and roles."""

    def __init__(self, servers: Mapping[str, str], prefix: str, model: Path, folder: Path, **variables: str) -> None:
        self.variables = {
            **servers,
            "FRAUD_TOPIC_PREFIX": prefix,
            "FRAUD_GROUP_PREFIX": f"{prefix}g",
            "FRAUD_KEY_PREFIX": prefix,
            "FRAUD_INDEX_PREFIX": prefix,
            "FRAUD_MODEL": str(model),
            "FRAUD_DASHBOARDS_URL": "",
            "FRAUD_PAN_KEY": "0123456789abcdef0123456789abcdef",
            **variables,
        }
        self.prefix, self.folder = prefix, folder
        self.partitions = int(self.variables.get("FRAUD_PARTITIONS", "4"))
        self.bootstrap = {"bootstrap.servers": servers["FRAUD_KAFKA_BOOTSTRAP"]}
        self.producer = Producer({**self.bootstrap, "enable.idempotence": True})
        self.roles: list[RoleProcess] = []

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("FRAUD_")}
        done = run(arguments, {**clean, **self.variables}, self.folder, 120)
        assert not check or done.returncode == 0, f"{arguments} ended with {done.returncode}: {done.stderr}"
        return done

    def setup(self) -> None:
        self.run("setup")

    def start(self, role: str = "score") -> RoleProcess:
        made = RoleProcess(role, self.variables, self.folder / f"{role}-{len(self.roles)}.log")
        self.roles.append(made)
        return made

    def stop_all(self) -> None:
        for role in self.roles:
            if role.process.poll() is None:
                role.stop(signal.SIGKILL)

    def publish(self, records: Iterable[tuple[str, bytes | None]], *, partition: int | None = None) -> int:
        """Publish (card as sent, value) to each card's home, or all to one partition; confirmed on return."""
        count = 0
        for card, value in records:
            home = home_partition(card.encode(), self.partitions) if partition is None else partition
            self.producer.produce(f"{self.prefix}transactions", value, card.encode(), home)
            count += 1
            if count % 1000 == 0:
                self.producer.poll(0)
        assert self.producer.flush(30) == 0
        return count

    def read(self, topic: str, count: int, timeout_s: float = 90) -> list[Got]:
        """The first `count` records of a topic, in order per partition; fails when they do not come."""

        def enough(found: list[Message]) -> bool:
            return len(found) >= count or any(r.process.poll() not in {None, 0, -9} for r in self.roles)

        found = read_messages(self.bootstrap, f"{self.prefix}{topic}", enough, timeout_s)
        assert len(found) >= count, "\n".join(r.log()[-3000:] for r in self.roles)
        return list(map(_got, found))


def _got(message: Message) -> Got:
    value = None if message.value() is None else json.loads(message.value())
    headers = dict(message.headers() or [])
    return Got(message.partition(), message.offset(), message.key(), value, headers)
