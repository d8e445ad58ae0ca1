"""`fraudstream replay --rescore`: past outcomes come out again bit for bit, and what was tampered with is found."""

from __future__ import annotations

import json
import random
import re
import time
from datetime import UTC, datetime, timedelta

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from redis import Redis

from tests.oracles.traffic import SPAN_MS, awkward, wire
from tests.streams.pipeline import Pipeline
from tests.streams.records import Sent, ends, read_all, send, wait_acknowledged

EVENTS = awkward(83, 2_500, 80, int(time.time() * 1000) - SPAN_MS - 60_000)


def rescore(pipeline: Pipeline, *words: str) -> tuple[int, str]:
    whole = (rfc3339(-3600), rfc3339(3600))
    done = pipeline.run("replay", "--rescore", *(words or whole), check=False)
    assert done.returncode in {0, 1}, done.stderr
    return done.returncode, done.stdout


def rfc3339(from_now_s: int) -> str:
    return (datetime.now(UTC) + timedelta(seconds=from_now_s)).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture
def scored(pipeline: Pipeline) -> Pipeline:
    """Awkward traffic, with strays and dead letters in it, and all its outcomes."""
    rng = random.Random(3)
    role = pipeline.start("score").wait_ready()
    astray = [Sent(b"no json", 1), *(Sent(wire(e, rng), 0, e.card.encode()) for e in EVENTS[:500])]
    send(pipeline, astray)
    wait_acknowledged(pipeline)
    pipeline.publish((e.card, wire(e, rng)) for e in EVENTS[500:])
    wait_acknowledged(pipeline)
    assert role.stop() == 0
    return pipeline


def assert_all_the_same(said: str, count: int) -> None:
    """Copies beyond the grace depend on how batches were cut, and say so; of those there may be a few."""
    found = re.match(r"([\d,]+) outcomes compared, ([\d,]+) identical, 0 different, 0 missing, 0 repeated", said)
    assert found is not None, said
    compared, identical = (int(number.replace(",", "")) for number in found.groups())
    assert compared == count
    assert identical >= count - 5


def test_past_outcomes_come_out_again_and_nothing_is_touched(scored: Pipeline, redis_client: Redis) -> None:
    keys = {key: redis_client.get(key) for key in redis_client.scan_iter(f"{scored.prefix}*", count=1000)}
    published = {topic: ends(scored, topic) for topic in ("transactions", "processed_transactions", "transactions.dlq")}
    code, said = rescore(scored)
    assert code == 0, said
    assert_all_the_same(said, 2_500)
    # A range by offsets, with what comes before it for the histories alone.
    last = ends(scored, "transactions")[2]
    code, said = rescore(scored, str(last - 40), str(last), "--partition", "2")
    assert code == 0, said
    assert_all_the_same(said, 40)
    assert {key: redis_client.get(key) for key in redis_client.scan_iter(f"{scored.prefix}*", count=1000)} == keys
    assert {topic: ends(scored, topic) for topic in published} == published


def test_a_forged_outcome_is_found(scored: Pipeline) -> None:
    honest = next(raw for raw in read_all(scored, "processed_transactions") if "score" in raw.json()["fraud"])
    repeated, body = honest.json(), honest.json()
    repeated["fraud"] |= {"scored_at": "2031-01-01T00:00:00.000Z", "latency_ms": 7, "duplicate": True}
    body["fraud"]["score"] = (body["fraud"]["score"] + 1) % 1000
    send(scored, [Sent(json.dumps(repeated).encode(), honest.place[0], honest.key)], "processed_transactions")
    code, said = rescore(scored)
    assert code == 0, said
    assert "1 repeated (0 otherwise)" in said
    send(scored, [Sent(json.dumps(body).encode(), honest.place[0], honest.key)], "processed_transactions")
    code, said = rescore(scored)
    assert code == 1
    assert "2 repeated (1 otherwise)" in said
    source = body["fraud"]["source"]
    assert f"partition {source['partition']} offset {source['offset']}: (a repeated outcome)" in said
    assert body["card_id"] not in said


def test_missing_and_forged_first_outcomes_are_found(scored: Pipeline, kafka_admin: AdminClient) -> None:
    lost = [raw for raw in read_all(scored, "processed_transactions") if raw.place[0] == 3][:2]
    assert [raw.place[1] for raw in lost] == [0, 1]
    place = TopicPartition(f"{scored.prefix}processed_transactions", 3, 2)
    kafka_admin.delete_records([place])[place].result(30)
    code, said = rescore(scored)
    assert code == 1
    assert "2 missing" in said
    body = next(raw for raw in lost if "features" in raw.json()["fraud"]).json()
    body["fraud"]["features"]["num_trans_last_1w"] += 1
    body["amount_minor"] += 1
    send(scored, [Sent(json.dumps(body).encode(), 3, b"x")], "processed_transactions")
    code, said = rescore(scored)
    assert code == 1
    assert "1 different, 1 missing" in said
    assert "fraud.features.num_trans_last_1w: 1 different" in said
    assert "amount_minor: 1 different" in said


def test_wrong_ranges_are_refused(pipeline: Pipeline) -> None:
    for words in (("yesterday", "today"), ("5", "9"), ("2024-01-02T00:00:00Z", "2024-01-01T00:00:00Z")):
        done = pipeline.run("replay", "--rescore", *words, check=False)
        assert done.returncode == 78
        assert "--rescore" in done.stderr
