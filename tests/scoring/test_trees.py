"""The trees as columns give XGBoost's very numbers, or are not used."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xgboost as xgb
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring.trees import MOST_ROWS, Trees, learner_of, trees_of

FEATURES = 5


def grown(rounds: int = 60, **parameters: object) -> xgb.Booster:
    random = np.random.default_rng(3)
    x = np.abs(random.normal(size=(4000, FEATURES))) * random.choice([1, 10, 1000], size=(4000, FEATURES))
    y = (x[:, 0] * x[:, 3] + x[:, 4] > random.normal(500, 400, len(x))).astype(int)
    given_parameters = {"objective": "binary:logistic", "max_depth": 6, "nthread": 1, **parameters}
    booster = xgb.train(given_parameters, xgb.DMatrix(x, y), rounds)
    booster.set_param({"nthread": 1})
    return booster


BOOSTER = grown()
TREES = trees_of(BOOSTER, learner_of(BOOSTER))
assert TREES is not None
SPLITS = TREES._split.tolist()

values = st.one_of(st.floats(-1e9, 1e9), st.sampled_from(SPLITS), st.sampled_from([0.0, -0.0, 1e-300, 3e38]))
rows = st.lists(st.lists(values, min_size=FEATURES, max_size=FEATURES), min_size=1, max_size=MOST_ROWS)


@settings(max_examples=300, deadline=None)
@given(rows)
def test_every_bit_is_xgboosts(table: list[list[float]]) -> None:
    x = np.array(table)
    np.testing.assert_array_equal(TREES.probabilities(x), BOOSTER.inplace_predict(x))


@pytest.mark.parametrize("parameters", [{"base_score": 0.01}, {"max_depth": 1}, {"scale_pos_weight": 40}, {"eta": 1.0}])
def test_models_of_every_shape(parameters: dict[str, object]) -> None:
    booster = grown(**parameters)
    trees = trees_of(booster, learner_of(booster))
    assert trees is not None
    x = np.abs(np.random.default_rng(5).normal(size=(500, FEATURES))) * 100
    np.testing.assert_array_equal(trees.probabilities(x), booster.inplace_predict(x))


def test_a_model_of_one_leaf() -> None:
    booster = grown(rounds=1, gamma=1e9)
    trees = trees_of(booster, learner_of(booster))
    assert trees is not None
    x = np.ones((3, FEATURES))
    np.testing.assert_array_equal(trees.probabilities(x), booster.inplace_predict(x))


@pytest.mark.parametrize("parameters", [{"booster": "dart"}, {"objective": "reg:squarederror"}])
def test_models_of_another_kind_are_left_to_xgboost(parameters: dict[str, object]) -> None:
    booster = grown(rounds=3, **parameters)
    assert trees_of(booster, learner_of(booster)) is None


def test_trees_that_differ_in_one_bit_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    probabilities = Trees.probabilities
    monkeypatch.setattr(Trees, "probabilities", lambda self, x: np.nextafter(probabilities(self, x), np.float32(2)))
    assert trees_of(BOOSTER, learner_of(BOOSTER)) is None


def test_the_form_is_that_of_this_version() -> None:
    model = json.loads(bytes(BOOSTER.save_raw("json")))["learner"]["gradient_booster"]["model"]
    assert {"left_children", "right_children", "split_indices", "split_conditions", "split_type"} <= set(
        model["trees"][0]
    )
