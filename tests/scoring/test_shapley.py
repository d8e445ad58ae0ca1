"""Contributions from tables are exact: by the definition of Shapley's value, and by XGBoost."""

from __future__ import annotations

import math
import random
import tracemalloc
from contextlib import suppress
from itertools import combinations

import numpy as np
import pytest
import xgboost as xgb
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring import shap_tables, shapley
from scoring.baseline import shap
from scoring.shap_tables import MOST_DEPTH, tables_of
from scoring.shapley import AGREES, Shapley, Twin, native, shapley_of
from scoring.trees import learner_of

WIDTH = 5
SPLITS = (-1.0, 0.0, 0.5, 0.1, 2.0, 1e9)
needs_native = pytest.mark.skipif(shapley._NATIVE is None, reason="scoring/_shap.c was not compiled here")


def form_of(rng, depth, fullness, width=WIDTH):
    """A tree of random shape in XGBoost's JSON form."""
    form = {
        name: []
        for name in (
            "left_children", "right_children", "split_indices", "split_conditions", "default_left", "sum_hessian",
        )
    }  # fmt: skip

    def node(level, weight):
        own = len(form["left_children"])
        splits = level < depth and (level == 0 or rng.random() < fullness)
        form["left_children"].append(-1)
        form["right_children"].append(-1)
        form["split_indices"].append(rng.randrange(width) if splits else 0)
        form["split_conditions"].append(rng.choice(SPLITS) if splits else rng.uniform(-2, 2))
        form["default_left"].append(rng.randrange(2) if splits else 0)
        form["sum_hessian"].append(weight)
        if splits:
            part = rng.choice([0.5, 0.9, 0.001, rng.random(), 0.0])
            form["left_children"][own] = node(level + 1, weight * part or 1e-9)
            form["right_children"][own] = node(level + 1, weight * (1 - part))
        return own

    node(0, 1000.0)
    return form


def expected(form, row, known, node=0):
    """What a tree says of a row of which only some columns are known."""
    left, right = form["left_children"][node], form["right_children"][node]
    if left < 0:
        return float(np.float32(form["split_conditions"][node]))
    column = form["split_indices"][node]
    if column not in known:
        of_left, of_right = (form["sum_hessian"][child] / form["sum_hessian"][node] for child in (left, right))
        return of_left * expected(form, row, known, left) + of_right * expected(form, row, known, right)
    value, split = np.float32(row[column]), np.float32(form["split_conditions"][node])
    goes_left = form["default_left"][node] if np.isnan(value) else value < split
    return expected(form, row, known, left if goes_left else right)


def by_definition(form, row, width=WIDTH):
    """Shapley's value of each column, over all sets of the others, and what is said of a row that is not known."""
    said = {
        frozenset(known): expected(form, row, frozenset(known))
        for size in range(width + 1)
        for known in combinations(range(width), size)
    }
    found = np.zeros(width + 1)
    found[-1] = said[frozenset()]
    for column in range(width):
        for known, without in said.items():
            if column not in known:
                weight = math.factorial(len(known)) * math.factorial(width - len(known) - 1) / math.factorial(width)
                found[column] += weight * (said[known | {column}] - without)
    return found


def adders(tables):
    """What adds up here: numpy, and C where it was built."""
    in_c = native(tables)
    return [Twin(tables), *([] if in_c is None else [in_c])]


def grown(seed, depth, rounds, width=WIDTH, rows=400, **parameters):
    """A booster whose paths split on the same column again: there are few columns and many values."""
    rng = np.random.default_rng(seed)
    x = rng.choice([rng.normal(size=(rows, width)), rng.integers(0, 5, (rows, width)), np.full((rows, width), np.nan)])
    x = np.where(rng.random((rows, width)) < 0.05, np.nan, np.where(np.isnan(x), rng.random((rows, width)), x))
    y = (np.nan_to_num(x[:, 0]) * np.nan_to_num(x[:, -1]) + rng.normal(size=rows) > 0).astype(int)
    given_parameters = {
        "objective": "binary:logistic", "max_depth": depth, "min_child_weight": 0.1, "nthread": 1, **parameters,
    }  # fmt: skip
    booster = xgb.train(given_parameters, xgb.DMatrix(x, y, nthread=1), rounds)
    booster.set_param({"nthread": 1})
    return booster, x


values = st.one_of(
    st.sampled_from([*SPLITS, 0.1 + 1e-12, np.nextafter(0.5, 0), -0.0, math.nan, 3e38]), st.floats(-5, 5, width=32)
)
some_rows = st.lists(st.lists(values, min_size=WIDTH, max_size=WIDTH), min_size=1, max_size=9)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**9), st.integers(1, MOST_DEPTH), st.floats(0.3, 1), some_rows)
def test_of_any_tree_they_are_what_the_definition_says(seed, depth, fullness, table):
    form = form_of(random.Random(seed), depth, fullness if depth < 6 else min(fullness, 0.8))
    tables = tables_of([form], WIDTH, 0.25)
    x = np.array(table)
    defined = np.array([by_definition(form, row) for row in table])
    defined[:, -1] += 0.25
    for adder in adders(tables):
        np.testing.assert_allclose(Shapley(tables, adder).contributions(x), defined, atol=1e-12)


