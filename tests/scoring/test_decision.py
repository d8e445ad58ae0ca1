"""Scores and verdicts."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scoring.decision import decide
from scoring.manifest import Thresholds

LIMITS = Thresholds(0.25, 0.75, 0.003, 0.0005)
PROBABILITIES = st.lists(st.floats(0, 1, width=32), max_size=50)


@given(PROBABILITIES)
def test_scores_order_as_probabilities_do(values):
    probability = np.sort(np.array(values, np.float32))
    scores, _ = decide(probability, LIMITS)
    assert (np.diff(scores) >= 0).all()
    assert ((scores >= 0) & (scores <= 1000)).all()
    assert all(score <= float(p) * 1000 < score + 1 for p, score in zip(probability, scores, strict=True))


@given(PROBABILITIES)
def test_verdicts_compare_the_probability(values):
    _, verdicts = decide(np.array(values, np.float32), LIMITS)
    expected = ["block" if p >= 0.75 else "review" if p >= 0.25 else "approve" for p in values]
    assert verdicts == expected


def test_a_threshold_is_itself_included_and_its_neighbour_is_not():
    edge = np.float32(0.3)
    limits = Thresholds(float(edge), float(edge), 0.003, 0.0005)
    below = np.nextafter(edge, np.float32(0))
    assert decide(np.array([below, edge], np.float32), limits)[1] == ["approve", "block"]


def test_extremes():
    scores, verdicts = decide(np.array([0.0, 1.0], np.float32), LIMITS)
    assert scores.tolist() == [0, 1000]
    assert verdicts == ["approve", "block"]


def test_nothing_to_decide():
    scores, verdicts = decide(np.empty(0, np.float32), LIMITS)
    assert scores.shape == (0,)
    assert verdicts == []
