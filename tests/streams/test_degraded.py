"""Redis out of reach: waited for, or scored without history and repaired; never silent either way."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from local.stack import Stack
from tests.oracles.traffic import SPAN_MS, awkward, wire
from tests.streams.pipeline import Pipeline
from tests.streams.records import value_of
from tests.streams.test_score_exact import assert_answered, by_source, oracle
from tests.support import wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def redis_comes_back(servers: Stack) -> None:
    """Whatever a test does to Redis, the next one finds it running."""
    yield
    if not servers.alive("redis"):
        servers.restart("redis")
    servers.resume("redis")


def degraded_of(got: object) -> str | None:
    return got.value["fraud"].get("degraded")  # type: ignore[attr-defined]


@pytest.mark.usefixtures("redis_comes_back")
@pytest.mark.parametrize("how", ["kill", "suspend"])
def test_degrade_scores_on_and_is_exact_again_afterwards(
    servers: Stack, make_pipeline: Callable[..., Pipeline], how: str
) -> None:
    events = awkward(41, 1_800, 60, int(time.time() * 1000) - SPAN_MS - 60_000)
    pipeline = make_pipeline(FRAUD_ON_STORE_LOSS="degrade", FRAUD_DEADLINE_MS="500")
    role = pipeline.start("score").wait_ready()
    third = len(events) // 3
    pipeline.publish((e.card, wire(e)) for e in events[:third])
    pipeline.read("processed_transactions", third)
    getattr(servers, how)("redis")
    pipeline.publish((e.card, wire(e)) for e in events[third : 2 * third])
    pipeline.read("processed_transactions", 2 * third)
    metrics = role.get("/metrics")[1]
    assert 'fraud_degraded_total{reason="store_away"}' in metrics
    if how == "kill":
        servers.restart("redis")
    else:
        servers.resume("redis")
    wait_until(lambda: "redis_back" in role.log())
    pipeline.publish((e.card, wire(e)) for e in events[2 * third :])
    outcomes = by_source(pipeline.read("processed_transactions", len(events)))
    wanted = oracle(events, 4)
    assert outcomes.keys() == wanted.keys()
    flags: dict[str, list[str | None]] = {}
    for place, (event, answer) in wanted.items():
        (got,) = outcomes[place]
        flags.setdefault("all", []).append(degraded_of(got))
        if degraded_of(got) is None:
            assert_answered(got, event, answer)
        elif event.kind == "authorization" and degraded_of(got) == "store_away":
            assert got.value["fraud"]["features"]["num_trans_last_1w"] == 1
    assert flags["all"].count("store_away") >= third * 0.9
    assert flags["all"].count(None) >= len(events) - third - 700, "only what came during the outage is degraded"
    assert role.stop() == 0


@pytest.mark.usefixtures("redis_comes_back")
def test_degrade_starts_without_redis(servers: Stack, make_pipeline: Callable[..., Pipeline]) -> None:
    pipeline = make_pipeline(FRAUD_ON_STORE_LOSS="degrade")
    servers.kill("redis")
    role = pipeline.start("score")
    pipeline.publish([("c1", value_of(transaction_id="t1"))])
    (first,) = pipeline.read("processed_transactions", 1)
    assert degraded_of(first) == "store_away"
    servers.restart("redis")
    wait_until(lambda: "redis_back" in role.log())
    pipeline.publish([("c1", value_of(transaction_id="t2"))])
    second = pipeline.read("processed_transactions", 2)[-1]
    assert degraded_of(second) is None
    assert second.value["fraud"]["features"]["num_trans_last_10m"] == 2, "what was scored without history counts"
    assert role.stop() == 0


@pytest.mark.usefixtures("redis_comes_back")
def test_wait_holds_everything_back_and_says_that_it_was_late(
    servers: Stack, make_pipeline: Callable[..., Pipeline]
) -> None:
    pipeline = make_pipeline(FRAUD_DEADLINE_MS="800")
    role = pipeline.start("score").wait_ready()
    pipeline.publish([("c1", value_of(transaction_id="t1"))])
    pipeline.read("processed_transactions", 1)
    servers.suspend("redis")
    pipeline.publish([("c1", value_of(transaction_id="t2"))])
    wait_until(lambda: role.get("/metrics")[1] and "redis_away" in role.log(), 30)
    servers.resume("redis")
    first, second = sorted(pipeline.read("processed_transactions", 2), key=lambda o: o.offset)
    assert degraded_of(first) is None
    assert degraded_of(second) == "deadline"
    assert second.value["fraud"]["features"]["num_trans_last_10m"] == 2, "late, and exact"
    pipeline.publish([("c1", value_of(transaction_id="t3"))])
    assert degraded_of(pipeline.read("processed_transactions", 3)[-1]) is None
    assert role.stop() == 0
