"""The reference beside a model: histograms that say what the rows were."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from features.catalogue import FEATURE_NAMES
from features.errors import ModelError
from scoring.reference import (
    REFERENCE_FILE,
    SCORE,
    count,
    histogram,
    load_reference,
    reference_of,
    write_reference,
)

WEEK_MS = 604_800_000


@given(hnp.arrays(np.float64, st.integers(1, 300), elements=st.floats(-1e9, 1e9, allow_nan=False) | st.just(np.nan)))
def test_every_value_is_in_one_bin_or_missing(values):
    found = histogram(values)
    there = values[~np.isnan(values)]

    assert found.rows + found.missing == len(values)
    assert found.missing == np.isnan(values).sum()
    assert list(found.edges) == sorted(set(found.edges))
    assert tuple(count(there, np.array(found.edges)).tolist()) == found.counts


def test_bins_weigh_about_the_same_where_values_are_many():
    found = histogram(np.random.default_rng(1).normal(size=50_000))

    assert len(found.counts) == 100
    assert max(found.counts) < 1.05 * min(found.counts)


def test_training_leaves_a_reference_that_can_be_read(folder, model):
    reference = load_reference(folder)

    assert set(reference.columns) == {*FEATURE_NAMES, SCORE}
    assert all(one.missing == 0 for one in reference.columns.values())
    assert reference.rows <= model.manifest.split.train.rows


def test_the_first_week_is_left_out_for_its_windows_are_not_full():
    time_ms = np.arange(0, 4 * WEEK_MS, WEEK_MS // 100)
    features = np.repeat((time_ms >= WEEK_MS).astype(float)[:, None], len(FEATURE_NAMES), axis=1)

    found = reference_of(features, np.zeros(5), time_ms=time_ms)

    assert found.rows == 300
    assert found.columns["amount"].counts == (300,)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "train the model anew"),
        (b"{}", "is no reference"),
        (b'{"format":1,"rows":1,"columns":{}}', "another catalogue"),
        (b"\xff", "is no reference"),
    ],
)
def test_what_is_no_reference_is_refused(content, said, tmp_path):
    if content is not None:
        (tmp_path / REFERENCE_FILE).write_bytes(content)

    with pytest.raises(ModelError, match=said):
        load_reference(tmp_path)


def test_counts_that_do_not_fit_their_edges_are_refused(tmp_path):
    write_reference(tmp_path, reference_of(np.ones((9, len(FEATURE_NAMES))), np.ones(9)))
    file = tmp_path / REFERENCE_FILE
    file.write_bytes(file.read_bytes().replace(b'"counts":[9]', b'"counts":[4,5]', 1))

    with pytest.raises(ModelError, match="2 counts for 0 edges"):
        load_reference(tmp_path)
