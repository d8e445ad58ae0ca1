"""What a model looks at: counted and averaged as a naive loop does, and bad input refused in one line."""

from __future__ import annotations

import json
from itertools import pairwise

import msgspec
import numpy as np
import pytest

from features.catalogue import FEATURE_NAMES
from features.errors import HistoryError
from scoring.charts import Line, bar_plot, line_plot
from scoring.explained_outcome import MOST_BYTES, explain_outcome, told
from scoring.explained_outcome import html as outcome_page
from scoring.explanation import KNOWN_CARD, NEW_CARD, NOT_SENT, explain_history
from scoring.explanation_view import html
from scoring.rules.backtest import Batch
from tests.fraudstream.test_cli import one_line, run

WEEK = FEATURE_NAMES.index("num_trans_last_1w")
AMOUNT = FEATURE_NAMES.index("amount")


def batch(model, x, countries):
    n = len(x)
    texts = {"country": countries, "channel": ["web"] * n, "currency": ["EUR"] * n}
    columns = {name: x[:, place] for place, name in enumerate(FEATURE_NAMES)} | texts
    ids = [f"t-{i}" for i in range(n)]
    return Batch(columns, model.predict(x), x[:, AMOUNT], np.arange(n) % 5 == 0, np.zeros(n, np.int64), ids)