def test_a_path_of_as_many_columns_as_it_may_have():
    nodes = range(MOST_DEPTH)
    form = {
        "left_children": [child for node in nodes for child in (2 * node + 1, -1)] + [-1],
        "right_children": [child for node in nodes for child in (2 * node + 2, -1)] + [-1],
        "split_indices": [column for node in nodes for column in (node, 0)] + [0],
        "split_conditions": [value for node in nodes for value in (0.5, -node - 1.0)] + [10.0],
        "default_left": [0] * (2 * MOST_DEPTH + 1),
        "sum_hessian": [weight for node in nodes for weight in (2.0**-node, 2.0 ** -(node + 1))] + [2.0**-MOST_DEPTH],
    }
    tables = tables_of([form], MOST_DEPTH, 0.0)
    x = np.array([np.ones(MOST_DEPTH), np.arange(MOST_DEPTH) % 2, np.arange(MOST_DEPTH) < 7])
    defined = [by_definition(form, row, MOST_DEPTH) for row in x]
    for adder in adders(tables):
        np.testing.assert_allclose(Shapley(tables, adder).contributions(x), defined, atol=1e-12)


@settings(max_examples=80, deadline=None)
@given(
    st.integers(0, 10**9), st.integers(1, 6), st.integers(1, 12), st.sampled_from([0.1, 0.3, 1.0]),
    st.sampled_from([1, 3, 4, 63, 64, 65, 200]),
)  # fmt: skip
def test_of_any_booster_they_are_xgboosts(seed, depth, rounds, eta, rows):
    booster, x = grown(seed, depth, rounds, eta=eta)
    found = shapley_of(booster, learner_of(booster))
    assert found is not None
    contributions = found.contributions(x[:rows])
    np.testing.assert_allclose(contributions, shap(booster, x[:rows]), atol=AGREES)
    margin = booster.predict(xgb.DMatrix(x[:rows]), output_margin=True)
    np.testing.assert_allclose(contributions.sum(axis=1), margin, atol=1e-5)


@needs_native
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9), st.integers(1, 7), st.integers(1, 8), some_rows)
def test_every_bit_is_that_of_the_twin(seed, depth, trees, table):
    rng = random.Random(seed)
    tables = tables_of([form_of(rng, depth, 0.8) for _ in range(trees)], WIDTH, -0.5)
    twin, in_c = (Shapley(tables, adder).contributions(np.array(table)) for adder in adders(tables))
    assert twin.tobytes() == in_c.tobytes()


@pytest.mark.parametrize("adder", [native, Twin])
def test_a_row_does_not_depend_on_its_batch(adder):
    booster, x = grown(4, 5, 20)
    tables = tables_of(learner_of(booster)["gradient_booster"]["model"]["trees"], WIDTH, 0.0)
    found = Shapley(tables, adder(tables))
    together = found.contributions(x[:150])
    one_by_one = np.concatenate([found.contributions(x[i : i + 1]) for i in range(150)])
    assert together.tobytes() == one_by_one.tobytes()
    assert found.contributions(x[:150].astype(np.float32)).tobytes() == together.tobytes()
    assert found.contributions(np.asfortranarray(x[:150])).tobytes() == together.tobytes()
    assert found.contributions(x[:0]).shape == (0, WIDTH + 1)


def test_trees_of_one_leaf_add_nothing_but_their_value():
    booster, x = grown(1, 3, 2, gamma=1e9)
    found = shapley_of(booster, learner_of(booster))
    assert found is not None
    contributions = found.contributions(x[:3])
    assert not contributions[:, :-1].any()
    np.testing.assert_allclose(contributions, shap(booster, x[:3]), atol=1e-6)
    tables = tables_of(learner_of(booster)["gradient_booster"]["model"]["trees"], x.shape[1], 0.0)
    assert not Shapley(tables, Twin(tables)).contributions(x[:3])[:, :-1].any()


@pytest.mark.parametrize("parameters", [{"booster": "dart"}, {"objective": "reg:squarederror"}, {"max_depth": 12}])
def test_models_of_another_kind_are_left_to_xgboost(parameters):
    booster, _ = grown(2, **{"depth": 3, "rounds": 3, "eta": 1.0, "rows": 4000, "gamma": 0.0, "reg_lambda": 0.0} | {
        "depth": parameters.get("max_depth", 3), **{k: v for k, v in parameters.items() if k != "max_depth"},
    })  # fmt: skip
    assert shapley_of(booster, learner_of(booster)) is None


def test_a_tree_that_is_too_deep_or_without_weight_is_refused():
    deep = form_of(random.Random(1), MOST_DEPTH + 1, 1.0, width=2)
    with pytest.raises(ValueError, match="too deep"):
        tables_of([deep], 2, 0.0)
    weightless = form_of(random.Random(1), 1, 1.0) | {"sum_hessian": [0.0, 0.0, 0.0]}
    with pytest.raises(ValueError, match="weight"):
        tables_of([weightless], WIDTH, 0.0)


