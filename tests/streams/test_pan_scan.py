"""`fraudstream pan-scan` on real servers: clean after real traffic, and planted numbers are found wherever they lie."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from opensearchpy import OpenSearch
from redis import Redis

from features.pan import luhn_valid
from tests.streams.pipeline import Pipeline
from tests.streams.records import Sent, send, value_of, wait_acknowledged

CARDS = [digits for n in range(4_000_000_000_000_000, 4_000_000_000_000_400) if luhn_valid(digits := str(n))]
PLANT = "5555555555554444"
TRAFFIC = 400


class Scanned(NamedTuple):
    """One run of the command."""

    ended: subprocess.CompletedProcess[str]
    report: dict[str, Any]

    def places(self) -> set[tuple[str, str, str]]:
        return {(one["server"], one["where"], one["part"]) for one in self.report["findings"]}


def scan(pipeline: Pipeline, *options: str) -> Scanned:
    ended = pipeline.run("pan-scan", "--json", *options, check=False)
    assert ended.returncode in {0, 1}, ended.stderr
    return Scanned(ended, json.loads(ended.stdout))


@pytest.fixture
def after_traffic(pipeline: Pipeline) -> Pipeline:
    """Four hundred records with card numbers in many places and spellings, scored and indexed."""
    records = []
    for i in range(TRAFFIC):
        card = CARDS[i % len(CARDS)]
        spelled = (card, f"{card[:4]} {card[4:8]} {card[8:12]} {card[12:]}", "-".join(card))[i % 3]
        value = value_of(
            transaction_id=f"{i}/{spelled}", card_id=spelled, merchant_id=f"M-{PLANT}", email=f"{card}@example.com",
            amount=f"{i + 1}.37", device_id=card if i % 2 else "d", ip_address="10.0.0.1",
        )  # fmt: skip
        records.append(Sent(value if i % 20 else value[:-1], i % 4, card.encode()))
        if i % 50 == 0:
            records.append(Sent(b"\xff" + value, i % 4, b"\xff" + card.encode()))
    send(pipeline, records)
    pipeline.start("score")
    pipeline.start("index")
    wait_acknowledged(pipeline)
    wait_acknowledged(pipeline, "index", "processed_transactions")
    return pipeline


def test_real_traffic_leaves_nothing_and_what_is_planted_is_found(
    after_traffic: Pipeline, redis_client: Redis, opensearch_client: OpenSearch, tmp_path: Path
) -> None:
    pipeline = after_traffic
    opensearch_client.indices.refresh(index=f"{pipeline.prefix}*")
    known = tmp_path / "known"
    known.write_text("\n".join([*CARDS, PLANT]))
    logs = tmp_path / "logs"
    logs.mkdir()
    for role in pipeline.roles:
        (logs / role.log_path.name).write_bytes(role.log_path.read_bytes())

    clean = scan(pipeline, "--logs", str(logs), "--include-input", "--known", str(known))

    assert clean.ended.returncode == 0, clean.report
    assert clean.report["found"] == 0
    looked = clean.report["looked_at"]
    assert looked["kafka records"] >= 2 * TRAFFIC + 8
    # Outcomes; and dead letters and samples of the lag, how many of which depends on when the index role reads them.
    assert TRAFFIC - TRAFFIC // 20 <= looked["opensearch documents"] <= TRAFFIC + 100
    assert looked["redis keys"] > len(set(CARDS))
    assert looked["files"] > 2
    assert clean.report["input_records"] >= TRAFFIC

    planted = plant(pipeline, redis_client, opensearch_client, logs)
    found = scan(pipeline, "--logs", str(logs))

    assert found.ended.returncode == 1
    assert found.places() == planted
    assert {one["last4"] for one in found.report["findings"]} == {"4444"}
    assert PLANT not in "".join(c for c in found.ended.stdout + found.ended.stderr if c.isdigit())

    plain = pipeline.run("pan-scan", check=False)
    assert plain.returncode == 1
    assert f"a card number that ends in {PLANT[-4:]}" in plain.stdout


def plant(pipeline: Pipeline, redis: Redis, opensearch: OpenSearch, logs: Path) -> set[tuple[str, str, str]]:
    """Put the number into every kind of place; what the scanner must say of each."""
    prefix = pipeline.prefix
    masked = "*" * 12 + PLANT[-4:]
    redis.set(f"{prefix}packed", b"\x00\x01\x02" + PLANT.encode() + b"\xff")
    redis.set(f"{prefix}long", b"x" * (1024 * 1024 - 9) + PLANT.encode())
    redis.set(f"{prefix}hist:{{0}}:{PLANT}", b"")
    redis.hset(f"{prefix}hash", PLANT, "x")
    redis.rpush(f"{prefix}list", "a", f"{PLANT[:4]}-{PLANT[4:8]}-{PLANT[8:12]}-{PLANT[12:]}")
    redis.sadd(f"{prefix}set", PLANT)
    redis.zadd(f"{prefix}zset", {PLANT: 1.5})
    redis.xadd(f"{prefix}stream", {"card": PLANT})
    redis.set(f"elsewhere-{prefix}", PLANT)
    found = {
        ("redis", f"{prefix}{name}", "value") for name in ("packed", "long", "hash", "list", "set", "zset", "stream")
    }
    found.add(("redis", f"{prefix}hist:{{0}}:{masked}", "key"))

    letter = {"reason": "x", "payload": base64.b64encode(b"\xff" + PLANT.encode()).decode(), "encoding": "base64"}
    records = [
        ("processed_transactions", Sent(b"{}", 0, PLANT.encode()), "key"),
        ("processed_transactions", Sent(json.dumps({"email": f"{PLANT[:6]} {PLANT[6:]}"}).encode(), 1), "value email"),
        (
            "processed_transactions",
            Sent(b"{}", 2, None, (("transaction_id", PLANT.encode()),)),
            "header transaction_id",
        ),
        ("transactions.dlq", Sent(json.dumps(letter).encode(), 3), "value payload"),
        ("fraud_labels", Sent(('{"id":"' + "".join(f"\\u003{c}" for c in PLANT) + '"}').encode(), 0), "value id"),
    ]
    for role in pipeline.roles:
        assert role.stop() == 0
    for topic, record, part in records:
        ((partition, offset),) = send(pipeline, [record], topic)
        found.add(("kafka", f"{prefix}{topic}-{partition}-{offset}", part))

    index = f"{prefix}processed_transactions-2024.01.01"
    opensearch.index(index=index, id="planted", body={"deep": [{"email": f"x{PLANT}y"}]}, params={"refresh": "true"})
    opensearch.index(index=index, id=PLANT, body={"amount_minor": int(PLANT)}, params={"refresh": "true"})
    found.add(("opensearch", f"{index}/planted", "document email"))
    found.add(("opensearch", f"{index}/{masked}", "id"))

    log = logs / "role.log"
    log.write_text(f'{{"event": "x", "ratio": 0.{PLANT}}}\nfine\n{{"event": "card {PLANT}"}}\n')
    found.add(("files", f"{log}:3", "line event"))
    return found


@pytest.mark.parametrize("variable", ["FRAUD_REDIS_URL", "FRAUD_KAFKA_BOOTSTRAP", "FRAUD_OPENSEARCH_URL"])
def test_what_cannot_be_looked_at_is_not_called_clean(pipeline: Pipeline, variable: str) -> None:
    away = {
        "FRAUD_REDIS_URL": "redis://127.0.0.1:1/0",
        "FRAUD_KAFKA_BOOTSTRAP": "127.0.0.1:1",
        "FRAUD_OPENSEARCH_URL": "http://127.0.0.1:1",
    }
    pipeline.variables[variable] = away[variable]

    ended = pipeline.run("pan-scan", check=False)

    assert ended.returncode == 69
    assert variable in ended.stderr
    assert "Traceback" not in ended.stderr