@pytest.fixture(scope="module")
def some(model, rows):
    """Ordinary rows and the most suspicious ones, with what they are made of."""
    order = np.argsort(model.predict(rows))
    x = rows[np.concatenate((order[:: len(order) // 1500], order[-300:]))]
    countries = [None if i % 7 == 0 else "DE" if i % 3 else "FR" for i in range(len(x))]
    return x, countries


@pytest.fixture(scope="module")
def found(model, some):
    x, countries = some
    parts = [slice(0, 700), slice(700, None)]
    return explain_history([batch(model, x[part], countries[part]) for part in parts], model)


def test_importance_is_the_mean_of_what_every_row_says(model, some, found):
    x, _ = some
    contributions = model.contributions(x)[:, :-1]
    flagged = model.predict(x) >= model.thresholds.review
    assert (found.rows, found.sampled) == (len(x), len(x))
    assert found.flagged == found.flagged_sampled == flagged.sum() > 100
    assert found.off < 1e-3
    strengths = [one.strength for one in found.importance]
    assert strengths == sorted(strengths, reverse=True)
    for one in found.importance:
        column = FEATURE_NAMES.index(one.feature)
        assert one.strength == pytest.approx(np.abs(contributions[:, column]).mean())
        assert one.in_flagged == pytest.approx(contributions[flagged, column].mean())


def test_segments_are_counted_as_they_are(model, some, found):
    x, countries = some
    probability = model.predict(x)
    named = [country or NOT_SENT for country in countries]
    ages = [NEW_CARD if one == 1 else KNOWN_CARD for one in x[:, WEEK]]
    bands = ["under 10" if one < 10 else "1,000 and more" if one >= 1000 else "between" for one in x[:, AMOUNT]]
    expected = {"country": named, "channel": ["web"] * len(x), "age": ages, "band": bands}
    seen = 0
    for segment in found.segments:
        here = np.array([name == segment.name for name in expected[segment.dimension]])
        if "to" in segment.name:
            continue
        seen += 1
        assert segment.rows == here.sum()
        assert segment.flagged == (probability[here] >= model.thresholds.review).sum()
        assert segment.frauds == (np.arange(len(x)) % 5 == 0)[here].sum()
        assert segment.probability == pytest.approx(probability[here].astype(np.float64).mean())
        assert all(mean > 0 for _, mean in segment.drivers)
    assert seen >= 7
    for dimension in expected:
        assert sum(one.rows for one in found.segments if one.dimension == dimension) == len(x)


def test_bins_hold_every_row_once_and_their_means(model, some, found):
    x, _ = some
    contributions = model.contributions(x)
    for column, name in enumerate(FEATURE_NAMES):
        bins = found.dependence[name]
        assert sum(one.rows for one in bins) == len(x)
        assert all(one.low <= one.high and one.p10 <= one.p90 for one in bins)
        assert all(one.high < after.low for one, after in pairwise(bins))
        mean = sum(one.mean * one.rows for one in bins) / len(x)
        assert mean == pytest.approx(contributions[:, column].mean(), abs=1e-9)


def test_samples_are_bounded_and_the_same_seed_draws_the_same(model, some):
    x, countries = some
    one, same, other = (explain_history([batch(model, x, countries)], model, rows=200, seed=seed) for seed in (3, 3, 4))
    assert (one.sampled, one.flagged_sampled, one.rows) == (200, 200, len(x))
    assert one == same
    assert one.importance != other.importance


def test_a_history_without_labels_or_flags_is_explained_too(model, some):
    x, countries = some
    calm = x[np.argsort(model.predict(x))[:200]]
    quiet = msgspec.structs.replace(batch(model, calm, countries[:200]), fraud=None)
    found = explain_history([quiet], model)
    assert (found.flagged, found.flagged_sampled) == (0, 0)
    assert {one.in_flagged for one in found.importance} == {None}
    assert {one.frauds for one in found.segments} == {None}
    assert {one.drivers for one in found.segments} == {()}
    assert "<svg" in html(found)
    with pytest.raises(HistoryError, match="no transactions"):
        explain_history([], model)


def test_plots_hold_what_lies_below_zero():
    bars = bar_plot("b", [("up", 2.0), ("down", -1.0), ("none", 0.0)])
    assert bars.count("<rect") == 3
    assert 'width="-' not in bars
    plot = line_plot("l", [Line("one", [0, 1], [-2.0, -1.0])], "x")
    assert "-2" in plot
    heights = [float(pair.split(",")[1]) for pair in plot.split('points="')[1].split('"')[0].split()]
    assert heights[0] > heights[1] > 0


@pytest.fixture(scope="module")
def outcome(model, rows):
    x = rows[np.argsort(model.predict(rows))[-1:]]
    values = [int(v) if v == int(v) else v for v in x[0].tolist()]
    fraud = {
        "outcome": "block", "rule": None, "model": model.version, "probability": float(model.predict(x)[0]),
        "features": dict(zip(FEATURE_NAMES, values, strict=True)),
    }  # fmt: skip
    return {"transaction_id": "t-[bold]<1>", "fraud": fraud}


def test_every_contribution_to_an_outcome_adds_up(model, outcome):
    found = explain_outcome(json.dumps(outcome).encode(), "one.json", model)
    assert {part.feature for part in found.parts} == set(FEATURE_NAMES)
    weights = [abs(part.contribution) for part in found.parts]
    assert weights == sorted(weights, reverse=True)
    assert found.total == pytest.approx(found.log_odds, abs=1e-3)
    assert found.base == pytest.approx(model.manifest.baseline.margin, abs=1e-4)
    assert len(told(found)) == 2
    assert "&lt;1&gt;" in outcome_page(found)
    document = {"_index": "i", "_source": outcome}
    assert explain_outcome(json.dumps(document).encode(), "hit.json", model) == found


def test_another_model_and_a_changed_record_are_told(model, outcome):
    other = {**outcome, "fraud": {**outcome["fraud"], "model": "xgb-other"}}
    assert "another model" in told(explain_outcome(json.dumps(other).encode(), "o", model))[1]
    changed = {**outcome, "fraud": {**outcome["fraud"], "probability": 0.5}}
    assert "was changed" in told(explain_outcome(json.dumps(changed).encode(), "o", model))[1]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "no JSON"),
        (b"\xff{", "no JSON"),
        (b"[]", "no outcome"),
        (b'{"transaction_id": "t"}', "no outcome"),
        (b'{"fraud": {"reversed": "t"}}', "reversal"),
        (b'{"fraud": {"feature_set": "fs-0", "features": {"amount": 1}}}', "lacks num_trans_last_10m.*fs-0"),
        (json.dumps({"fraud": {"features": dict.fromkeys(FEATURE_NAMES, "1")}}).encode(), "is no number"),
        (b" " * (MOST_BYTES + 1), "larger than"),
    ],
)
def test_what_is_no_scored_outcome_is_refused(model, raw, message):
    with pytest.raises(HistoryError, match=f"one.json: .*{message}"):
        explain_outcome(raw, "one.json", model)


def test_the_command_explains_a_history_and_an_outcome(folder, tmp_path, outcome):
    made = run(tmp_path, "generate", "--transactions", "3000", "--cards", "20", "--seed", "5", "--out", "history")
    assert made.returncode == 0, made.stderr
    done = run(tmp_path, "explain", "--model", str(folder), "--history", "history", "--out", "report.html")
    assert done.returncode == 0, done.stderr
    assert "3,000 transactions" in done.stdout
    assert "by channel" in done.stdout
    page = (tmp_path / "report.html").read_text()
    assert page.count("<svg") == len(FEATURE_NAMES) + 2
    assert "http" not in page
    assert "<script" not in page

    (tmp_path / "one.json").write_text(json.dumps(outcome))
    one = run(tmp_path, "explain", "--model", str(folder), "--outcome", "one.json")
    assert one.returncode == 0, one.stderr
    assert "transaction t-[bold]<1>: block" in one.stdout
    assert "difference" in one.stdout

    for words, code, text in (
        ((), 78, "either --history or --outcome"),
        (("--outcome", "one.json", "--features", "t"), 78, "--features belongs to --history"),
        (("--outcome", "none.json"), 65, "cannot read none.json"),
        (("--history", "none"), 65, "none"),
        (("--outcome", "one.json", "--model", "nowhere"), 66, "no model in nowhere"),
    ):
        refused = run(tmp_path, "explain", "--model", str(folder), *words)
        assert refused.returncode == code, refused.stderr
        assert text in one_line(refused.stderr)
