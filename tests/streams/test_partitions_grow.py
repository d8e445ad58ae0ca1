"""The topics grow while there are histories: refused until `fraudstream replay`, then every answer stays exact."""

from __future__ import annotations

import signal
import time
from collections import defaultdict
from collections.abc import Callable

from confluent_kafka import Producer
from redis import Redis

from features.partition import home_partition
from local.stack import Stack
from tests.oracles.naive import Answer, Event, NaiveCards
from tests.oracles.traffic import SPAN_MS, awkward, wire
from tests.streams.pipeline import Got, Pipeline
from tests.streams.records import Sent, committed, ends, send, wait_acknowledged
from tests.streams.test_rebuild import lose_everything
from tests.streams.test_score_exact import assert_answered
from tests.support import wait_until

BEFORE, AFTER = 2, 5
EVENTS = awkward(57, 3_000, 90, int(time.time() * 1000) - SPAN_MS - 60_000)


def assert_exact(pipeline: Pipeline, events: list[Event]) -> None:
    """Every record is answered once, each card's in order, and as the oracle says."""
    cards = NaiveCards()
    wanted: dict[str, list[tuple[Event, Answer]]] = defaultdict(list)
    for event in events:
        wanted[event.card].append((event, cards.apply(event)))
    got: dict[str, list[Got]] = defaultdict(list)
    for one in pipeline.read("processed_transactions", len(events)):
        got[one.value["card_id"]].append(one)
    assert {card: len(one) for card, one in got.items()} == {card: len(one) for card, one in wanted.items()}
    for card, answers in got.items():
        # The old home comes first; it is never the new home of a card that moved.
        old, new = home_partition(card.encode(), BEFORE), home_partition(card.encode(), AFTER)
        assert {one.partition for one in answers} <= {old, new}
        answers.sort(key=lambda one: (one.partition != old, one.offset))
        for one, (event, answer) in zip(answers, wanted[card], strict=True):
            assert_answered(one, event, answer)
            assert one.value["fraud"].get("duplicate", False) == answer.duplicate, event


def astray(pipeline: Pipeline, events: list[Event]) -> None:
    """Publish as a producer does that knows nothing of homes: every second card's records lie in the wrong place."""
    count = pipeline.partitions
    homes = [home_partition(e.card.encode(), count) for e in events]
    moved = [(home + int(e.card.split("-")[-1]) % 2) % count for home, e in zip(homes, events, strict=True)]
    send(pipeline, (Sent(wire(e), p, e.card.encode()) for e, p in zip(events, moved, strict=True)))


def count_on(pipeline: Pipeline, partitions: int) -> None:
    """From here on everybody goes by another number of partitions."""
    pipeline.variables["FRAUD_PARTITIONS"] = str(partitions)
    pipeline.partitions = partitions
    # The one there is would go on for minutes by the number that it knows.
    pipeline.producer = Producer({**pipeline.bootstrap, "enable.idempotence": True})


def refused_to_score(pipeline: Pipeline) -> str:
    """Start a score role that must refuse to work; what it said."""
    role = pipeline.start("score")
    assert role.process.wait(60) == 78, role.log()
    pipeline.roles.remove(role)
    return role.log()


def test_cards_move_and_every_answer_stays_exact(make_pipeline: Callable[..., Pipeline], redis_client: Redis) -> None:
    pipeline = make_pipeline(FRAUD_PARTITIONS=str(BEFORE))
    quarter = len(EVENTS) // 4
    parts = [EVENTS[i * quarter : (i + 1) * quarter] for i in range(4)]
    role = pipeline.start("score").wait_ready()
    astray(pipeline, parts[0])
    wait_acknowledged(pipeline)
    assert role.stop() == 0
    # Not scored yet when the topics grow: most of these lie in a partition that is their cards' home no more.
    astray(pipeline, parts[1])

    count_on(pipeline, AFTER)
    refused = pipeline.run("setup", check=False)
    assert refused.returncode == 78
    assert "setup --grow" in refused.stderr
    assert "replay" in pipeline.run("setup", "--grow").stdout
    assert "run: fraudstream replay" in refused_to_score(pipeline)
    done = pipeline.run("replay")
    assert "every card in its present home" in done.stdout
    assert redis_client.get(f"{pipeline.prefix}partitions") == b"5"

    role = pipeline.start("score").wait_ready()
    wait_acknowledged(pipeline)
    astray(pipeline, parts[2])
    wait_acknowledged(pipeline)
    assert role.stop() == 0

    # Redis loses everything soon afterwards: one partition's own records would not do.
    lose_everything(redis_client, pipeline.prefix)
    assert "run: fraudstream replay" in refused_to_score(pipeline)
    assert pipeline.run("replay", "--partition", "1", check=False).returncode == 78
    pipeline.run("replay")
    role = pipeline.start("score").wait_ready()
    astray(pipeline, parts[3])
    wait_acknowledged(pipeline)
    assert_exact(pipeline, EVENTS[: 4 * quarter])
    assert role.stop() == 0


def test_a_replay_that_was_killed_is_run_again(make_pipeline: Callable[..., Pipeline], redis_client: Redis) -> None:
    pipeline = make_pipeline(FRAUD_PARTITIONS=str(BEFORE))
    half = len(EVENTS) // 2
    role = pipeline.start("score").wait_ready()
    pipeline.publish((e.card, wire(e)) for e in EVENTS[:half])
    wait_acknowledged(pipeline)
    assert role.stop() == 0
    count_on(pipeline, AFTER)
    pipeline.run("setup", "--grow")
    replay = pipeline.start("replay")
    wait_until(lambda: redis_client.get(f"{pipeline.prefix}partitions") == b"0")
    replay.stop(signal.SIGKILL)
    assert "was not finished" in refused_to_score(pipeline)
    pipeline.run("replay")
    role = pipeline.start("score").wait_ready()
    pipeline.publish((e.card, wire(e)) for e in EVENTS[half:])
    assert_exact(pipeline, EVENTS)
    assert role.stop() == 0


def test_topics_never_shrink(make_pipeline: Callable[..., Pipeline], servers: Stack) -> None:
    pipeline = make_pipeline(FRAUD_PARTITIONS="3")
    pipeline.variables["FRAUD_PARTITIONS"] = "2"
    done = pipeline.run("setup", "--grow", check=False)
    assert done.returncode == 78
    assert "cannot shrink" in done.stderr
    assert len(ends(pipeline, "transactions")) == 3
    assert committed(pipeline, "score", "transactions") == {0: 0, 1: 0, 2: 0}
    assert servers.env()
