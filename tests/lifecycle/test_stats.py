"""The statistics against other sources: scipy, scikit-learn, and plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, ks_2samp, rankdata
from sklearn.metrics import average_precision_score, roc_auc_score

from lifecycle.stats import (
    average_precision,
    bootstrap_difference,
    delong,
    ks,
    mcnemar,
    midranks,
    psi,
    surge,
)

COUNTS = st.lists(st.integers(0, 1000), min_size=2, max_size=40)


@given(COUNTS)
def test_a_histogram_has_not_drifted_from_itself(counts):
    histogram = np.array(counts)

    assert psi(histogram, histogram) == pytest.approx(0, abs=1e-12)
    assert ks(histogram, histogram) == 0


@given(COUNTS, st.randoms(use_true_random=False))
def test_drift_is_finite_and_never_negative(counts, random):
    before, now = np.array(counts), np.array(random.sample(counts, len(counts)))

    assert 0 <= psi(before, now) < 100
    assert 0 <= ks(before, now) <= 1


def test_the_distance_is_that_of_scipy_where_the_bins_tell_all_values_apart():
    rng = np.random.default_rng(1)
    before, now = rng.integers(30, size=4000), rng.integers(5, 30, size=3000)

    found = ks(np.bincount(before, minlength=30), np.bincount(now, minlength=30))

    assert found == pytest.approx(ks_2samp(before, now).statistic)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), min_size=2, max_size=60))
def test_average_precision_is_that_of_scikit_learn(rows):
    fraud = np.array([True, *(label for label, _ in rows)])
    probability = np.array([0.5, *(value / 10 for _, value in rows)])

    assert average_precision(fraud, probability) == pytest.approx(average_precision_score(fraud, probability))


def test_weights_count_rows_so_often():
    rng = np.random.default_rng(2)
    fraud, probability, times = rng.random(200) < 0.2, rng.random(200).round(1), rng.integers(1, 4, size=200)

    repeated = average_precision(np.repeat(fraud, times), np.repeat(probability, times))

    assert average_precision(fraud, probability, times.astype(float)) == pytest.approx(repeated)


@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_is_the_exact_binomial_test(one, two):
    wanted = binomtest(one, one + two).pvalue if one + two else 1.0

    assert mcnemar(one, two) == pytest.approx(wanted, rel=1e-6, abs=1e-12)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30))
def test_midranks_are_those_of_scipy(values):
    assert midranks(np.array(values, float)).tolist() == rankdata(values).tolist()


def naive_delong(fraud, one, two):
    """The structural components by a double loop."""
    parts = []
    for said in (one, two):
        wins = [[(a > b) + 0.5 * (a == b) for b in said[~fraud]] for a in said[fraud]]
        parts.append((np.mean(wins, axis=1), np.mean(wins, axis=0)))
    covariances = [np.cov(np.vstack([a, b])) / len(a) for a, b in zip(*parts, strict=True)]
    total = sum(c[0, 0] + c[1, 1] - 2 * c[0, 1] for c in covariances)
    return parts[1][0].mean() - parts[0][0].mean(), math.sqrt(total)


def test_delong_is_what_a_double_loop_gives():
    rng = np.random.default_rng(3)
    fraud = rng.random(150) < 0.3
    one, two = (np.round(rng.random(150) + strength * fraud, 1) for strength in (0.2, 0.5))

    found = delong(fraud, one, two)
    difference, error = naive_delong(fraud, one, two)

    assert found.value == pytest.approx(difference)
    assert found.value == pytest.approx(roc_auc_score(fraud, two) - roc_auc_score(fraud, one))
    assert found.high - found.low == pytest.approx(2 * 1.96 * error)
    assert found.p == pytest.approx(math.erfc(abs(difference) / error / math.sqrt(2)))


def drawn(rng, strength, cards=300, each=10):
    card = np.repeat(np.arange(cards), each)
    fraud = np.repeat(rng.random(cards) < 0.1, each)
    return card, fraud, rng.random(len(card)) + strength * fraud


def test_the_bootstrap_tells_a_better_model_from_one_that_is_as_good():
    rng = np.random.default_rng(4)
    card, fraud, one = drawn(rng, 0.3)
    same, better = one + rng.normal(0, 1e-3, len(one)), one + 0.4 * fraud

    none, clear = (bootstrap_difference(fraud, one, other, card, seed=1) for other in (same, better))

    assert none.p > 0.05
    assert none.low <= 0 <= none.high
    assert clear.p < 0.01
    assert 0 < clear.low <= clear.value <= clear.high
    assert clear == bootstrap_difference(fraud, one, better, card, seed=1)


def test_a_surge_of_many_cards_is_found_where_the_indices_see_nothing():
    rng = np.random.default_rng(5)
    edges = np.arange(1, 100) / 100
    before = np.full(100, 1000)
    bins = np.concatenate((rng.integers(100, size=20_000), np.full(500, 42)))
    now = np.bincount(bins, minlength=100)

    found = surge(edges, before, bins, rng.integers(2000, size=len(bins)))

    assert psi(before, now) < 0.05
    assert ks(before, now) < 0.05
    assert found is not None
    assert (found.low, found.high) == (0.42, 0.43)
    assert found.now > 3 * found.before


def test_one_card_that_does_the_same_all_week_is_no_surge():
    rng = np.random.default_rng(6)
    bins = np.concatenate((rng.integers(100, size=20_000), np.full(500, 42)))
    card = np.concatenate((rng.integers(2000, size=20_000), np.zeros(500, np.int64)))

    assert surge(np.arange(1, 100) / 100, np.full(100, 1000), bins, card) is None
