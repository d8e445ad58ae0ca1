"""Champion and challenger: counted as a plain loop counts, and judged where the answer is known."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console
from sklearn.metrics import average_precision_score

from features.errors import HistoryError
from lifecycle.shadow import compare
from lifecycle.shadow_view import html, render, verdict
from tests.lifecycle.conftest import labels_of, traffic


@pytest.fixture(scope="module")
def rows(story):
    return story.days(112, 140)


@pytest.fixture(scope="module")
def found(rows, champion, challenger):
    seen = traffic(rows, champion, challenger)
    return compare(seen, labels_of(rows), champion.version, challenger.version, seed=1)


def test_flips_and_verdicts_are_those_of_a_plain_loop(rows, champion, challenger, found):
    seen = traffic(rows, champion, challenger)

    up = down = value = 0
    for one, two, amount in zip(seen.verdict, seen.shadow_verdict, seen.amount_minor, strict=True):
        up += one == 0 < two
        value += amount * (one == 0 < two)
        down += two == 0 < one
    (flips,) = found.flips
    assert (flips.caught_more, flips.let_through) == (up, down)
    assert flips.caught_more_amount == pytest.approx(value / 100)
    assert np.sum(found.verdicts) == found.rows == len(rows)
    assert found.agreement == pytest.approx(np.mean(seen.verdict == seen.shadow_verdict))


def test_the_challenger_that_knows_the_new_attacks_is_better_with_significance(rows, champion, challenger, found):
    seen, known, found = traffic(rows, champion, challenger), labels_of(rows), found.judgement

    wanted = average_precision_score(known, seen.shadow_probability) - average_precision_score(known, seen.probability)
    assert found.average_precision.value == pytest.approx(wanted)
    assert found.average_precision.p < 0.05
    assert found.p_frauds < 0.001
    assert found.challenger.recall_by_position[1] > found.champion.recall_by_position[1]
    assert verdict(found).startswith("The challenger is better")


def test_a_canarys_cards_are_counted_for_the_right_model(rows, champion, challenger, found):
    turned = traffic(rows, challenger, champion)

    assert compare(turned, labels_of(rows), champion.version, challenger.version, seed=1) == found


def test_a_model_against_itself_differs_in_nothing(rows, champion):
    seen = traffic(rows, champion, champion)

    found = compare(seen, labels_of(rows), champion.version, champion.version, seed=1)

    assert found.agreement == 1
    assert found.flips == ()
    assert found.judgement.average_precision.p == 1
    assert verdict(found.judgement).startswith("No difference")


@pytest.mark.parametrize("only", [-1, 0])
def test_without_both_kinds_of_answers_there_is_no_judgement(only, rows, champion, challenger):
    seen = traffic(rows, champion, challenger)

    found = compare(seen, np.full(len(seen), only), champion.version, challenger.version, seed=1)

    assert found.judgement is None
    assert "performance needs both" in found.remarks[-1]
    assert "performance needs both" in html(found)


def test_outcomes_that_nobody_answered_twice_name_who_did(rows, champion):
    with pytest.raises(HistoryError, match="set FRAUD_CHALLENGER"):
        compare(traffic(rows, champion), labels_of(rows), champion.version, "xgb-other", seed=1)


def test_the_report_shows_both_models_and_the_tests(champion, challenger, found):
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(render(found))

    for text in (console.export_text(), html(found)):
        assert champion.version in text
        assert challenger.version in text
        assert "McNemar" in text
        assert "DeLong" in text
