"""Reasons of flagged transactions."""

from __future__ import annotations

import json
import math

import msgspec
import numpy as np
import pytest

from features.catalogue import FEATURE_NAMES, FEATURES
from features.transaction import Transaction
from scoring.decision import decide
from scoring.reasons import MOST_REASONS, Reason, explain, rule_reason
from scoring.rules.load import load_rules

SIZE = len(FEATURE_NAMES)


def weights(**of):
    row = np.zeros((1, SIZE + 1))
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
    [reasons] = explain(np.ones((1, SIZE + 1)), values())
    assert [reason.feature for reason in reasons] == list(FEATURE_NAMES[:MOST_REASONS])


def test_values_are_exact_and_of_the_features_type():
    [reasons] = explain(
        weights(num_trans_last_10m=2, secs_since_last=1), values(num_trans_last_10m=3, secs_since_last=0.1 + 0.2)
    )
    count, gap = reasons
    assert (count.value, type(count.value)) == (3, int)
    assert (gap.value, type(gap.value)) == (0.30000000000000004, float)
    assert count.text == "3 transactions in the last 10 minutes; this card had 4 in the rest of the week"
    assert gap.text == "0.3 seconds after the card's last transaction"
    assert (count.contribution, gap.contribution) == (2.0, 1.0)
    assert count.code == next(f.code for f in FEATURES if f.name == "num_trans_last_10m")


def test_no_rows_no_reasons():
    assert explain(np.empty((0, SIZE + 1)), np.empty((0, SIZE))) == []


def test_every_flagged_transaction_has_a_reason(model, rows):
    _, verdicts = decide(model.predict(rows), model.thresholds)
    flagged = rows[[verdict != "approve" for verdict in verdicts]]
    reasons = explain(model.contributions(flagged), flagged)
    assert len(flagged) > 100
    assert all(reasons)
    assert all(reason.value == row[FEATURE_NAMES.index(reason.feature)]
               for row, found in zip(flagged, reasons, strict=True) for reason in found)  # fmt: skip


PAID = Transaction(
    "t-1",
    "c-1",
    81_250,
    "EUR",
    2,
    1_767_323_045_678,
    merchant_category="7995",
    country="DE",
    email="someone@example.org",
)


def test_the_deciding_rule_comes_first_with_the_values_that_it_names():
    rule = rule_reason("risky", "a large amount in a risky category", {"amount", "merchant_category", "model_outcome"})
    [[first, second]] = explain(weights(prev_amt=1.0), values(amount=812.5), [rule], [PAID])
    assert first == Reason(
        "rule:risky",
        "a large amount in a risky category (the amount is 812.50; merchant category 7995)",
        "amount",
        812.5,
    )
    assert second.feature == "prev_amt"


def test_a_rule_that_names_nothing_to_tell_has_neither_feature_nor_value():
    rule = rule_reason("listed", "the card is blocked", {"card_id", "email"})
    [[reason]] = explain(weights(), values(), [rule], [PAID])
    assert reason == Reason("rule:listed", "the card is blocked", None, None)
    assert json.loads(msgspec.json.encode(reason)) == {
        "code": "rule:listed", "text": "the card is blocked", "feature": None, "value": None,
    }  # fmt: skip


def test_a_field_that_was_not_sent_is_said_to_be_missing():
    rule = rule_reason("abroad", "made elsewhere", {"channel", "country"})
    [[reason]] = explain(weights(), values(), [rule], [PAID])
    assert reason.text == "made elsewhere (country DE; no channel)"


def test_only_the_rows_that_a_rule_decides_name_one():
    rule = rule_reason("one", "because", set())
    both = np.vstack([weights(amount=1.0)] * 2)
    first, second = explain(both, np.vstack([values()] * 2), [None, rule], [PAID, PAID])
    assert [reason.code for reason in first] == ["AMOUNT"]
    assert [reason.code for reason in second] == ["rule:one", "AMOUNT"]


def test_where_nothing_speaks_for_fraud_the_amount_is_at_stake():
    [[reason]] = explain(weights(amount=-1.0), values(amount=50_000.0))
    assert (reason.code, reason.feature, reason.value) == ("AMOUNT_AT_STAKE", "amount", 50_000.0)
    assert reason.text == "the amount is 50,000: much is at stake even where fraud is unlikely"


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_feature_that_is_no_number_is_explained_all_the_same(value):
    both = weights(num_trans_last_10m=2.0, amount=1.0)
    [reasons] = explain(both, values(num_trans_last_10m=value, amount=value))
    assert [reason.value for reason in reasons] == [None, None]
    assert all("not known" in reason.text for reason in reasons)


def test_a_rule_set_has_the_reasons_of_its_rules_ready(tmp_path):
    file = tmp_path / "rules.yaml"
    file.write_text("""
lists:
  risky: {field: merchant_category, values: ["7995"]}
rules:
  - {id: a, when: "amount > 5 AND IN_LIST(merchant_category, 'risky')", outcome: review, reason: risky}
  - {id: b, when: "amount > 5", outcome: review, reason: off, enabled: false}
""")
    told = load_rules(file).told
    assert told == {"a": rule_reason("a", "risky", {"amount", "merchant_category"})}
    [[reason]] = explain(weights(), values(), [told["a"]], [PAID])
    assert reason.text == "risky (the amount is 7; merchant category 7995)"
