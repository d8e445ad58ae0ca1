"""Redis loses its state, wholly or in part: the worker gives it back from the topic, and every answer stays exact."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from confluent_kafka import Consumer, TopicPartition
from redis import Redis

from tests.oracles.traffic import SPAN_MS, awkward, wire
from tests.streams.pipeline import Pipeline
from tests.streams.test_score_exact import assert_answered, by_source, oracle

EVENTS = awkward(31, 1_500, 60, int(time.time() * 1000) - SPAN_MS - 60_000)


def lose_everything(redis: Redis, prefix: str) -> None:
    for key in redis.scan_iter(f"{prefix}*", count=1000):
        redis.delete(key)


def lose_what_was_applied_last(redis: Redis, prefix: str) -> None:
    """As an old snapshot does: the state is whole, but of an earlier time."""
    for partition in range(4):
        old = redis.get(f"old:{prefix}applied:{{{partition}}}")
        assert old is not None
    for key in list(redis.scan_iter(f"{prefix}*", count=1000)):
        redis.delete(key)
    for key in list(redis.scan_iter(f"old:{prefix}*", count=1000)):
        redis.rename(key, key.decode().removeprefix("old:"))


@pytest.mark.parametrize("lose", [lose_everything, lose_what_was_applied_last])
@pytest.mark.parametrize("running", [True, False])
def test_what_redis_lost_is_rebuilt(
    pipeline: Pipeline, redis_client: Redis, lose: Callable[[Redis, str], None], *, running: bool
) -> None:
    third = len(EVENTS) // 3
    parts = [EVENTS[:third], EVENTS[third : 2 * third], EVENTS[2 * third :]]
    role = pipeline.start("score").wait_ready()
    pipeline.publish((e.card, wire(e)) for e in parts[0])
    pipeline.read("processed_transactions", third)
    for key in list(redis_client.scan_iter(f"{pipeline.prefix}*", count=1000)):
        redis_client.copy(key, b"old:" + key)
    pipeline.publish((e.card, wire(e)) for e in parts[1])
    pipeline.read("processed_transactions", 2 * third)
    if not running:
        assert role.stop() == 0
    lose(redis_client, pipeline.prefix)
    if not running:
        role = pipeline.start("score").wait_ready()
    pipeline.publish((e.card, wire(e)) for e in parts[2])
    outcomes = by_source(pipeline.read("processed_transactions", len(EVENTS)))
    wanted = oracle(EVENTS, 4)
    assert outcomes.keys() == wanted.keys()
    for place, (event, answer) in wanted.items():
        for got in outcomes[place]:
            assert_answered(got, event, answer)
    assert sum(map(len, outcomes.values())) == len(EVENTS), "nothing was published twice"
    assert "rebuild_done" in role.log()


def test_replay_makes_the_store_anew_and_publishes_nothing(pipeline: Pipeline, redis_client: Redis) -> None:
    half = len(EVENTS) // 2
    role = pipeline.start("score").wait_ready()
    pipeline.publish((e.card, wire(e)) for e in EVENTS[:half])
    pipeline.read("processed_transactions", half)
    assert role.stop() == 0
    # A history that somebody damaged, and one that was never there.
    key = next(redis_client.scan_iter(f"{pipeline.prefix}hist:*"))
    redis_client.set(key, b"garbage")
    redis_client.set(f"{pipeline.prefix}hist:{{0}}:nobody", b"garbage")
    assert "rebuilt" in pipeline.run("replay").stdout
    assert redis_client.get(f"{pipeline.prefix}hist:{{0}}:nobody") is None
    pipeline.start("score").wait_ready()
    pipeline.publish((e.card, wire(e)) for e in EVENTS[half:])
    outcomes = by_source(pipeline.read("processed_transactions", len(EVENTS)))
    for place, (event, answer) in oracle(EVENTS, 4).items():
        (got,) = outcomes[place]
        assert_answered(got, event, answer)


def test_a_topic_made_anew_is_not_taken_for_a_redelivery(pipeline: Pipeline, redis_client: Redis) -> None:
    redis_client.set(f"{pipeline.prefix}applied:{{1}}", 1_000_000)
    role = pipeline.start("score")
    assert role.process.wait(60) == 74
    assert "made anew" in role.log()
    assert "Traceback" not in role.log()


def test_offsets_committed_beyond_the_topics_end_are_not_waited_for(pipeline: Pipeline) -> None:
    role = pipeline.start("score").wait_ready()
    pipeline.publish((e.card, wire(e)) for e in EVENTS[:200])
    pipeline.read("processed_transactions", 200)
    assert role.stop() == 0
    group = {**pipeline.bootstrap, "group.id": f"{pipeline.prefix}g-score", "enable.auto.commit": False}
    consumer = Consumer(group)
    beyond = [TopicPartition(f"{pipeline.prefix}transactions", p, 10_000) for p in range(4)]
    consumer.commit(offsets=beyond, asynchronous=False)
    consumer.close()
    role = pipeline.start("score").wait_ready()
    assert role.stop() == 0
