"""A backtest over outcomes in OpenSearch sees what was decided, with the values of then."""

from __future__ import annotations

import json

import pytest

from features.catalogue import FEATURE_NAMES, FEATURE_SET
from scoring.rules.backtest import Candidate, run_backtest
from scoring.rules.history_rows import Wanted
from scoring.rules.load import load_rules
from sinks.documents import INDEX_ALIAS
from sinks.index_template import setup_index
from streams.past_outcomes import outcome_batches
from tests.fraudstream.test_cli import run

RULES = """
rules:
  - {id: large, when: "amount > 100 AND country = 'NO' AND day_of_week = 4", outcome: block, reason: r}
  - {id: likely, when: "score >= 500 AND amount_minor > 50", outcome: review, reason: r}
"""
DAY_MS = 86_400_000
FIRST_MS = 1_767_225_600_000  # 2026-01-01, a Thursday


@pytest.fixture
def stored(opensearch_client, unique):
    """Outcomes of two days, a reversal and one of another feature set."""
    setup_index(opensearch_client, unique)
    for number in range(10):
        features = dict.fromkeys(FEATURE_NAMES, 1.0) | {"amount": 20.0 * number}
        body = {
            "transaction_id": f"tx-{number}", "card_id": "c", "type": "authorization", "amount": 20.0 * number,
            "amount_minor": 2000 * number, "currency": "EUR", "country": "NO" if number % 2 else None,
            "event_time": f"2026-01-0{1 + number % 2}T10:00:00.000Z",
            "fraud": {"score": 100 * number, "probability": number / 10, "outcome": "approve", "features": features,
                      "feature_set": FEATURE_SET},
        }  # fmt: skip
        if number == 8:
            body |= {"type": "reversal"}
        if number == 9:
            body["fraud"] |= {"feature_set": "fs-other"}
        index = f"{unique}{INDEX_ALIAS}-2026.01.0{1 + number % 2}"
        opensearch_client.index(index=index, id=str(number), body=body, params={"refresh": "true"})
    return unique


def test_the_report_counts_what_is_there(opensearch_client, stored, tmp_path, model_dir, servers):
    (tmp_path / "rules.yaml").write_text(RULES)
    side = Candidate("new", load_rules(tmp_path / "rules.yaml"))
    wanted = Wanted(side.columns, side.texts)
    from scoring.model import Model

    limits = Model.load(model_dir).thresholds
    batches = outcome_batches(opensearch_client, stored, wanted, FIRST_MS, FIRST_MS + 2 * DAY_MS)
    report = run_backtest(batches, side, Candidate("none", None), limits)

    assert not report.labelled
    assert report.total.count == 8
    assert [day.new["approve"].count + day.new["review"].count + day.new["block"].count for day in report.days] == [
        4,
        4,
    ]
    hits = {line.id: line.hits.count for line in report.new.rules}
    # Odd ones are of Friday 2 January, so none is large on a Thursday; of 0 to 7 the score is 500 from 5 on.
    assert hits == {"large": 0, "likely": 3}
    first = outcome_batches(opensearch_client, stored, wanted, FIRST_MS, FIRST_MS + DAY_MS)
    assert sum(len(batch.amount) for batch in first) == 4

    for number, is_fraud in ((7, 1), (6, 0)):
        index = f"{stored}{INDEX_ALIAS}-2026.01.0{1 + number % 2}"
        label = {"doc": {"label": {"is_fraud": is_fraud}}}
        opensearch_client.update(index=index, id=str(number), body=label, params={"refresh": "true"})
    until_ms = FIRST_MS + 2 * DAY_MS
    told = run_backtest(
        outcome_batches(opensearch_client, stored, wanted, FIRST_MS, until_ms), side, Candidate("none", None), limits
    )
    assert told.labelled
    assert (told.total.count, told.total.frauds) == (8, 1)
    assert {line.id: line.hits.frauds for line in told.new.rules} == {"large": 0, "likely": 1}
    known = outcome_batches(opensearch_client, stored, wanted, FIRST_MS, until_ms, labelled=True)
    assert [batch.fraud.tolist().count(True) / len(batch.fraud) for batch in known] == [0.5]

    variables = {**servers.env(), "FRAUD_INDEX_PREFIX": stored, "FRAUD_MODEL": str(model_dir)}
    span = ("--outcomes", "2026-01-01T00:00:00Z", "2026-01-03T00:00:00Z")
    done = run(tmp_path, "backtest", "--rules", "rules.yaml", *span, "--json", **variables)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["total"]["count"] == 8
    refused = run(tmp_path, "backtest", "--rules", "rules.yaml", "--outcomes", "soon", "later", **variables)
    assert refused.returncode == 78
    neither = run(tmp_path, "backtest", "--rules", "rules.yaml", **variables)
    assert "either --history or --outcomes" in neither.stderr
