"""Contributions are exact, measured against what is approved, and add up."""

from __future__ import annotations

import json
import shutil

import msgspec
import numpy as np
import pytest
import xgboost as xgb
from hypothesis import given, settings
from hypothesis import strategies as st

from features.catalogue import FEATURE_NAMES
from features.errors import ModelError
from scoring.baseline import SAMPLE_ROWS, baseline_of, shap
from scoring.dataset import load_dataset
from scoring.evaluation import milliseconds
from scoring.manifest import Baseline
from scoring.model import Model, load_booster

SIZE = len(FEATURE_NAMES)
EXACT = 2e-4
"""TreeSHAP adds some hundred numbers in single precision."""


@pytest.fixture(scope="module")
def booster(folder):
    return load_booster((folder / "model.ubj").read_bytes())


@pytest.fixture(scope="module")
def training_part(table, model):
    split = model.manifest.split.train
    return load_dataset(table).between(milliseconds(split.start), milliseconds(split.stop)).features


def margins(booster, x):
    return booster.predict(xgb.DMatrix(x, feature_names=list(FEATURE_NAMES)), output_margin=True)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_contributions_and_the_base_are_the_margin(model, booster, rows, data):
    """Of any row: real ones, and ones put together of what no history holds."""
    real = st.integers(0, len(rows) - 1).map(lambda row: rows[row].tolist())
    anything = st.lists(st.floats(-1e6, 1e9, width=32), min_size=SIZE, max_size=SIZE)
    x = np.array(data.draw(st.lists(real | anything, min_size=1, max_size=8)))
    contributions = model.contributions(x)
    assert contributions.shape == (len(x), SIZE + 1)
    np.testing.assert_allclose(contributions.sum(axis=1), margins(booster, x), atol=EXACT)
    np.testing.assert_allclose(contributions[:, -1], model.manifest.baseline.margin, atol=EXACT)


def test_the_approved_population_stands_at_zero(model, rows):
    """On average nothing speaks for or against a transaction that is approved."""
    approved = rows[model.predict(rows) < model.thresholds.review]
    mean = model.contributions(approved[:: len(approved) // 4000]).mean(axis=0)
    np.testing.assert_allclose(mean[:-1], 0, atol=0.05)
    raw = Baseline(0.0, (0.0,) * SIZE, 1, 1)
    assert model.manifest.baseline != raw


def test_the_baseline_is_of_approved_rows_of_the_training_part(model, booster, training_part):
    baseline = model.manifest.baseline
    approved = training_part[model.predict(training_part) < model.thresholds.review]
    assert (baseline.rows, baseline.approved) == (SAMPLE_ROWS, len(approved))
    assert baseline.approved < len(training_part)
    sample = approved[np.linspace(0, len(approved) - 1, SAMPLE_ROWS).astype(np.int64)]
    assert baseline.margin == pytest.approx(margins(booster, sample).astype(np.float64).mean(), abs=EXACT)
    np.testing.assert_allclose(baseline.contributions, shap(booster, sample)[:, :-1].mean(axis=0), atol=EXACT)
    # Of the trees' own probabilities the same rows are below some threshold: calibration keeps their order.
    raw = model.raw(training_part)
    assert baseline_of(booster, training_part, float(np.sort(raw)[len(approved)])) == baseline


def test_where_nothing_is_approved_all_rows_are_the_baseline(booster, training_part):
    few = training_part[:100]
    baseline = baseline_of(booster, few, review=0.0)
    assert (baseline.rows, baseline.approved) == (100, 100)
    assert baseline.margin == pytest.approx(margins(booster, few).mean(), abs=EXACT)


def test_an_older_manifest_measures_against_the_training_rows(folder, model, rows, booster, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "model")
    manifest = json.loads((copy / "manifest.json").read_text())
    del manifest["baseline"]
    (copy / "manifest.json").write_text(json.dumps(manifest))
    older = Model.load(copy)
    assert older.version != model.version, "other reasons are another version"
    np.testing.assert_allclose(older.contributions(rows[:50]), shap(booster, rows[:50]), atol=EXACT)


def test_where_the_tables_do_not_serve_xgboost_is_asked(folder, model, rows, monkeypatch):
    monkeypatch.setattr("scoring.model.shapley_of", lambda *_: None)
    asked = Model.load(folder)
    np.testing.assert_allclose(asked.contributions(rows[:50]), model.contributions(rows[:50]), atol=EXACT)
    assert not np.array_equal(asked.contributions(rows[:50]), model.contributions(rows[:50])), "in another precision"


@pytest.mark.parametrize("numbers", [[0.5], [None] * SIZE, ["much"] * SIZE])
def test_a_baseline_that_does_not_fit_is_refused(folder, tmp_path, numbers):
    copy = shutil.copytree(folder, tmp_path / "model")
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["baseline"]["contributions"] = numbers
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match=r"FRAUD_MODEL: .*(baseline|manifest)"):
        Model.load(copy)


def test_the_baseline_survives_the_manifest(model):
    again = msgspec.json.decode(msgspec.json.encode(model.manifest), type=type(model.manifest))
    assert again.baseline == model.manifest.baseline
