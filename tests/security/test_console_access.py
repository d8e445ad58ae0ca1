"""The console over TLS, logged in everywhere, with exactly the rights that `docs/security.md` names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import httpx
from opensearchpy import OpenSearch

from console.users import User, new_token, write_users
from tests.console import seed
from tests.console.conftest import ConsoleProcess, address
from tests.security.conftest import PASSWORDS, kafka_rights
from tests.security.servers import SecureKafka, TlsDoor
from tests.security.test_access import act_as, assert_no_secret, run, secure
from tests.streams.pipeline import Pipeline
from tests.streams.records import now_ms
from tests.support import wait_until

__all__ = ["secure"]


def test_the_console_works_with_the_documented_rights_and_leaks_no_secret(
    secure: Pipeline, secure_kafka: SecureKafka, redis_door: TlsDoor, redis_user: Mapping[str, str],
    opensearch_client: OpenSearch, unique: str, tmp_path: Path,
) -> None:  # fmt: skip
    run(secure, "setup")
    seed.store(opensearch_client, unique, [seed.outcome("card", "tx", now_ms(), score=700)], now_ms())
    token, digest = new_token()
    write_users(tmp_path / "users.yaml", {"ana": User("analyst", tokens=(digest,))})
    secure_kafka.allow("console", kafka_rights("console", unique, f"{unique}g"))
    act_as(secure, "console", redis_door, redis_user["console"])
    port = redis_door.port
    secure.variables.update(
        FRAUD_CONSOLE_USERS=str(tmp_path / "users.yaml"),
        FRAUD_CONSOLE_PORT="0",
        FRAUD_REDIS_URL=f"rediss://{redis_user['console']}:{PASSWORDS['console']}@127.0.0.1:{port}/0",
    )
    console = ConsoleProcess(secure.variables, tmp_path / "console.log").wait_ready()
    try:
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=address(console), headers=headers, timeout=20) as client:
            case = {"card_id": "card", "transaction_id": "tx"}
            assert client.get("/api/cases").json()["total"] == 1
            assert client.post("/api/case/claim", json=case).json()["done"]
            assert client.post("/api/case/release", json=case).json()["done"]
            said = client.post("/api/case/answer", json={**case, "label": "fraud"}).json()
            assert (said["done"], said["saved"]) == (True, True), console.log()
            assert client.get("/api/case", params=case).json()["said"]["label"] == "fraud"
            assert client.get("/api/cases", params={"mine": "true"}).status_code == 200
            wait_until(lambda: len(client.get("/api/audit").json()) == 3, 30)
            page = client.get("/case", params={"card": "card", "transaction": "tx"})
            assert page.status_code == 200
        assert console.stop() == 0
    finally:
        console.process.kill()
    assert_no_secret(secure, [console.log(), page.text])


def test_a_refused_login_ends_the_console(secure: Pipeline, tmp_path: Path) -> None:
    write_users(tmp_path / "users.yaml", {"ana": User("analyst")})
    wrong = {
        "FRAUD_CONSOLE_USERS": str(tmp_path / "users.yaml"),
        "FRAUD_CONSOLE_PORT": "0",
        "FRAUD_REDIS_URL": secure.variables["FRAUD_REDIS_URL"].replace(":pw-", ":wrong-"),
    }
    console = ConsoleProcess({**secure.variables, **wrong}, tmp_path / "console.log")

    assert console.process.wait(60) == 78
    assert "FRAUD_REDIS_URL" in console.log().splitlines()[-1]
