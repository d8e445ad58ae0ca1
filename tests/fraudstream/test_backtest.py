"""Backtest: the same engine as online, row for row, and counts that a naive loop gives too."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.catalogue import FEATURE_NAMES
from features.decode import Decoder
from features.errors import HistoryError
from features.offline import build_table
from local.generator import generate
from scoring.model import Model
from scoring.policy import Batch, Policy, judge
from scoring.rules.backtest import Candidate, decide_batch, run_backtest
from scoring.rules.backtest_view import html, render
from scoring.rules.history_rows import Wanted, history_batches
from scoring.rules.load import load_rules
from tests.fraudstream.test_cli import run

KEY = b"k" * 32
PANS = ("4111111111111111", "5500005555555559", "4012 8888 8888 1881")
RULES = """
mode: {mode}
lists:
  risky: {{field: merchant_category, values: ["7995", "6051"]}}
  shops: {{field: merchant_id, match: prefix, values: ["merchant-1", "M-"]}}
  cards: {{field: card_id, values: [card-0000003]}}
rules:
  - {{id: burst, when: num_trans_last_10m >= 3, outcome: block, reason: r}}
  - {{id: shop, when: "IN_LIST(merchant_id, 'shops') AND amount > 50", outcome: review, reason: r}}
  - {{id: masked, when: "merchant_id LIKE 'M-*%' OR device_id LIKE '%*%'", outcome: review, reason: r}}
  - {{id: risky, when: "IN_LIST(merchant_category, 'risky') AND model_outcome = 'approve'", outcome: review, reason: r}}
  - {{id: card, when: "IN_LIST(card_id, 'cards') OR card_last4 = '1881'", outcome: approve, priority: 1, reason: r}}
  - {{id: minor, when: "amount_minor > 9e4 AND currency <> 'JPY' AND day_of_week IN (1, 7)", outcome: block, reason: r}}
  - {{id: ratio, when: "amount / prev_amt > 20 AND score < 900", outcome: review, reason: r}}
  - {{id: nowhere, when: "channel IS NULL OR country IS NULL", outcome: review, reason: r}}
  - {{id: seen, when: "probability > 0.01 AND event_ms > 0", outcome: block, reason: r, shadow: true}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A history with card numbers, copies, reversals, gaps and long texts, and its feature table."""
    folder = tmp_path_factory.mktemp("backtest")
    generate(6_000, 40, 3, folder / "plain")
    frame = pl.read_parquet(folder / "plain" / "*.parquet").sort("event_time")
    n = np.arange(len(frame))
    card = pl.Series([PANS[i % 3] if i % 7 == 0 else c for i, c in enumerate(frame["card_id"])])
    frame = frame.with_columns(
        card.alias("card_id"),
        pl.Series([f"M-{PANS[0]}" if i % 11 == 0 else m for i, m in enumerate(frame["merchant_id"])]).alias(
            "merchant_id"
        ),
        pl.Series([PANS[i % 3] if i % 13 == 0 else d for i, d in enumerate(frame["device_id"])]).alias("device_id"),
        pl.Series([None if i % 17 == 0 else "x" * 300 if i % 19 == 0 else "EC" for i in n]).alias("channel"),
        pl.Series(["reversal" if i % 23 == 22 else None for i in n], dtype=pl.String).alias("type"),
        frame["transaction_id"].shift(3).fill_null("tx").alias("original_transaction_id"),
    )
    frame = pl.concat([frame, frame[100:140]])
    frame[:2_500].write_parquet(folder / "history-1.parquet")
    (folder / "history").mkdir()
    frame[:2_500].write_parquet(folder / "history" / "1.parquet")
    frame[2_500:].write_parquet(folder / "history" / "2.parquet")
    build_table(folder / "history", folder / "table.parquet", pan_key=KEY)
    return folder


def candidate(folder: Path, mode: str) -> Candidate:
    file = folder / f"{mode}.yaml"
    file.write_text(RULES.format(mode=mode))
    return Candidate(mode, load_rules(file))


def batches(folder: Path, model: Model, *sides: Candidate, rows: int = 700):
    columns = frozenset[str]().union(*(side.columns for side in sides))
    texts = frozenset[str]().union(*(side.texts for side in sides))
    table, history = folder / "table.parquet", folder / "history"
    return history_batches(table, history, model, Wanted(columns, texts), pan_key=KEY, rows=rows)


def every(found: dict[int, tuple[str, ...]], n: int) -> list[tuple[str, ...]]:
    return [found.get(row, ()) for row in range(n)]


def decided_online(folder: Path, model: Model, side: Candidate) -> dict[tuple[str, str, int], tuple[object, ...]]:
    """Every authorization through the decoder and `judge`, some at a time, as the score role does it."""
    policy = Policy(model, side.rules)
    table = pl.read_parquet(folder / "table.parquet")
    features = {}
    for row in table.iter_rows(named=True):
        features.setdefault((row["card_id"], row["transaction_id"]), []).append([row[n] for n in FEATURE_NAMES])
    decoder, records = Decoder(KEY), []
    for line in pl.read_parquet(folder / "history" / "*.parquet").iter_rows(named=True):
        sent = {
            k: v for k, v in line.items() if v is not None and k not in {"is_fraud", "attack_id", "attack_position"}
        }
        sent |= {"amount": str(line["amount"]), "event_time": line["event_time"].isoformat()}
        record = decoder.decode(json.dumps(sent).encode())
        if record.type == "authorization":
            records.append(record)
    found, seen = {}, {}
    for first in range(0, len(records), 97):
        part = records[first : first + 97]
        places = []
        for record in part:
            key = (record.card_id, record.transaction_id)
            seen[key] = seen.get(key, -1) + 1
            places.append((*key, seen[key]))
        x = np.array([features[card, identity][copy] for card, identity, copy in places], np.float64)
        amounts, times = np.array([r.amount_minor for r in part]), np.array([r.event_ms for r in part])
        judged = judge(policy, Batch(part, x, amounts, times), {})
        shadows = {row: shadow.rules for row, shadow in judged.shadows.items()}
        matched = zip(
            judged.rule_ids(), judged.outcomes, judged.decided.matched(), every(shadows, len(part)), strict=True
        )
        found |= dict(zip(places, matched, strict=True))
    return found


@pytest.mark.parametrize("mode", ["first_matched", "all_matched"])
@pytest.mark.parametrize("rows", [700, 100_000])
def test_offline_decides_row_for_row_as_online(folder, model_dir, mode, rows):
    model, side = Model.load(model_dir), candidate(folder, mode)
    expected = decided_online(folder, model, side)

    found, seen = {}, {}
    for batch in batches(folder, model, side, rows=rows):
        level, decided = decide_batch(side, batch, model.thresholds)
        outcomes = [("approve", "review", "block")[place] for place in level.tolist()]
        lines = zip(
            batch.columns["card_id"], batch.transaction_id, decided.rule_ids(), outcomes, decided.matched(),
            every(decided.shadow_matched(), len(outcomes)), strict=True,
        )  # fmt: skip
        for card, identity, *line in lines:
            seen[card, identity] = seen.get((card, identity), -1) + 1
            found[card, identity, seen[card, identity]] = tuple(line)

    assert found == expected
    assert {line[0] for line in found.values()} >= {None, "burst", "shop", "masked", "card", "minor", "nowhere"}


def test_the_report_counts_what_a_loop_counts(folder, model_dir):
    model, new, old = Model.load(model_dir), candidate(folder, "first_matched"), candidate(folder, "all_matched")
    rows = []
    for batch in batches(folder, model, new, old):
        level, decided = decide_batch(new, batch, model.thresholds)
        before, _ = decide_batch(old, batch, model.thresholds)
        rows += zip(
            level.tolist(), before.tolist(), decided.rule_ids(), decided.matched(), batch.amount.tolist(),
            batch.fraud.tolist(), batch.day.tolist(), strict=True,
        )  # fmt: skip

    report = run_backtest(batches(folder, model, new, old), new, old, model.thresholds)

    assert report.labelled
    assert report.total.count == len(rows)
    assert report.total.frauds == sum(r[5] for r in rows) > 0
    for line in report.new.rules:
        if not line.shadow:
            assert line.hits.count == sum(line.id in r[3] for r in rows)
            assert line.hits.frauds == sum(line.id in r[3] and r[5] for r in rows)
        decided = [r for r in rows if r[2] == line.id]
        assert line.decided.count == len(decided)
        assert line.decided.fraud_value == pytest.approx(sum(r[4] for r in decided if r[5]))
        assert line.recall == line.hits.frauds / report.total.frauds
    assert sum(change.sums.count for change in report.changes) == sum(r[0] != r[1] for r in rows)
    assert len(report.examples) == min(50, sum(r[0] != r[1] for r in rows))
    for day in report.days:
        assert day.new["block"].count == sum(r[0] == 2 and r[6] == day.day for r in rows)
        assert day.against["review"].count == sum(r[1] == 1 and r[6] == day.day for r in rows)
    ids = [line.id for line in report.new.rules]
    both = report.new.together[ids.index("shop")][ids.index("nowhere")]
    assert both == sum({"shop", "nowhere"} <= set(r[3]) for r in rows)
    alone = {line.id: line.alone for line in report.new.rules}
    assert alone["shop"] == sum(r[3] == ("shop",) for r in rows) > 0
    assert sum(alone.values()) == sum(len(r[3]) == 1 for r in rows) + alone["seen"]
    page = html(report)
    assert page.count("<svg") == 4
    assert render(report) is not None


def test_rules_on_features_alone_need_no_history(folder, model_dir, tmp_path):
    (tmp_path / "a.yaml").write_text("rules: [{id: a, when: num_trans_last_10m >= 3, outcome: block, reason: r}]")
    side = Candidate("a", load_rules(tmp_path / "a.yaml"))
    model = Model.load(model_dir)

    made = history_batches(
        folder / "table.parquet", tmp_path / "none", model, Wanted(side.columns, side.texts), rows=999
    )
    report = run_backtest(made, side, Candidate("none", None), model.thresholds)

    assert report.total.count == pl.read_parquet(folder / "table.parquet").height
    assert report.new.rules[0].hits.count > 0


def test_a_table_of_another_history_is_refused(folder, model_dir, tmp_path):
    generate(6_040, 40, 4, tmp_path / "other")
    side = candidate(folder, "first_matched")
    wanted = Wanted(side.columns, side.texts)

    with pytest.raises(HistoryError, match="is not the feature table of"):
        list(history_batches(folder / "table.parquet", tmp_path / "other", Model.load(model_dir), wanted, pan_key=KEY))


def test_the_commands(folder, model_dir, tmp_path):
    candidate(folder, "first_matched")
    variables = {"FRAUD_PAN_KEY": KEY.decode(), "FRAUD_MODEL": str(model_dir)}
    rules = str(folder / "first_matched.yaml")

    checked = run(folder, "rules", "check", rules, **variables)
    assert checked.returncode == 0, checked.stderr
    assert "9 rules (1 shadow, 0 off)" in checked.stdout
    page = tmp_path / "report.html"
    done = run(folder, "backtest", "--rules", rules, "--history", "history", "--html", str(page), **variables)
    assert done.returncode == 0, done.stderr
    assert "burst" in done.stdout
    assert "the model alone" in page.read_text()
    told = run(folder, "backtest", "--rules", rules, "--history", "history", "--json", **variables)
    report = json.loads(told.stdout)
    assert report["total"]["count"] == sum(one["count"] for one in report["new"]["outcomes"].values())

    (tmp_path / "bad.yaml").write_text("rules: [{id: a, when: amout > 3, outcome: block, reason: r}]")
    bad = run(folder, "rules", "check", str(tmp_path / "bad.yaml"), **variables)
    assert bad.returncode == 65
    assert "bad.yaml:1: rule a: when, character 1: there is no field amout; did you mean amount?" in bad.stderr
