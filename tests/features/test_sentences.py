"""Every feature has a sentence for every value it can have."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.catalogue import FEATURE_NAMES, FEATURES
from features.sentences import NOT_KNOWN, sentence

KNOWN = {
    "num_trans_last_10m": 6, "num_trans_last_1w": 10, "avg_amt_last_10m": 12.5, "avg_amt_last_1w": 9.25,
    "amt_ratio1": 1.3513, "amt_ratio2": 4.2, "count_ratio": 0.6, "amount": 38.85, "secs_since_last": 45.0,
    "prev_amt": 2, "min_amt_last_10m": 0.007, "max_amt_last_10m": 38.85, "max_amt_last_1w": 12500,
    "hour_of_day": 23, "num_countries_last_10m": 2, "num_mccs_last_10m": 1,
}  # fmt: skip

SAID = {
    "num_trans_last_10m": "6 transactions in the last 10 minutes; this card had 4 in the rest of the week",
    "num_trans_last_1w": "10 transactions in the last week, 6 of them in the last 10 minutes",
    "avg_amt_last_10m": "an average of 12.50 per transaction in the last 10 minutes; 9.25 over the week",
    "avg_amt_last_1w": "an average of 9.25 per transaction in the last week",
    "amt_ratio1": "amounts of the last 10 minutes average 12.50: 1.35 times the week's 9.25",
    "amt_ratio2": "the amount of 38.85 is 4.20 times the card's average of the week, 9.25",
    "count_ratio": "6 transactions in the last 10 minutes: 60 % of the week's",
    "amount": "the amount is 38.85",
    "secs_since_last": "45 seconds after the card's last transaction",
    "prev_amt": "the card's last transaction was 2",
    "min_amt_last_10m": "the smallest amount of the last 10 minutes is 0.007",
    "max_amt_last_10m": "the largest amount of the last 10 minutes is 38.85",
    "max_amt_last_1w": "the largest amount of the last week is 12,500",
    "hour_of_day": "the transaction was made between 23:00 and 00:00 UTC",
    "num_countries_last_10m": "2 countries in the last 10 minutes",
    "num_mccs_last_10m": "1 merchant category in the last 10 minutes",
}


def said(name, **values):
    row = [float((KNOWN | values)[one]) for one in FEATURE_NAMES]
    return sentence(FEATURE_NAMES.index(name), row)


@pytest.mark.parametrize("name", FEATURE_NAMES)
def test_a_sentence_tells_the_values_behind_it(name):
    assert said(name) == SAID[name]


def test_of_one_it_is_one():
    once = said("num_trans_last_10m", num_trans_last_10m=1, num_trans_last_1w=1)
    assert once == "1 transaction in the last 10 minutes; this card had none in the rest of the week"
    assert said("num_countries_last_10m", num_countries_last_10m=1) == "1 country in the last 10 minutes"


def test_values_that_mean_none_say_so():
    assert said("secs_since_last", secs_since_last=604_800) == "no other transaction of the card in the last week"
    assert said("prev_amt", prev_amt=0) == "no earlier amount of the card in the last week"
    assert said("num_mccs_last_10m", num_mccs_last_10m=0) == "no merchant category is known of the last 10 minutes"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_none_is_called_unknown(value):
    for feature in FEATURES:
        assert said(feature.name, **{feature.name: value}).startswith("not known: ")
    assert said("amt_ratio2", amount=value).startswith(f"the amount of {NOT_KNOWN} is 4.20 times")


@given(st.lists(st.floats(0, 1e15) | st.just(math.nan), min_size=len(FEATURES), max_size=len(FEATURES)))
def test_any_row_has_sentences_without_gaps(row):
    for column in range(len(FEATURES)):
        text = sentence(column, row)
        assert text
        assert text == text.strip()
        assert not re.search(r"[{}]|nan|inf\b|  |\d[eE]", text), text
