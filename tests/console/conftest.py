"""One console for the run, as an operator starts it, on outcomes of its own; one browser for all tests."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from opensearchpy import OpenSearch

from console.users import User, new_token, read_users, write_users
from local.ports import free_port
from local.stack import Stack
from scoring.label import Label, decode_label
from tests.console import seed
from tests.opensearch_proxy import Proxy
from tests.streams.pipeline import RoleProcess
from tests.support import wait_until
from tests.topics import read_messages

PASSWORD = "correct-horse-battery"
USERS = {"ana": "analyst", "ben": "analyst", "olga": "admin", "vic": "viewer"}
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


class ConsoleProcess(RoleProcess):
    """`fraudstream console` in an interpreter of its own: it imports what the roles do without."""

    def __init__(self, variables: Mapping[str, str], log_path: Path) -> None:
        self.port, self.log_path = free_port(), log_path
        clean = {name: value for name, value in os.environ.items() if not name.startswith("FRAUD_")}
        with log_path.open("ab") as log:
            self.process: Any = subprocess.Popen(
                [sys.executable, "-m", "fraudstream", "console"], stdout=log, stderr=log, cwd=log_path.parent,
                env={**clean, **variables, "FRAUD_HTTP_PORT": str(self.port)},
            )  # fmt: skip


class Site:
    """A running console and everything behind it."""

    def __init__(self, stack: Stack, folder: Path, proxy: Proxy) -> None:
        self.stack, self.folder, self.proxy = stack, folder, proxy
        self.prefix = f"t{uuid.uuid4().hex[:8]}-"
        servers = stack.env()
        self.direct = OpenSearch(servers["FRAUD_OPENSEARCH_URL"], timeout=60)
        self.bootstrap = servers["FRAUD_KAFKA_BOOTSTRAP"]
        self.variables = {
            **servers,
            "FRAUD_OPENSEARCH_URL": proxy.url,
            "FRAUD_TOPIC_PREFIX": self.prefix,
            "FRAUD_GROUP_PREFIX": f"{self.prefix}g",
            "FRAUD_KEY_PREFIX": self.prefix,
            "FRAUD_INDEX_PREFIX": self.prefix,
            "FRAUD_PARTITIONS": "2",
            "FRAUD_CONSOLE_USERS": str(folder / "users.yaml"),
            "FRAUD_CONSOLE_PORT": "0",
        }
        self.now_ms = time.time_ns() // 1_000_000
        self.tokens: dict[str, str] = {}
        self.roles: list[RoleProcess] = []

    def command(self, *words: str, stdin: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("FRAUD_")}
        return subprocess.run(
            [sys.executable, "-m", "fraudstream", *words], input=stdin, env={**clean, **self.variables},
            cwd=self.folder, capture_output=True, text=True, check=check, timeout=60,
        )  # fmt: skip

    def start(self, role: str = "console", **variables: str) -> RoleProcess:
        log, given = self.folder / f"{role}-{len(self.roles)}.log", {**self.variables, **variables}
        self.roles.append(ConsoleProcess(given, log) if role == "console" else RoleProcess(role, given, log))
        return self.roles[-1]

    def open(self) -> None:
        self.console = self.start().wait_ready()
        self.url = address(self.console)

    def api(self, user: str) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {self.tokens[user]}"}, timeout=20)

    def case(self, name: str, *, score: int = 700, **more: Any) -> dict[str, str]:
        """A fresh case of a test's own; returns what names it."""
        card = more.pop("card", f"card-{name}")
        one = seed.outcome(card, name, self.now_ms - 3_600_000, score=score, **more)
        seed.store(self.direct, self.prefix, [one], self.now_ms)
        return {"card_id": card, "transaction_id": name}

    def labels(self, transaction_id: str, count: int = 1) -> list[Label]:
        """The labels of a transaction in the topic, once there are so many."""
        return wait_until(lambda: enough(self._labels(transaction_id), count), 20)

    def _labels(self, transaction_id: str) -> list[Label]:
        found = [decode_label(value) for value in self.records("fraud_labels")]
        return sorted((x for x in found if x.transaction_id == transaction_id), key=lambda x: x.labelled_at)

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(value) for value in self.records("review_audit")]

    def records(self, topic: str) -> list[bytes]:
        """Every value of a topic."""
        found = read_messages({"bootstrap.servers": self.bootstrap}, f"{self.prefix}{topic}")
        return [message.value() or b"" for message in found]

    def close(self) -> None:
        for role in self.roles:
            if role.process.poll() is None:
                role.process.kill()
                role.process.wait(10)
        self.direct.indices.delete(index=f"{self.prefix}*")
        self.direct.close()


def enough(found: list[Any], count: int) -> list[Any]:
    return found if len(found) >= count else []


def address(console: RoleProcess) -> str:
    """Where a console listens, as its log says."""
    return str(re.findall(r'"url": "(http[^"]+)"', console.log())[0])


def address_of(case: dict[str, str]) -> str:
    return f"/case?{urlencode({'card': case['card_id'], 'transaction': case['transaction_id']})}"


@pytest.fixture(scope="session")
def site(servers: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The console of this run, with users, the index role beside it, and a busy week."""
    with Proxy(servers.env()["FRAUD_OPENSEARCH_URL"]) as proxy:
        made = Site(servers, tmp_path_factory.mktemp("console"), proxy)
        made.command("setup")
        made.command("console-user", "add", "ana", "--role", "analyst", stdin=f"{PASSWORD}\n")
        made.tokens["ana"] = made.command("console-user", "token", "ana").stdout.strip()
        path = Path(made.variables["FRAUD_CONSOLE_USERS"])
        users = read_users(path)
        for name, role in USERS.items():
            if name not in users:
                made.tokens[name], digest = new_token()
                users[name] = User(role, users["ana"].password, (digest,))
        write_users(path, users)
        seed.store(made.direct, made.prefix, seed.busy_week(made.now_ms, cards=40), made.now_ms)
        made.start("index")
        made.open()
        made.roles[0].wait_ready()
        yield made
        made.close()


@pytest.fixture
def api(site: Site) -> Iterator[Callable[[str], httpx.Client]]:
    """Clients of the JSON API by user."""
    clients: dict[str, httpx.Client] = {}

    def client(user: str) -> httpx.Client:
        return clients.setdefault(user, site.api(user))

    yield client
    for one in clients.values():
        one.close()


@pytest.fixture
def opensearch_away(site: Site) -> Iterator[Callable[[], None]]:
    """Take OpenSearch away from the console; it is back after the test."""
    yield site.proxy.stop
    site.proxy.stop()
    site.proxy.start()
    wait_until(lambda: not json.loads(site.console.get("/health")[1])["waits_for"], 20)


def browser_path() -> str | None:
    """The browser to drive, where there is one."""
    named = os.environ.get("FRAUD_TEST_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    return named if named and Path(named).exists() else None


def chromium() -> str:
    """The browser to drive; skips with the reason where there is none."""
    path = browser_path()
    if path is None:
        pytest.skip("no Chromium: install the distribution's, or name one in FRAUD_TEST_CHROMIUM")
    return path
