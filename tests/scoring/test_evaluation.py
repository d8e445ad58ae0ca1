"""Metrics by hand, and the quality that a history of the reference allows."""

from __future__ import annotations

import msgspec
import numpy as np
import polars as pl
import pytest
from rich.console import Console

from features.catalogue import FEATURE_NAMES
from features.errors import HistoryError
from scoring.dataset import Dataset, attack_positions, load_dataset
from scoring.evaluation import evaluate, measure, threshold_at
from scoring.learning.details import REPORT_FILE, Details
from scoring.learning.options import TrainOptions
from scoring.manifest import Thresholds
from scoring.model import Model
from scoring.report import render
from scoring.training import train
from tests.scoring.tables import write_table

LIMITS = Thresholds(0.5, 0.9, 0.003, 0.0005)


def dataset(is_fraud, amounts, days=None, cards=None):
    size = len(is_fraud)
    features = np.zeros((size, len(FEATURE_NAMES)), np.float32)
    features[:, FEATURE_NAMES.index("amount")] = amounts
    time_ms = np.array(days if days is not None else [0] * size, np.int64) * 86_400_000
    card = np.array(cards if cards is not None else range(size), np.int64)
    fraud = np.array(is_fraud, np.bool_)
    return Dataset(features, fraud, time_ms, card, attack_positions(time_ms, card, fraud), "none")


def test_the_training_table_is_evaluated_on_its_test_part(model, table):
    assert evaluate(model, table) == model.manifest.metrics


def test_another_table_is_evaluated_whole(model, tmp_path):
    report = evaluate(model, write_table(tmp_path, 50_000, 90, 2))
    assert report.rows == 50_000
    assert report.average_precision > 0.6


def test_thresholds_flag_at_most_their_share():
    ordinary = np.linspace(0, 1, 1_000, dtype=np.float32)
    for rate in (0.0, 0.001, 0.0025, 0.3):
        assert np.mean(ordinary >= threshold_at(ordinary, rate)) == pytest.approx(int(rate * 1_000) / 1_000)


def test_equal_probabilities_are_flagged_together_or_not_at_all():
    ordinary = np.array([0.1] * 90 + [0.7] * 10, np.float32)
    assert np.sum(ordinary >= threshold_at(ordinary, 0.05)) == 0
    assert np.sum(ordinary >= threshold_at(ordinary, 0.10)) == 10


def test_counts_and_value_by_hand():
    data = dataset([1, 1, 1, 0, 0, 0], [10, 30, 60, 1, 1, 1])
    report = measure(np.array([0.95, 0.6, 0.1, 0.9, 0.5, 0.2], np.float32), data, LIMITS)
    assert (report.fraud.approve, report.fraud.review, report.fraud.block) == (1, 1, 1)
    # 0.9 as float32 lies just below 0.9: the verdict compares exactly.
    assert (report.ordinary.approve, report.ordinary.review, report.ordinary.block) == (1, 2, 0)
    assert report.value_detection_rate == pytest.approx(0.4)
    # Frauds rank 1st, 3rd and 6th.
    assert report.average_precision == pytest.approx((1 / 1 + 2 / 3 + 3 / 6) / 3)


def test_a_known_card_is_not_shown_twice():
    data = dataset([1, 0, 1, 0], [1, 1, 1, 1], days=[0, 0, 1, 1], cards=[5, 6, 5, 6])
    report = measure(np.array([0.9, 0.1, 0.9, 0.1], np.float32), data, LIMITS)
    assert report.card_precision == report.card_precision_best == pytest.approx(0.01 / 2)


def test_positions_told_from_times_are_those_of_the_generator(table, tmp_path):
    plain = tmp_path / "plain.parquet"
    pl.read_parquet(table).drop("attack_id", "attack_position").write_parquet(plain)
    known, told = load_dataset(table), load_dataset(plain)
    assert np.array_equal(known.position, told.position)
    assert known.position.max() == 10
    assert known.fingerprint == told.fingerprint


def test_later_attacks_of_a_card_start_anew():
    time_ms = np.array([0, 60_000, 90_000, 120_000, 5_000_000], np.int64)
    card = np.array([1, 1, 2, 1, 1])
    position = attack_positions(time_ms, card, np.array([True, True, True, False, True]))
    assert position.tolist() == [1, 2, 1, 0, 1]


def test_labels_all_alike_are_refused():
    for labels in ([1, 1], [0, 0]):
        with pytest.raises(HistoryError, match="one kind"):
            measure(np.array([0.1, 0.2], np.float32), dataset(labels, [1, 1]), LIMITS)


def test_the_report_can_be_printed(model):
    console = Console(width=140, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123 - closed with the test
    with console.file:
        console.print(render(model.manifest.metrics))
        text = console.export_text()
    for words in ("average precision", "0.3%", "2nd", "10th", "ordinary", "card precision@100"):
        assert words in text


@pytest.mark.slow
def test_quality_of_a_model_trained_on_540000_transactions(tmp_path):
    """The targets, on a second history with enough attacks to measure: the first one's test part has about sixty."""
    table = write_table(tmp_path / "learn", 540_000, 1_000, 1)
    train(table, tmp_path / "model", seed=7, options=TrainOptions(reports=True))
    details = msgspec.json.decode((tmp_path / "model" / REPORT_FILE).read_bytes(), type=Details)
    assert len(details.rivals) == 3
    assert all(details.model_line.average_precision > rival.average_precision for rival in details.rivals)
    # On some 60 attacks of the test part a caught one more or less is no difference.
    assert all(details.model_line.recall[0] > rival.recall[0] - 0.02 for rival in details.rivals)
    report = evaluate(Model.load(tmp_path / "model"), write_table(tmp_path / "measure", 540_000, 1_000, 2))
    strict, usual, *_ = report.at_rates
    assert report.average_precision >= 0.78
    assert strict.recall_by_position[1] >= 0.50
    assert strict.recall_by_position[2] >= 0.97
    assert usual.recall_by_position[1] >= 0.85
