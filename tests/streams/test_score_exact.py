"""The `score` role from outside: awkward traffic through the real servers, every answer compared with the oracle."""

from __future__ import annotations

import random
import signal
import time
from collections import defaultdict

import pytest

from features.catalogue import FEATURE_NAMES
from features.partition import home_partition
from tests.oracles.naive import Answer, Event, NaiveCards
from tests.oracles.traffic import SPAN_MS, awkward, wire
from tests.streams.pipeline import Got, Pipeline


def base_ms() -> int:
    """A start such that no event lies in the future: the clock-skew rule is tested by itself."""
    return int(time.time() * 1000) - SPAN_MS - 60_000


def by_source(outcomes: list[Got]) -> dict[tuple[int, int], list[Got]]:
    found: dict[tuple[int, int], list[Got]] = defaultdict(list)
    for got in outcomes:
        source = got.value["fraud"]["source"]
        found[source["partition"], source["offset"]].append(got)
    return found


def oracle(events: list[Event], partitions: int) -> dict[tuple[int, int], tuple[Event, Answer]]:
    """What the contract says of each record, by the place where `publish` put it."""
    cards, offsets = NaiveCards(), [0] * partitions
    answers = {}
    for event in events:
        home = home_partition(event.card.encode(), partitions)
        answers[home, offsets[home]] = (event, cards.apply(event))
        offsets[home] += 1
    return answers


def assert_answered(got: Got, event: Event, answer: Answer) -> None:
    fraud = got.value["fraud"]
    assert got.key == event.card.encode()
    assert got.partition == fraud["source"]["partition"]
    assert got.headers["outcome"].decode() == fraud["outcome"]
    assert got.headers["transaction_id"].decode() == event.transaction_id == got.value["transaction_id"]
    if answer.features is None:
        assert (fraud["reversal"], fraud["reversed"], fraud["outcome"]) == (answer.reversal, event.original, "approve")
        assert "score" not in fraud
        assert "score" not in got.headers
        return
    assert fraud.get("late_by_ms") == answer.late_by_ms, event
    assert fraud.get("beyond_grace", False) == answer.beyond_grace, event
    assert fraud.get("conflict", False) == answer.conflict, event
    assert list(fraud["features"]) == list(FEATURE_NAMES)
    if not (answer.duplicate and answer.beyond_grace):
        assert fraud["features"] == answer.features, event
    assert got.headers["score"].decode() == str(fraud["score"])


def test_every_kind_of_awkward_traffic_is_answered_exactly(pipeline: Pipeline) -> None:
    events = awkward(11, 8_000, 300, base_ms())
    rng = random.Random(5)
    pipeline.start("score").wait_ready()
    pipeline.publish((e.card, wire(e, rng)) for e in events)
    outcomes = by_source(pipeline.read("processed_transactions", len(events)))
    wanted = oracle(events, 4)
    assert outcomes.keys() == wanted.keys()
    for place, (event, answer) in wanted.items():
        (got,) = outcomes[place]
        assert_answered(got, event, answer)
        assert got.value["fraud"].get("duplicate", False) == answer.duplicate, event
    assert pipeline.roles[0].stop() == 0, pipeline.roles[0].log()


@pytest.mark.parametrize("seed", [1, 2])
def test_kill_9_loses_nothing_and_repeats_are_the_same(pipeline: Pipeline, seed: int) -> None:
    events = awkward(20 + seed, 4_000, 130, base_ms())
    rng = random.Random(seed)
    cuts = sorted(rng.sample(range(len(events)), 3))
    done = 0
    for cut in [*cuts, len(events)]:
        role = pipeline.start("score").wait_ready()
        pipeline.publish((e.card, wire(e)) for e in events[done:cut])
        done = cut
        if cut < len(events):
            # In the middle of the work, wherever that is.
            pipeline.read("processed_transactions", rng.randint(1, cut))
            role.stop(signal.SIGKILL)
    wanted = oracle(events, 4)
    outcomes = by_source(pipeline.read("processed_transactions", len(events), timeout_s=120))
    while outcomes.keys() != wanted.keys():
        outcomes = by_source(pipeline.read("processed_transactions", sum(map(len, outcomes.values())) + 1))
    repeats = 0
    for place, (event, answer) in wanted.items():
        first, *again = outcomes[place]
        for got in (first, *again):
            assert_answered(got, event, answer)
            assert lasting(got) == lasting(first)
        repeats += len(again)
    assert repeats <= 3 * 4 * 2_000


def lasting(got: Got) -> dict[str, object]:
    """What must not change when a record is answered again."""
    fraud = {k: v for k, v in got.value["fraud"].items() if k not in {"scored_at", "latency_ms", "duplicate"}}
    return {**got.value, "fraud": fraud}
