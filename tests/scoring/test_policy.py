"""One policy for a whole batch: model, rules, challenger; against a loop that decides row by row."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from features.catalogue import FEATURE_NAMES, FEATURES
from features.decode import Decoder
from scoring.decision import decide
from scoring.manifest import Costs, Thresholds
from scoring.policy import Batch, Policy, is_chosen, judge
from scoring.rules.load import load_rules

LIMITS = Thresholds(0.25, 0.75)
AMOUNT = FEATURE_NAMES.index("amount")


class Plain:
    """A model of one feature: whatever `judge` needs of one, and a result that the eye can check."""

    def __init__(self, version: str, factor: float, thresholds: Thresholds = LIMITS) -> None:
        self.version, self.factor, self.thresholds = version, factor, thresholds

    def predict(self, x):
        return np.minimum(x[:, AMOUNT] * self.factor, 1).astype(np.float32)


def batch_of(amounts: list[float]) -> Batch:
    decoder = Decoder(None)
    transactions = [
        decoder.decode(
            b'{"transaction_id":"t%d","card_id":"c%d","amount":%.2f,"currency":"EUR","event_time":1}' % (i, i, amount)
        )
        for i, amount in enumerate(amounts)
    ]
    x = np.zeros((len(amounts), len(FEATURES)), np.float32)
    x[:, AMOUNT] = amounts
    minor = np.array([t.amount_minor for t in transactions])
    return Batch(transactions, x, minor, np.full(len(amounts), 1))


@pytest.fixture
def rules(tmp_path):
    def make(text: str):
        (tmp_path / "rules.yaml").write_text(text)
        return load_rules(tmp_path / "rules.yaml")

    return make


AMOUNTS = st.lists(st.integers(1, 10_000).map(lambda cents: cents / 100), min_size=1, max_size=60)
SHARES = st.sampled_from([0.0, 0.3, 1.0])


@settings(deadline=None)
@given(AMOUNTS, SHARES, SHARES)
def test_each_row_is_decided_by_one_model_and_the_other_stands_beside_it(amounts, shadow_share, canary_share):
    champion, challenger = Plain("one", 0.01), Plain("two", 0.02)
    batch = batch_of(amounts)

    judged = judge(Policy(champion, None, challenger, shadow_share, canary_share), batch, {})

    for row, transaction in enumerate(batch.transactions):
        canary = is_chosen("canary", transaction.card_id, canary_share)
        sampled = is_chosen("shadow", transaction.transaction_id, shadow_share)
        deciding, other = (challenger, champion) if canary else (champion, challenger)
        probability = deciding.predict(batch.x[row : row + 1])
        (score,), (verdict,) = decide(probability, deciding.thresholds)
        assert (judged.outcomes[row], judged.said.score[row]) == (verdict, score)
        assert judged.said.probability[row] == probability[0]
        assert (judged.canary is not None and bool(judged.canary[row])) == canary
        assert (row in judged.shadows) == (canary or sampled)
        if row in judged.shadows:
            (score,), (verdict,) = decide(other.predict(batch.x[row : row + 1]), other.thresholds)
            shadow = judged.shadows[row]
            assert (shadow.model, shadow.score, shadow.outcome) == (other.version, score, verdict)
            assert shadow.rules is UNSET


def test_a_rule_overrules_the_model_and_a_shadow_rule_stands_beside_the_challenger(rules):
    policy = Policy(
        Plain("one", 0.01),
        rules(
            "rules:\n"
            "  - {id: small, when: amount < 50, outcome: block, reason: r}\n"
            "  - {id: seen, when: score > 500, outcome: block, reason: r, shadow: true}\n"
        ),
        Plain("two", 0.02),
        shadow_share=1.0,
    )

    judged = judge(policy, batch_of([40, 60, 90]), {})

    assert judged.outcomes == ["block", "review", "block"]
    assert judged.rule_ids() == ["small", None, None]
    assert [judged.told(row) and judged.told(row).code for row in range(3)] == ["rule:small", None, None]
    assert [judged.shadows[row].rules for row in range(3)] == [UNSET, ("seen",), ("seen",)]
    # 0.8 of single precision lies below 0.8.
    assert [judged.shadows[row].score for row in range(3)] == [799, 1000, 1000]


def test_the_thresholds_of_the_rules_come_before_the_models(rules):
    text = "thresholds: {review: 0.1, block: 0.2}\n"
    batch = batch_of([15, 40])

    assert judge(Policy(Plain("one", 0.01)), batch, {}).outcomes == ["approve", "review"]
    assert judge(Policy(Plain("one", 0.01), rules(text)), batch, {}).outcomes == ["review", "block"]


def test_thresholds_by_cost_look_at_the_amount_and_its_currency():
    limits = Thresholds(0.5, 0.5, costs=Costs(review=3, decline=60, rates={"EUR": 10.0}))

    judged = judge(Policy(Plain("one", 0.001, limits)), batch_of([5, 50, 1]), {})

    # Of 50 EUR at 0.05: 25 to lose of the costs' currency, 3 for a review, 57 for a wrong decline.
    assert judged.outcomes == ["approve", "review", "approve"]


def test_a_smaller_share_is_part_of_a_larger_one():
    names = [f"card-{i}" for i in range(3_000)]
    small = {name for name in names if is_chosen("canary", name, 0.05)}
    large = {name for name in names if is_chosen("canary", name, 0.2)}

    assert small < large
    assert 90 < len(small) < 220
    assert small != {name for name in names if is_chosen("shadow", name, 0.05)}
