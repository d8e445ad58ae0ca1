"""Calibrated probabilities mean what they say, rank as before, and are the same bits however they are asked for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from scoring.calibration import Calibration, Calibrator
from scoring.learning.calibrate import FEWEST, fit


def sample(n: int = 40_000, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What trees say, the labels, and the true probabilities: far too low, as after a rare class."""
    rng = np.random.default_rng(seed)
    margin = rng.normal(-5, 2.5, n)
    true = 1 / (1 + np.exp(-margin))
    raw = 1 / (1 + np.exp(-(0.6 * margin - 1.5)))
    return raw.astype(np.float32), rng.random(n) < true, true


@pytest.mark.parametrize("method", ["beta", "isotonic"])
def test_calibrated_probabilities_mean_what_they_say(method):
    raw, fraud, _ = sample()
    other_raw, other_fraud, true = sample(seed=2)
    found = fit(raw, fraud, method)
    said = Calibrator(found)(other_raw)
    assert found.method == method
    assert said.sum() == pytest.approx(other_fraud.sum(), rel=0.06)
    assert abs(other_raw.sum() - other_fraud.sum()) > 5 * abs(said.sum() - other_fraud.sum())
    assert np.abs(said - true).mean() < 0.01


@pytest.mark.parametrize("method", ["beta", "isotonic"])
def test_ranks_stand(method):
    raw, fraud, _ = sample(20_000)
    said = Calibrator(fit(raw, fraud, method))(raw)
    order = np.argsort(raw, kind="stable")
    assert (np.diff(said[order].astype(np.float64)) >= 0).all()
    assert roc_auc_score(fraud, said) == pytest.approx(roc_auc_score(fraud, raw), abs=1e-4)
    assert average_precision_score(fraud, said) == pytest.approx(average_precision_score(fraud, raw), abs=1e-3)


rising = st.lists(st.floats(0.001, 1), min_size=2, max_size=20).map(
    lambda steps: [0.0, *(np.cumsum(steps) / np.sum(steps)).tolist()[:-1], 1.0]
)


@given(rising, st.lists(st.floats(0, 1, width=32), min_size=1, max_size=40))
def test_a_row_has_the_same_bits_alone_and_among_others(knots, values):
    calibrate = Calibrator(Calibration("by hand", tuple(knots), tuple(np.linspace(0, 0.9, len(knots)).tolist())))
    together = calibrate(np.array(values, np.float32))
    alone = np.concatenate([calibrate(np.array([value], np.float32)) for value in values])
    assert together.tobytes() == alone.tobytes()
    assert ((together >= 0) & (together <= 1)).all()


def test_too_few_frauds_calibrate_nothing():
    raw, _, _ = sample(1_000)
    few = np.zeros(1_000, np.bool_)
    few[: FEWEST - 1] = True
    assert fit(raw, few, "beta") is None
    assert fit(*sample(1_000)[:2], "none") is None


def test_trees_that_rank_the_wrong_way_round_are_not_turned():
    raw, fraud, _ = sample(5_000)
    assert fit(1 - raw, fraud, "beta") is None


@pytest.mark.parametrize(
    ("raw", "calibrated"),
    [((0.0, 1.0), (0.0,)), ((0.0, 0.5, 0.5, 1.0), (0.0, 0.1, 0.2, 0.3)), ((0.0, 1.0), (0.5, 0.5)),
     ((0.1, 1.0), (0.0, 1.0)), ((0.0, 1.0), (0.0, 1.5))],
)  # fmt: skip
def test_a_line_that_does_not_rise_is_refused(raw, calibrated):
    with pytest.raises(ValueError, match="strictly rising"):
        Calibration("by hand", raw, calibrated)