def test_tables_that_would_be_too_large_are_not_made(monkeypatch):
    booster, _ = grown(3, 5, 5)
    size = tables_of(learner_of(booster)["gradient_booster"]["model"]["trees"], WIDTH, 0.0).values.nbytes
    monkeypatch.setattr(shap_tables, "MOST_BYTES", size - 1)
    assert shapley_of(booster, learner_of(booster)) is None
    monkeypatch.setattr(shap_tables, "MOST_BYTES", size)
    assert shapley_of(booster, learner_of(booster)) is not None


def test_tables_that_differ_from_xgboost_are_not_used(monkeypatch):
    booster, _ = grown(3, 5, 5)
    contributions = Shapley.contributions

    def a_little_off(self, x):
        found = contributions(self, x)
        found[-1, 2] += 1e-3
        return found

    monkeypatch.setattr(Shapley, "contributions", a_little_off)
    assert shapley_of(booster, learner_of(booster)) is None


def test_without_the_native_piece_numpy_serves(monkeypatch):
    booster, x = grown(5, 4, 5)
    usual = shapley_of(booster, learner_of(booster)).contributions(x)
    monkeypatch.setattr(shapley, "_NATIVE", None)
    found = shapley_of(booster, learner_of(booster))
    assert isinstance(found._adder, Twin)
    assert found.contributions(x).tobytes() == usual.tobytes()


PARTS = [
    np.array([1], np.uint8), np.array([1], np.uint8), np.array([0], np.int32), np.array([0.5], np.float32),
    np.array([0], np.uint8), np.array([1], np.int32), np.array([1.0, 2.0]),
]  # fmt: skip


@needs_native
def test_what_does_not_fit_is_refused():
    kind = shapley._NATIVE.Tables
    sums = np.zeros((1, 3))
    kind(2, *PARTS).add(np.array([[0.0, 0.0]], np.float32), sums)
    assert sums.tolist() == [[0.0, 2.0, 0.0]]
    wrong = {
        0: [np.array([13], np.uint8), np.array([2], np.uint8), np.array([1, 1], np.uint8), np.array([], np.uint8)],
        1: [np.array([2], np.uint8), np.array([1, 1], np.uint8)],
        2: [np.array([2], np.int32), np.array([-1], np.int32), np.array([0], np.int8), np.array([0, 0], np.int32)],
        3: [np.array([0.5]), np.array([], np.float32)],
        4: [np.array([0, 0], np.uint8)],
        5: [np.array([2], np.int32), np.array([-1], np.int32), np.array([1, 1], np.int32)],
        6: [np.array([1.0]), np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0], np.float32)],
    }
    for place, others in wrong.items():
        for other in others:
            with pytest.raises(ValueError, match=r"group|column|parts"):
                kind(2, *PARTS[:place], other, *PARTS[place + 1 :])
    for features in (0, -1, 4097):
        with pytest.raises(ValueError, match="1 to 4096"):
            kind(features, *PARTS)
    for arguments in ((2, *PARTS[:-1]), (2, *PARTS, 1), ("2", *PARTS), (2, *PARTS[:-1], None)):
        with pytest.raises(TypeError):
            kind(*arguments)
    with pytest.raises(TypeError, match="no names"):
        kind(2, *PARTS, more=1)
    with pytest.raises(ValueError, match="contiguous"):
        kind(2, *PARTS[:-1], np.arange(4.0)[::2])


@needs_native
def test_rows_and_sums_that_do_not_fit_are_refused():
    tables = shapley._NATIVE.Tables(2, *PARTS)
    rows, sums = np.zeros((3, 2), np.float32), np.zeros((3, 3))
    for bad_rows, bad_sums in ((rows[:2], sums), (rows, sums[:2]), (rows.ravel()[:5], sums), (rows, sums.ravel()[:-1])):
        with pytest.raises(ValueError, match="number of rows"):
            tables.add(bad_rows, bad_sums)
    shifted = np.frombuffer(bytearray(80), np.uint8)[1:73]
    with pytest.raises(ValueError, match="aligned"):
        tables.add(rows, shifted)
    with pytest.raises((ValueError, TypeError, BufferError)):
        tables.add(rows[:, ::-1], sums)
    with pytest.raises((ValueError, TypeError, BufferError)):
        tables.add(rows, bytes(72))
    with pytest.raises(TypeError):
        tables.add(rows)
    assert not sums.any()


@needs_native
def test_nothing_is_kept_of_what_was_given():
    """A buffer that is still held cannot grow; memory that is still held is seen."""
    kind = shapley._NATIVE.Tables
    parts = [bytearray(part.tobytes()) for part in PARTS]
    rows, sums = bytearray(8), bytearray(24)

    def use():
        tables = kind(2, *parts)
        tables.add(rows, sums)
        with suppress(ValueError):
            tables.add(rows, parts[0])
        with suppress(ValueError):
            kind(1, *parts)

    tracemalloc.start()
    use()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(200):
        use()
    grown_by = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown_by < 200 * 8, "less than a pointer for each"
    for buffer in (*parts, rows, sums):
        buffer.append(0)
