"""What counts as the same outcome when it is computed again."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from streams.repair.comparison import Body, differences, is_within_folding, lasting_digest

OUTCOME: Body = {
    "transaction_id": "t1",
    "card_id": "c1",
    "amount": 12.5,
    "fraud": {
        "score": 12,
        "probability": 0.0125,
        "outcome": "approve",
        "rule": None,
        "reasons": [],
        "features": {"amount": 12.5, "num_trans_last_1w": 1000, "avg_amt_last_1w": 20.0},
        "model": "m1",
        "ruleset": "none",
        "feature_set": "f1",
        "scored_at": "2024-01-01T00:00:00.000Z",
        "latency_ms": 3,
    },
}


def changed(**fraud: Any) -> Body:
    body = copy.deepcopy(OUTCOME)
    body["fraud"].update(fraud)
    return body


def with_features(**features: float) -> Body:
    body = copy.deepcopy(OUTCOME)
    body["fraud"]["features"].update(features)
    return body


def fields(published: Body, computed: Body = OUTCOME) -> list[str]:
    return [difference.field for difference in differences(published, computed)]


@pytest.mark.parametrize(
    "again",
    [
        changed(scored_at="2030-01-01T00:00:00.000Z", latency_ms=99),
        changed(duplicate=True),
        changed(degraded="deadline"),
        changed(shadow={"model": "m2", "score": 3}),
    ],
)
def test_when_and_how_it_came_does_not_matter(again: Body) -> None:
    assert fields(again) == []
    assert lasting_digest(again) == lasting_digest(OUTCOME)


@pytest.mark.parametrize(
    ("field", "make"),
    [
        ("fraud.score", lambda: changed(score=13)),
        ("fraud.probability", lambda: changed(probability=0.012500000000000002)),
        ("fraud.reasons", lambda: changed(reasons=[{"code": "x"}])),
        ("fraud.late_by_ms", lambda: changed(late_by_ms=5)),
        ("fraud.degraded", lambda: changed(degraded="store_away")),
        ("fraud.features.avg_amt_last_1w", lambda: with_features(avg_amt_last_1w=20.000000000000004)),
        ("card_id", lambda: {**OUTCOME, "card_id": "c2"}),
        ("email", lambda: {**OUTCOME, "email": "someone"}),
    ],
)
def test_everything_else_does_to_the_last_bit(field: str, make: Callable[[], Body]) -> None:
    assert fields(make()) == [field]
    assert lasting_digest(make()) != lasting_digest(OUTCOME)


def test_nothing_but_what_was_decided_is_shown() -> None:
    (card,) = differences({**OUTCOME, "card_id": "secret"}, OUTCOME)
    assert "secret" not in card.published + card.computed
    (score,) = differences(changed(score=13), OUTCOME)
    assert (score.published, score.computed) == ("13", "12")


def test_of_another_model_the_features_count_alone() -> None:
    other = changed(model="m2", score=900, probability=0.9, outcome="block", reasons=[{"code": "x"}])
    assert fields(other) == []
    other["fraud"]["features"]["amount"] = 13
    assert fields(other) == ["fraud.features.amount"]


def test_a_hot_card_may_differ_by_what_folding_makes() -> None:
    near, far = with_features(num_trans_last_1w=1015), with_features(num_trans_last_1w=1030)
    near["fraud"] |= {"score": 14, "beyond_grace": True}
    assert is_within_folding(differences(near, OUTCOME), near, OUTCOME)
    assert not is_within_folding(differences(far, OUTCOME), far, OUTCOME)
    late = changed(late_by_ms=5)
    assert not is_within_folding(differences(late, OUTCOME), late, OUTCOME)


def test_where_lists_were_asked_what_rules_made_of_them_is_not_compared() -> None:
    blocked = changed(outcome="block", rule="listed")

    assert fields(blocked) == ["fraud.outcome", "fraud.rule"]
    assert differences(blocked, OUTCOME, lists_asked=True) == []
    assert [d.field for d in differences(changed(score=13), OUTCOME, lists_asked=True)] == ["fraud.score"]
