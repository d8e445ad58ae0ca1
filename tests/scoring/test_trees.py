"""The trees as columns give XGBoost's very numbers, or are not used."""

from __future__ import annotations

import ctypes.util
import json

import numpy as np
import pytest
import xgboost as xgb
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring import trees as trees_module
from scoring.trees import MOST_ROWS, NATIVE, Trees, learner_of, trees_of

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
LIBRARY = trees_module._Library(ctypes.util.find_library("m"))
IN_NUMPY = Trees(learner_of(BOOSTER), LIBRARY, native=None)
SPLITS = TREES._split.tolist()

values = st.one_of(st.floats(-1e9, 1e9), st.sampled_from(SPLITS), st.sampled_from([0.0, -0.0, 1e-300, 3e38]))
rows = st.lists(st.lists(values, min_size=FEATURES, max_size=FEATURES), min_size=1, max_size=MOST_ROWS)


@settings(max_examples=300, deadline=None)
@given(rows)
def test_every_bit_is_xgboosts(table: list[list[float]]) -> None:
    x = np.array(table)
    asked = BOOSTER.inplace_predict(x)
    np.testing.assert_array_equal(TREES.probabilities(x), asked)
    np.testing.assert_array_equal(IN_NUMPY.probabilities(x), asked)


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


needs_native = pytest.mark.skipif(NATIVE is None, reason="the native piece was not built here")


@needs_native
def test_it_is_the_native_piece_that_answers() -> None:
    assert TREES._native is not None
    assert TREES.most_rows > IN_NUMPY.most_rows


def parts(**changed: object) -> list[object]:
    """Arguments of a tree with one split."""
    right = {
        "features": 2, "depth": 1, "base": 0.0, "roots": np.array([0], np.int32),
        "next": np.array([2, 1, 1, 1, 2, 2], np.int32), "columns": np.array([1, 0, 0], np.int32),
        "splits": np.array([0.5, -1, 1], np.float32),
    }  # fmt: skip
    return list((right | changed).values())


@needs_native
@pytest.mark.parametrize(
    "changed",
    [
        {"features": 0}, {"features": 5000}, {"depth": -1}, {"depth": 65}, {"roots": np.array([3], np.int32)},
        {"roots": np.array([-1], np.int32)}, {"next": np.array([2, 1, 1, 1, 2, 3], np.int32)},
        {"next": np.array([2, 1, 1, -1, 2, 2], np.int32)}, {"next": np.array([2, 1, 1, 1], np.int32)},
        {"columns": np.array([2, 0, 0], np.int32)}, {"columns": np.array([0, 0], np.int32)},
        {"splits": np.array([0.5], np.float32)},
    ],
)  # fmt: skip
def test_parts_that_do_not_fit_are_refused(changed: dict[str, object]) -> None:
    NATIVE.Trees(*parts())
    with pytest.raises(ValueError, match=r"none|lengths|more"):
        NATIVE.Trees(*parts(**changed))


@needs_native
def test_rows_that_do_not_fit_are_refused() -> None:
    made = NATIVE.Trees(*parts())
    answers = np.zeros(2, np.float32)
    made.probabilities(np.array([[0, 0], [0, 1]], np.float32), answers)
    assert answers.tolist() == pytest.approx([1 / (1 + np.e), 1 / (1 + 1 / np.e)])
    for rows, room in ((np.zeros((2, 2)), answers), (np.zeros((3, 2)), answers), (np.zeros(3), answers)):
        with pytest.raises(ValueError, match="same number"):
            made.probabilities(rows.astype(np.float32), room[:1])
    with pytest.raises((BufferError, TypeError)):
        made.probabilities(np.zeros((1, 2), np.float32), bytes(4))
