"""The demo says so when anything does not add up."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from local.demo_play import CARD_NUMBER_ID, HOSTILE, Sent
from local.demo_report import Burst, Findings, problems, summary
from local.demo_watch import Answer, Fraud
from local.traffic import scenario


def answer(transaction_id: str, card_id: str, outcome: str = "approve") -> Answer:
    return Answer(transaction_id, card_id, Fraud(outcome, latency_ms=3, score=0), received_s=1.0)


@pytest.fixture
def good() -> Findings:
    """A demo in which everything went as it must."""
    script = scenario(1_790_000_000_000, 7, background=50, attacks=2)
    answers = {}
    for planned in script:
        fields = planned.event.transaction
        outcome = "block" if planned.expected == "flagged" else "approve"
        answers[fields["transaction_id"]] = answer(fields["transaction_id"], fields["card_id"], outcome)
    answers[CARD_NUMBER_ID] = answer(CARD_NUMBER_ID, "tok_abc")
    sent = Sent()
    sent.at_s = dict.fromkeys(answers, 0.0)
    sent.hostile = len(HOSTILE)
    letters = [reason for reason, _ in HOSTILE]
    return Findings(script, sent, answers, 0, letters, len(answers), Burst(frozenset(), 1.0))


def test_a_good_run_has_no_problems_and_a_table_that_says_what_was_caught(good):
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(summary(good))

    assert problems(good) == []
    assert "2 of 2: 2 at transaction 2" in console.export_text()


def test_a_missing_outcome_is_a_problem(good):
    lost = next(one for one in good.script if one.part == "background").event.transaction["transaction_id"]
    answers = {key: value for key, value in good.answers.items() if key != lost}

    (line,) = problems(replace(good, answers=answers, indexed=len(answers)))

    assert "1 transactions have no outcome" in line
    assert lost in line


def test_an_outcome_of_no_transaction_is_a_problem(good):
    answers = {**good.answers, "invented": answer("invented", "card")}

    (line,) = problems(replace(good, answers=answers, indexed=len(answers)))

    assert "invented" in line


@pytest.mark.parametrize("difference", [-1, 1])
def test_a_document_too_few_or_too_many_is_a_problem(good, difference):
    (line,) = problems(replace(good, indexed=good.indexed + difference))

    assert "documents are indexed" in line


def test_a_dead_letter_that_is_missing_or_has_another_reason_is_a_problem(good):
    assert "dead letters" in problems(replace(good, letters=good.letters[1:]))[0]
    assert "dead letters" in problems(replace(good, letters=["poison", *good.letters[1:]]))[0]


def test_a_card_number_in_an_outcome_is_a_problem(good):
    good.answers[CARD_NUMBER_ID].card_id = "4111 1111 1111 1111"

    assert problems(good) == ["a card number was not tokenised"]


@pytest.mark.parametrize(
    ("part", "expected", "outcome"), [("attack", "flagged", "approve"), ("one-off", "approve", "block")]
)
def test_a_verdict_other_than_the_expected_one_is_a_problem(good, part, expected, outcome):
    planned = next(one for one in good.script if (one.part, one.expected) == (part, expected))
    good.answers[planned.event.transaction["transaction_id"]].fraud.outcome = outcome

    (line,) = problems(good)

    assert f"{outcome}, not {expected}" in line
