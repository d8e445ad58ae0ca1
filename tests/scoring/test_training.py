"""Training is repeatable, keeps to its split, and refuses what cannot teach."""

from __future__ import annotations

import polars as pl
import pytest

from features.errors import HistoryError, ModelError
from scoring.evaluation import milliseconds
from scoring.training import ROUNDS, SplitOptions, train
from tests.scoring.conftest import SEED

DAY_MS = 86_400_000


def changed(table, tmp_path, *columns):
    out = tmp_path / "changed.parquet"
    pl.read_parquet(table).with_columns(*columns).write_parquet(out)
    return out


def test_same_data_and_seed_give_the_same_bytes(table, folder, tmp_path):
    train(table, tmp_path / "again", seed=SEED)
    train(table, tmp_path / "other", seed=SEED + 1)
    for name in ("model.ubj", "manifest.json"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()
        assert (tmp_path / "other" / name).read_bytes() != (folder / name).read_bytes()


def test_the_folder_holds_the_model_and_what_drift_is_measured_against(folder):
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "model.ubj", "reference.json"]


def test_rows_in_another_order_are_the_same_data(table, model, tmp_path):
    shuffled = tmp_path / "shuffled.parquet"
    pl.read_parquet(table).sample(fraction=1.0, shuffle=True, seed=1).write_parquet(shuffled)
    manifest = train(shuffled, tmp_path / "model", seed=SEED)
    assert manifest.version == model.version


def test_parts_are_apart_by_the_gap(model):
    split = model.manifest.split
    assert milliseconds(split.validation.start) - milliseconds(split.train.stop) == 7 * DAY_MS
    assert milliseconds(split.test.start) - milliseconds(split.validation.stop) == 7 * DAY_MS
    rows = split.train.rows + split.validation.rows + split.test.rows
    assert rows == pytest.approx(model.manifest.rows * (1 - 14 / 151), rel=0.01)
    assert model.manifest.metrics.rows == split.test.rows


def test_the_future_does_not_teach(table, model, tmp_path):
    """Turning every label after the training part leaves the trees as they are."""
    stop = pl.lit(milliseconds(model.manifest.split.train.stop))
    later = pl.col("event_time").dt.epoch("ms") >= stop
    label = pl.when(later).then(1 - pl.col("is_fraud")).otherwise(pl.col("is_fraud")).cast(pl.Int8).alias("is_fraud")
    manifest = train(changed(table, tmp_path, label), tmp_path / "model", seed=SEED)
    assert manifest.model_sha256 == model.manifest.model_sha256
    assert manifest.thresholds != model.thresholds


def test_thresholds_follow_their_rates(table, model, tmp_path):
    manifest = train(table, tmp_path, seed=SEED, review_fpr=0.02, block_fpr=0.01)
    assert manifest.thresholds.review < manifest.thresholds.block < model.thresholds.review
    # Chosen on other rows than it is measured on, and a small model gives many rows the same probability.
    assert manifest.metrics.ordinary.flagged_rate == pytest.approx(0.02, rel=0.5)
    assert manifest.metrics.ordinary.blocked_rate == pytest.approx(0.01, rel=0.5)
    assert model.manifest.metrics.ordinary.flagged_rate == pytest.approx(0.003, rel=0.5)


def test_progress_counts_trees(table, tmp_path):
    seen: list[tuple[int, int]] = []
    train(table, tmp_path, seed=SEED, progress=lambda done, rounds: seen.append((done, rounds)))
    assert seen == [(done, ROUNDS) for done in range(1, ROUNDS + 1)]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ([pl.lit(0).cast(pl.Int8).alias("is_fraud")], "the train part .* no fraudulent"),
        ([pl.lit(1).cast(pl.Int8).alias("is_fraud")], "the train part .* no ordinary"),
        ([pl.lit(2).cast(pl.Int8).alias("is_fraud")], "is_fraud .* must be 0 or 1"),
        ([pl.lit(None).cast(pl.Int8).alias("is_fraud")], "without is_fraud"),
        ([pl.lit(float("nan")).alias("amount")], "amount .* NaN"),
        ([pl.lit(float("-inf")).alias("amt_ratio1")], "amt_ratio1 .* infinite"),
        ([pl.lit(None).cast(pl.Float64).alias("prev_amt")], "prev_amt .* missing"),
        ([pl.lit("many").alias("num_trans_last_1w")], "cannot read"),
        (
            [
                (pl.col("event_time").dt.epoch("ms") // 20 + 1_700_000_000_000)
                .cast(pl.Datetime("ms"))
                .alias("event_time")
            ],
            "spans 7.* days",
        ),
    ],
)
def test_a_history_that_cannot_teach_is_refused(table, tmp_path, columns, message):
    with pytest.raises(HistoryError, match=message):
        train(changed(table, tmp_path, *columns), tmp_path / "model", seed=SEED)
    assert not (tmp_path / "model").exists()


def test_no_fraud_after_the_training_part_is_refused(table, model, tmp_path):
    later = pl.col("event_time").dt.epoch("ms") >= milliseconds(model.manifest.split.test.start)
    label = pl.when(later).then(0).otherwise(pl.col("is_fraud")).cast(pl.Int8).alias("is_fraud")
    with pytest.raises(HistoryError, match=r"the test part .* no fraudulent"):
        train(changed(table, tmp_path, label), tmp_path / "model", seed=SEED)


def test_missing_columns_are_named(table, tmp_path):
    out = tmp_path / "narrow.parquet"
    pl.read_parquet(table).drop("amount", "is_fraud").write_parquet(out)
    with pytest.raises(HistoryError, match="lacks is_fraud, amount"):
        train(out, tmp_path, seed=SEED)


def test_files_that_are_no_table_are_refused(table, tmp_path):
    text = tmp_path / "text.parquet"
    text.write_text("no parquet")
    empty = tmp_path / "empty.parquet"
    pl.read_parquet(table).clear().write_parquet(empty)
    for path in (text, empty, tmp_path / "nothing.parquet"):
        with pytest.raises(HistoryError, match=path.name):
            train(path, tmp_path / "model", seed=SEED)


@pytest.mark.parametrize(("review", "block"), [(0.001, 0.002), (0.0, 0.0), (1.0, 0.5), (0.1, -0.1)])
def test_impossible_rates_are_refused(table, tmp_path, review, block):
    with pytest.raises(HistoryError, match="false-positive rates"):
        train(table, tmp_path, seed=SEED, review_fpr=review, block_fpr=block)


@pytest.mark.parametrize("shares", [(0.0, 0.1, 1.0), (0.8, 0.2, 1.0), (0.5, 0.1, -1.0)])
def test_impossible_splits_are_refused(shares):
    with pytest.raises(HistoryError, match="shares"):
        SplitOptions(*shares)


def test_a_folder_that_cannot_be_written_is_named(table, tmp_path):
    occupied = tmp_path / "file"
    occupied.write_text("")
    with pytest.raises(ModelError, match="cannot write the model to"):
        train(table, occupied, seed=SEED)
