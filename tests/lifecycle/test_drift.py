"""Drift: silent while nothing changes, loud from the first weeks of a new kind of attack on."""

from __future__ import annotations

import io

import msgspec
import numpy as np
import polars as pl
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from rich.console import Console

from features.errors import HistoryError, ModelError
from lifecycle.drift import find_drift
from lifecycle.drift_view import documents, html, render
from lifecycle.plan import Alarms
from lifecycle.watch_metrics import WatchMetrics
from scoring.reference import load_reference
from tests.lifecycle.conftest import labels_of, traffic

LIMITS = Alarms()


@pytest.fixture(scope="module")
def reference(story):
    return load_reference(story.champion)


def unknown(rows):
    return np.full(len(rows), -1)


def test_traffic_like_that_of_training_raises_no_alarm(story, champion, reference):
    rows = story.days(70, 88)

    found = find_drift(traffic(rows, champion), champion.manifest, reference, LIMITS, labels_of(rows))

    assert [alarm for alarm in found.alarms if alarm.kind != "recall"] == []
    assert found.rows == found.scored == len(rows)


def test_a_new_kind_of_attack_is_noticed_without_a_label(story, champion, reference):
    rows = story.days(91, 119)

    found = find_drift(traffic(rows, champion), champion.manifest, reference, LIMITS, unknown(rows))

    assert {alarm.kind for alarm in found.alarms} == {"surge"}
    assert found.labelled == 0
    assert found.weeks == ()


def test_with_labels_the_weeks_show_that_recall_has_fallen(story, champion, reference):
    rows = story.days(70, 119)
    known = labels_of(rows)

    found = find_drift(traffic(rows, champion), champion.manifest, reference, LIMITS, known)

    assert sum(week.rows for week in found.weeks) == len(rows)
    assert sum(week.frauds for week in found.weeks) == known.sum()
    assert found.weeks[-1].recall < found.weeks[0].recall - 0.3
    assert "recall" in {alarm.kind for alarm in found.alarms}
    assert found.calibration > 1.5


def test_a_feature_that_is_served_otherwise_is_named(story, champion, reference):
    rows = story.days(70, 88).with_columns(pl.col("amount") * 100, hour_of_day=pl.lit(7))

    found = find_drift(traffic(rows, champion), champion.manifest, reference, LIMITS, unknown(rows))

    raised = {(alarm.kind, alarm.subject) for alarm in found.alarms}
    assert {("psi", "amount"), ("ks", "amount"), ("constant", "hour_of_day")} <= raised


def test_fields_and_features_that_are_missing_are_named(story, champion, reference):
    rows = story.days(70, 88)
    seen = traffic(rows, champion)
    seen.x[: len(rows) // 5, 9] = np.nan
    known = msgspec.structs.replace(reference, missing_fields={"country": 0.0, "email": 0.2})

    found = find_drift(seen, champion.manifest, known, LIMITS, unknown(rows))

    assert {(a.kind, a.subject) for a in found.alarms if a.kind == "missing"} == {
        ("missing", "prev_amt"),
        ("missing", "email"),
    }


def test_other_models_answers_are_not_held_against_this_ones(story, champion, challenger, reference):
    rows = story.days(70, 88)

    found = find_drift(traffic(rows, challenger), champion.manifest, reference, LIMITS, labels_of(rows))

    assert found.scored == 0
    assert "probability" not in {one.name for one in found.columns}
    assert found.weeks == ()


def test_too_little_traffic_says_how_much_is_needed(story, champion, reference):
    rows = story.days(70, 71)

    with pytest.raises(HistoryError, match="1,000 are needed"):
        find_drift(traffic(rows, champion), champion.manifest, reference, LIMITS, unknown(rows))


def test_a_model_without_a_reference_says_what_to_do(tmp_path):
    with pytest.raises(ModelError, match="train the model anew"):
        load_reference(tmp_path)


def test_people_opensearch_and_prometheus_are_told_the_same(story, champion, reference):
    rows = story.days(91, 119)
    found = find_drift(traffic(rows, champion), champion.manifest, reference, LIMITS, labels_of(rows))
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(render(found))
    told, page = console.export_text(), html(found)
    bodies = [msgspec.json.decode(one.body) for one in documents(found, 1_780_000_000_000, "p-")]
    registry = CollectorRegistry()
    WatchMetrics(registry).show(found, 1_780_000_000_000)
    metrics = generate_latest(registry).decode()

    surges = [one for one in found.alarms if one.kind == "surge"]
    assert surges
    assert all(one.told in told and one.told.replace(">", "&gt;") in page for one in surges)
    assert [b["text"] for b in bodies if b["kind"] == "alarm"] == [one.told for one in found.alarms]
    assert {b["feature"] for b in bodies if b["kind"] == "drift"} == {one.name for one in found.columns}
    assert f'fraud_drift_alarms{{kind="surge"}} {len(surges)}.0' in metrics
    assert f"fraud_watch_rows {float(len(rows))}" in metrics
