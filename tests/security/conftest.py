"""One secure Kafka, TLS doors in front of the run's Redis and OpenSearch, and the rights as they are documented."""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from redis import Redis

from local.keeper import Keeper
from local.servers import _default_cache
from local.stack import Stack
from tests.opensearch_proxy import Proxy
from tests.security.servers import Certificates, SecureKafka, TlsDoor

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "security.md"
USERS = ("setup", "producer", "score", "index", "alert", "scan", "console", "nobody")
PASSWORDS = {user: f"pw-{user}-9f3aQ" for user in USERS}
OPENSEARCH_LOGIN = ("analyst-user", "pw-opensearch-7bX")
CLIENT_KEY_PASSWORD = "pw-client-key-5tR"


def kafka_rights(user: str, topics: str, groups: str) -> dict[tuple[str, str], list[str]]:
    """Rights of a user as the table of the documentation has them, under prefixes of a test."""
    rows = re.findall(r"^\| (\w+) \| (topic|group) \| `([\w.-]+)` \| ([\w, ]+) \|$", DOCUMENT.read_text(), re.MULTILINE)

    def full(kind: str, name: str) -> str:
        return f"{topics}{name}" if kind == "topic" else re.sub(r"^fraud-", f"{groups}-", name)

    return {(kind, full(kind, name)): operations.split(", ") for who, kind, name, operations in rows if who == user}


def redis_acl(user: str, name: str, key_prefix: str) -> list[str]:
    """The rule of a user as the documentation has it, for `ACL SETUSER`."""
    (rule,) = re.findall(rf"^ACL SETUSER {user} (.+)$", DOCUMENT.read_text(), re.MULTILINE)
    return [name, *rule.replace("PREFIX", key_prefix).replace("PASSWORD", PASSWORDS[user]).split()]


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority that none of the servers knows, and that knows none of them."""
    return Certificates(tmp_path_factory.mktemp("strangers"))


@pytest.fixture(scope="session")
def secure_kafka(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[SecureKafka]:
    folder = tmp_path_factory.mktemp("secure")
    keeper = Keeper()
    kafka = SecureKafka(folder, _default_cache(folder), 0, threading.Event())
    kafka.certificates = certificates
    try:
        kafka.start(keeper, lambda _: None)
        for user, password in PASSWORDS.items():
            kafka.add_user(user, password)
        yield kafka
    finally:
        kafka.stop()
        keeper.close()


@pytest.fixture(scope="session")
def redis_door(servers: Stack, certificates: Certificates) -> Iterator[TlsDoor]:
    with TlsDoor(certificates.server, urlsplit(servers.env()["FRAUD_REDIS_URL"]).port or 0) as door:
        yield door


@pytest.fixture
def redis_user(redis_client: Redis, unique: str) -> Iterator[Mapping[str, str]]:
    """Users of the run's Redis with the documented rights: role -> name; they are gone after the test."""
    names = {user: f"{unique}{user}" for user in ("score", "scan", "console")}
    for user, name in names.items():
        redis_client.execute_command("ACL", "SETUSER", *redis_acl(user, name, unique))
    yield names
    redis_client.execute_command("ACL", "DELUSER", *names.values())


@pytest.fixture(scope="session")
def opensearch_door(servers: Stack, certificates: Certificates) -> Iterator[str]:
    """URL of an OpenSearch that speaks TLS and wants a login."""
    with Proxy(servers.env()["FRAUD_OPENSEARCH_URL"]) as proxy:
        proxy.authorization = f"Basic {base64.b64encode(':'.join(OPENSEARCH_LOGIN).encode()).decode()}"
        yield proxy.wrap_in_tls(certificates.server, certificates.server)
