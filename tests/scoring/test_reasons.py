"""Reasons of flagged transactions."""

from __future__ import annotations

import numpy as np

from features.catalogue import FEATURE_NAMES, FEATURES
from scoring.decision import decide
from scoring.reasons import MOST_REASONS, explain

SIZE = len(FEATURE_NAMES)


def weights(**of):
    row = np.zeros((1, SIZE + 1), np.float32)
    for name, weight in of.items():
        row[0, FEATURE_NAMES.index(name)] = weight
    row[0, -1] = 9.0  # the average is nobody's reason
    return row


def values(**of):
    row = np.full((1, SIZE), 7.0)
    for name, value in of.items():
        row[0, FEATURE_NAMES.index(name)] = value
    return row


def test_the_weightiest_come_first_and_nothing_that_speaks_against():
    [reasons] = explain(weights(amount=0.5, num_trans_last_10m=2.0, prev_amt=-3.0), values())
    assert [reason.feature for reason in reasons] == ["num_trans_last_10m", "amount"]


def test_at_most_so_many():
    [reasons] = explain(np.ones((1, SIZE + 1), np.float32), values())
    assert [reason.feature for reason in reasons] == list(FEATURE_NAMES[:MOST_REASONS])


def test_values_are_exact_and_of_the_features_type():
    [reasons] = explain(
        weights(num_trans_last_10m=2, secs_since_last=1), values(num_trans_last_10m=3, secs_since_last=0.1 + 0.2)
    )
    count, gap = reasons
    assert (count.value, type(count.value)) == (3, int)
    assert (gap.value, type(gap.value)) == (0.30000000000000004, float)
    assert count.text == "3 transactions in the last 10 minutes"
    assert gap.text == "0.3 seconds after the card's last transaction"
    assert count.code == next(f.code for f in FEATURES if f.name == "num_trans_last_10m")


def test_no_rows_no_reasons():
    assert explain(np.empty((0, SIZE + 1), np.float32), np.empty((0, SIZE))) == []


def test_every_flagged_transaction_has_a_reason(model, rows):
    _, verdicts = decide(model.predict(rows), model.thresholds)
    flagged = rows[[verdict != "approve" for verdict in verdicts]]
    reasons = explain(model.contributions(flagged), flagged)
    assert len(flagged) > 100
    assert all(reasons)
    assert all(reason.value == row[FEATURE_NAMES.index(reason.feature)]
               for row, found in zip(flagged, reasons, strict=True) for reason in found)  # fmt: skip
