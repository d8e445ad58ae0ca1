"""What an operator sees of real roles: metrics, health, logs, and that none of these can stop the work."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from local.stack import Stack
from streams.watch.stages import SCORE_STAGES
from tests.alerts import alerts, uses
from tests.streams.pipeline import Pipeline, RoleProcess
from tests.streams.records import Sent, cards_of, ends, now_ms, read_all, send, value_of, wait_acknowledged
from tests.support import wait_until

PAN = "4111111111111111"
FULL = Path("/dev/full")


def samples(role: RoleProcess) -> dict[str, float]:
    """Everything that `/metrics` says, as `name{label=value}` -> value."""
    status, text = role.get("/metrics")
    assert status == 200
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def health(role: RoleProcess) -> dict[str, Any]:
    return json.loads(role.get("/health")[1] or "{}")


def events(role: RoleProcess) -> list[str]:
    return [json.loads(line)["event"] for line in role.log().splitlines() if line.startswith("{")]


def traffic(pipeline: Pipeline, count: int, stem: str = "c") -> None:
    cards = [next(cards_of(partition, 4, stem)) for partition in range(4)]
    send(
        pipeline,
        [
            Sent(value_of(transaction_id=f"{stem}{i}", card_id=cards[i % 4]), i % 4, cards[i % 4].encode())
            for i in range(count)
        ],
    )


@pytest.fixture
def roles(make_pipeline) -> tuple[Pipeline, RoleProcess, RoleProcess]:
    pipeline = make_pipeline(FRAUD_LOG_LEVEL="debug")
    return pipeline, pipeline.start().wait_ready(), pipeline.start("index").wait_ready()


def test_a_mixed_batch_is_seen_in_metrics_and_log(roles) -> None:
    pipeline, score, index = roles
    cards = [next(cards_of(partition, 4, "m")) for partition in range(4)]
    now = now_ms()
    records = [Sent(value_of(transaction_id=f"a{p}", card_id=c, event_time=now), p) for p, c in enumerate(cards)]
    records += [
        Sent(value_of(transaction_id="a0", card_id=cards[0], event_time=now), 0),  # a copy
        Sent(value_of(transaction_id="a1", card_id=cards[1], event_time=now, amount="99"), 1),  # a conflict
        Sent(value_of(transaction_id="late", card_id=cards[2], event_time=now - 3_600_000), 2),
        Sent(value_of(transaction_id="ahead", card_id=cards[3], event_time=now + 86_400_000), 3),
        Sent(value_of(transaction_id="r", card_id=cards[0], type="reversal", original_transaction_id="a0"), 0),
        Sent(value_of(transaction_id="stray", card_id=cards[0], event_time=now), 1),
        Sent(b"{", 2),
        Sent(value_of(transaction_id="p", card_id=PAN), 3),
    ]
    send(pipeline, records)
    wait_acknowledged(pipeline)
    outcomes = len(read_all(pipeline, "processed_transactions"))
    wait_acknowledged(pipeline, "index", "processed_transactions")

    seen = samples(score)
    assert outcomes == 11
    assert sum(seen[f"fraud_outcomes_total{{outcome={o}}}"] for o in ("approve", "review", "block")) == outcomes
    counted = ("duplicates", "conflicts", "late", "clock_skew", "beyond_grace", "store_repairs", "hot_cards")
    assert {name: seen[f"fraud_{name}_total"] for name in counted} == {
        "duplicates": 2, "conflicts": 1, "late": 1, "clock_skew": 1, "beyond_grace": 0, "store_repairs": 0,
        "hot_cards": 0,
    }  # fmt: skip
    assert 1 <= seen["fraud_rerouted_total"] <= 2  # the stray, and the card number where its home is another partition
    assert seen["fraud_dead_letters_total{reason=not_json}"] == 1
    assert seen["fraud_reversals_total{kind=applied}"] == 1
    batches = seen["fraud_batches_total"]
    counts = {stage: seen[f"fraud_stage_seconds_count{{stage={stage}}}"] for stage in SCORE_STAGES}
    assert counts == dict.fromkeys(SCORE_STAGES, batches)
    assert seen["fraud_latency_seconds_count"] == outcomes
    assert (
        seen["fraud_end_to_end_seconds_count"]
        == seen["fraud_records_total"]
        == sum(ends(pipeline, "transactions").values())
    )

    stored = samples(index)
    assert stored["fraud_documents_total"] == outcomes
    assert stored["fraud_stage_seconds_count{stage=write}"] == stored["fraud_batches_total"]

    lines = [json.loads(line) for line in score.log().splitlines() if '"event": "batch"' in line]
    assert len(lines) == batches
    assert sum(line["records"] for line in lines) == seen["fraud_records_total"]
    assert sum(line["outcomes"] for line in lines) == outcomes
    assert sum(sum(line["dead"].values()) for line in lines) == 1
    assert set(lines[0]["ms"]) == set(SCORE_STAGES)
    assert lines[0]["offsets"]
    assert PAN not in score.log() + index.log() + score.get("/metrics")[1]
    assert not re.search(r"\ba0\b|\bm-\d", score.get("/metrics")[1])

    # What the alerts ask for is served by real roles; offsets are told every few seconds.
    wait_until(lambda: any(name.startswith("fraud_consumer_lag") for name in samples(index)), 30)
    names = {name.partition("{")[0] for role in (score, index) for name in samples(role)} | {"up"}
    asked = {use.metric for alert in alerts() for use in uses(alert.expr)}
    assert {name for name in asked if not name.startswith("fraud_alert")} <= names  # test_alert_kafka.py has those


def test_lag_is_told_while_records_wait_and_gone_when_they_are_done(pipeline: Pipeline, servers: Stack) -> None:
    role = pipeline.start().wait_ready()
    traffic(pipeline, 100, "first")
    wait_acknowledged(pipeline)

    def lag() -> float:
        return sum(value for name, value in samples(role).items() if name.startswith("fraud_consumer_lag{"))

    def committed() -> float:
        return sum(value for name, value in samples(role).items() if name.startswith("fraud_committed_offset{"))

    wait_until(lambda: (committed(), lag()) == (100, 0), 30)
    servers.suspend("redis")
    try:
        traffic(pipeline, 400, "second")
        wait_until(lambda: lag() == 400, 30)
        assert committed() == 100
        # One server away: named, with since when; live, and after the hiccup not ready.
        wait_until(lambda: health(role)["state"] == "waiting", 30)
        (waited,) = health(role)["waits_for"]
        assert (waited["server"], waited["variable"]) == ("redis", "FRAUD_REDIS_URL")
        wait_until(lambda: role.get("/health/ready")[0] == 503, 30)
        assert role.get("/health/live")[0] == 200
        seen = samples(role)
        assert seen["fraud_server_away{server=redis}"] == 1
        assert seen["fraud_server_away{server=kafka}"] == 0
        assert seen["fraud_ready"] == 0
        assert seen["fraud_health_state{state=waiting}"] == 1
    finally:
        servers.resume("redis")
    wait_acknowledged(pipeline)
    wait_until(lambda: (committed(), lag()) == (500, 0), 30)
    wait_until(lambda: role.get("/health")[0] == 200)
    seen = samples(role)
    assert seen["fraud_server_away{server=redis}"] == 0
    assert seen["fraud_server_away_seconds_total{server=redis}"] > 5
    said = [event for event in events(role) if event.startswith("redis_")]
    assert said == ["redis_away", "redis_back"]


def test_a_lost_store_is_counted_with_the_records_that_mended_it(pipeline: Pipeline, redis_client) -> None:
    role = pipeline.start().wait_ready()
    traffic(pipeline, 200, "before")
    wait_acknowledged(pipeline)
    for key in redis_client.scan_iter(f"{pipeline.prefix}*"):
        redis_client.delete(key)
    traffic(pipeline, 8, "after")
    wait_acknowledged(pipeline)

    seen = samples(role)
    assert seen["fraud_store_repairs_total"] >= 1
    assert seen["fraud_rebuild_records_total"] >= 200
    assert health(role)["rebuilding"] == {}


def test_a_broker_that_goes_away_is_said_once(make_pipeline, servers: Stack) -> None:
    pipeline = make_pipeline()
    role = pipeline.start().wait_ready()
    servers.kill("kafka")
    try:
        wait_until(lambda: "kafka_away" in events(role), 60)
        wait_until(lambda: role.get("/health")[0] == 503, 60)
        assert role.get("/health/live")[0] == 200
        assert health(role)["waits_for"][0]["variable"] == "FRAUD_KAFKA_BOOTSTRAP"
    finally:
        servers.restart("kafka")
    wait_until(lambda: "kafka_back" in events(role), 60)
    wait_until(lambda: role.get("/health")[0] == 200, 60)
    assert [event for event in events(role) if event in {"kafka_away", "kafka_back"}] == ["kafka_away", "kafka_back"]
    # Nobody is told of every attempt.
    assert events(role).count("kafka_problem") < 20


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
def test_a_full_disk_behind_stderr_costs_lines_and_no_record_and_no_exit_code(make_pipeline, redis_client) -> None:
    pipeline = make_pipeline(FRAUD_LOG_LEVEL="debug")
    pipeline.roles = [RoleProcess(role, pipeline.variables, FULL) for role in ("score", "index")]
    score, index = (role.wait_ready() for role in pipeline.roles)
    traffic(pipeline, 2_000)
    send(pipeline, [Sent(b"{", 0)] * 5)
    wait_until(lambda: samples(score)["fraud_records_total"] == 2_005, 60)
    wait_until(lambda: samples(index)["fraud_documents_total"] == 2_000, 60)

    assert len(read_all(pipeline, "processed_transactions")) == 2_000
    for role in (score, index):
        assert samples(role)["fraud_log_lines_lost_total"] > 0
    assert index.stop() == 0
    redis_client.set(f"{pipeline.prefix}epoch:{{0}}", 10**15)  # another worker has claimed the partition
    traffic(pipeline, 4, "more")
    wait_until(lambda: score.process.poll() is not None, 60)
    assert score.process.poll() == 75


def test_a_reader_that_sleeps_behind_stderr_stops_no_role(pipeline: Pipeline) -> None:
    role = pipeline.start("index")
    role.stop(signal.SIGKILL)
    # The same once more, with a pipe of which nobody reads.
    role.process = subprocess.Popen(
        [sys.executable, "-m", "fraudstream", "index"],
        env={**os.environ, **pipeline.variables, "FRAUD_HTTP_PORT": str(role.port)},
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=pipeline.folder,
    )  # fmt: skip
    try:
        wait_until(lambda: role.get("/health")[0] == 200, 60)
        # Each is a line of some 300 bytes; a pipe holds 64 KiB.
        send(pipeline, [Sent(b"garbage", i % 4) for i in range(1_000)], "processed_transactions")
        wait_acknowledged(pipeline, "index", "processed_transactions")
        assert samples(role)["fraud_documents_rejected_total{reason=not_json}"] == 1_000
        role.process.send_signal(signal.SIGTERM)
        assert role.process.wait(30) == 0
    finally:
        role.process.kill()
        role.process.communicate()
