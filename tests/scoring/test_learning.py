"""The parts of training: fixed splits, leaks, search, baselines, and a report that tells everything."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest

from features.errors import ConfigError, HistoryError, ModelError
from features.mapping.convert import convert
from features.mapping.spec import load_mapping
from features.offline import build_table
from scoring.dataset import load_dataset
from scoring.evaluation import evaluate
from scoring.learning.details import CARD_FILE, PAGE_FILE, REPORT_FILE, Details
from scoring.learning.measures import wilson
from scoring.learning.offline_model import OfflineModel
from scoring.learning.split import SplitOptions, divide
from scoring.model import Model
from scoring.rules.load import load_rules
from scoring.training import LabelOptions, SearchOptions, TrainOptions, train
from tests import lookalikes


@pytest.fixture(scope="module")
def foreign(tmp_path_factory) -> Path:
    """The feature table of the set with people and places, 6,000 rows."""
    folder = tmp_path_factory.mktemp("foreign")
    (folder / "mapping.yaml").write_text(lookalikes.SIMULATED)
    source = lookalikes.simulated(folder / "set")
    convert(source, load_mapping(folder / "mapping.yaml"), folder / "history")
    build_table(folder / "history", folder / "table.parquet", by_time=True, groups=("country",))
    return folder / "table.parquet"


@pytest.fixture(scope="module")
def trained(foreign, tmp_path_factory) -> Path:
    """A model of it, with reports."""
    out = tmp_path_factory.mktemp("trained")
    options = TrainOptions(
        reports=True, groups=("gender",), segments=("country", "state"), folds=2, monotone={"amount": 1},
        counts={"rows of no use": 7}, source="mapping.yaml",
    )  # fmt: skip
    train(foreign, out, seed=1, split=SplitOptions(fixed="column"), options=options)
    return out


@pytest.fixture(scope="module")
def details(trained) -> Details:
    return msgspec.json.decode((trained / REPORT_FILE).read_bytes(), type=Details)


def test_a_model_with_further_inputs_is_for_offline_use(trained, foreign):
    with pytest.raises(ModelError, match="4 inputs that no transaction carries"):
        Model.load(trained)
    model = OfflineModel.load(trained)
    assert [one.name for one in model.manifest.inputs] == ["category", "age", "distance", "city_pop"]
    assert set(model.manifest.inputs[0].levels) == set(lookalikes.CATEGORIES)
    # Read again, its own test part gives its own figures.
    assert evaluate(model, foreign) == model.manifest.metrics


def test_a_set_without_the_inputs_is_refused(trained, foreign, tmp_path):
    pl.read_parquet(foreign).drop("x:age").write_parquet(tmp_path / "narrow.parquet")
    with pytest.raises(HistoryError, match="no input age, which the model takes"):
        evaluate(OfflineModel.load(trained), tmp_path / "narrow.parquet")


def test_a_category_that_was_never_seen_counts_as_missing(trained, foreign, tmp_path):
    model = OfflineModel.load(trained)
    odd = pl.read_parquet(foreign).with_columns(pl.lit("brand new").alias("x:category"))
    odd.write_parquet(tmp_path / "odd.parquet")
    data = load_dataset(tmp_path / "odd.parquet", None, model.manifest.inputs)
    assert np.isnan(data.features[:, -4]).all()
    assert np.isfinite(model.predict(data.features)).all()


def test_the_report_tells_everything(details, trained):
    assert [one.name for one in details.rivals] == [
        "amount alone", "rules alone (a few to start with)", "reference features",
    ]  # fmt: skip
    amount, rules, reference = (one.average_precision for one in details.rivals)
    # These attacks are plain: the features of the reference design see them as well.
    assert details.model_line.average_precision > max(amount, rules, reference - 0.02)
    assert details.metrics == OfflineModel.load(trained).manifest.metrics
    assert details.offline_only
    assert details.counts == {"rows of no use": 7}
    assert {one.by for one in details.segments} == {"card", "amount", "country", "state"}
    assert [(one.by, one.value) for one in details.bias] in ([("gender", "F"), ("gender", "M")],
                                                            [("gender", "M"), ("gender", "F")])  # fmt: skip
    assert sum(one.rows for one in details.bias) == details.metrics.rows == details.parts["test"][2]
    assert len(details.folds) == 2
    assert "num_countries_last_10m" in details.constant
    assert sum(share for _, share in details.importance) == pytest.approx(1)
    assert details.reliability.frauds == details.parts["test"][3]
    assert sum(one.rows for one in details.reliability.bins) == details.metrics.rows
    assert abs(details.reliability.expected - details.reliability.frauds) < 0.25 * details.reliability.frauds
    assert {"baselines", "training"} <= details.seconds.keys()


def test_the_page_has_its_plots_and_loads_nothing(trained):
    text = (trained / PAGE_FILE).read_text()
    assert text.count("<svg") >= 5
    for word in (
        "ROC",
        "Reliability",
        "Recall by place in the attack",
        "gender",
        "amount alone",
        "Left out or changed",
    ):
        assert word in text
    assert "http" not in text
    assert "<script" not in text


def test_the_model_card_says_what_it_is_for(trained):
    text = (trained / CARD_FILE).read_text()
    for word in ("For offline use only", "every baseline by average precision", "gender", "Limits"):
        assert word in text


def test_the_probability_only_rises_with_what_it_is_told_to(trained, foreign):
    model = OfflineModel.load(trained)
    rows = load_dataset(foreign, None, model.manifest.inputs).features[:200].copy()
    place = model.manifest.columns.index("amount")
    said = []
    for amount in (1, 10, 100, 1000, 10_000):
        rows[:, place] = amount
        said.append(model.predict(rows))
    assert (np.diff(np.array(said), axis=0) >= 0).all()


LEAK = {"told": pl.col("is_fraud") + 0.5, "word": pl.col("is_fraud").replace_strict({0: "a", 1: "b"})}


@pytest.mark.parametrize("name", LEAK)
def test_a_planted_leak_is_refused(foreign, tmp_path, name):
    pl.read_parquet(foreign).with_columns(LEAK[name].alias(f"x:{name}")).write_parquet(tmp_path / "leaky.parquet")
    with pytest.raises(HistoryError, match=f"input {name} tells the label by itself"):
        train(tmp_path / "leaky.parquet", tmp_path / "model", seed=1)
    assert not (tmp_path / "model").exists()


FIXED = [
    ("0.8", lambda data: int(data.time_ms[int(0.8 * len(data))])),
    ("2019-05-01..2019-05-08", lambda _: 1_557_273_600_000),
    ("2019-05-01..2019-05-08..2019-06-01", lambda _: 1_557_273_600_000),
    ("2019-05-08", lambda _: 1_557_273_600_000),
]


@pytest.mark.parametrize(("fixed", "begins"), FIXED)
def test_a_fixed_split_is_kept_to(foreign, fixed, begins):
    data = load_dataset(foreign)
    parts = divide(data, SplitOptions(fixed=fixed))
    start = begins(data)
    assert parts.test.time_ms[0] >= start
    assert parts.learning.time_ms[-1] < parts.validation.time_ms[0] <= parts.validation.time_ms[-1] < start
    if fixed.count("..") == 2:
        assert parts.test.time_ms[-1] < 1_559_347_200_000
    if fixed == "0.8":
        assert len(parts.test) == len(data) - int(0.8 * len(data))


def test_a_split_of_the_set_itself_is_told_of_where_it_overlaps(foreign, tmp_path):
    rows = pl.read_parquet(foreign)
    mixed = pl.Series("split", ["train", "train", "test"] * (len(rows) // 3))
    rows.with_columns(mixed).write_parquet(tmp_path / "mixed.parquet")
    parts = divide(load_dataset(tmp_path / "mixed.parquet"), SplitOptions(fixed="column"))
    assert any("overlap in time" in note for note in parts.notes)
    assert len(parts.test) == len(rows) // 3


def test_frauds_that_were_known_too_late_do_not_teach(foreign, tmp_path):
    late = pl.datetime(2019, 5, 20, time_zone="UTC").cast(pl.Datetime("ms", "UTC"))
    rows = pl.read_parquet(foreign).with_columns(
        pl.max_horizontal(late, "event_time").alias("labelled_at"), pl.lit("ordinary").alias("g:odd")
    )
    rows.write_parquet(tmp_path / "late.parquet")
    with pytest.raises(HistoryError, match="no fraudulent"):
        divide(load_dataset(tmp_path / "late.parquet"), SplitOptions(fixed="2019-05-01"))


BAD_SPLITS = ["1.5", "0", "yesterday", "2019-05-08..2019-05-01", "a..b..c..d", "2019-05-01..2019-05-08..2019-05-02"]


@pytest.mark.parametrize("fixed", BAD_SPLITS)
def test_a_split_that_cannot_be_is_refused(fixed):
    with pytest.raises(HistoryError, match="the split"):
        SplitOptions(fixed=fixed)


def test_a_split_outside_of_the_history_is_refused(foreign):
    for fixed in ("2030-01-01", "2000-01-01"):
        with pytest.raises(HistoryError, match="leaves a part empty"):
            divide(load_dataset(foreign), SplitOptions(fixed=fixed))
    with pytest.raises(HistoryError, match="younger than labels take to come"):
        divide(load_dataset(foreign, LabelOptions(maturity_days=5_000)), SplitOptions())


def test_a_search_goes_on_where_it_was_and_keeps_the_defaults_that_nothing_beats(foreign, tmp_path):
    pytest.importorskip("optuna")
    done = []
    for trials in (1, 3, 3):
        options = TrainOptions(
            search=SearchOptions(trials, 5, tmp_path / "trials.sqlite3", 1), reports=trials == 3,
            searching=lambda at, of: done.append((at, of)),
        )  # fmt: skip
        train(foreign, tmp_path / "model", seed=1, split=SplitOptions(fixed="column"), options=options)
    assert done == [(0, 1), (1, 1), (1, 3), (2, 3), (3, 3), (3, 3)]
    found = msgspec.json.decode((tmp_path / "model" / REPORT_FILE).read_bytes(), type=Details).search
    assert found is not None
    assert found.trials == 3
    assert found.best >= found.default > 0


def test_a_store_that_cannot_be_used_is_named(foreign, tmp_path):
    pytest.importorskip("optuna")
    (tmp_path / "trials.sqlite3").write_text("no database")
    options = TrainOptions(search=SearchOptions(1, 5, tmp_path / "trials.sqlite3", 1))
    with pytest.raises(ConfigError, match=r"--search-store: .*trials\.sqlite3 cannot be used"):
        train(foreign, tmp_path / "model", seed=1, split=SplitOptions(fixed="column"), options=options)


def test_rules_of_ones_own_are_the_baseline(foreign, tmp_path):
    (tmp_path / "rules.yaml").write_text(
        "rules:\n  - {id: one, when: 'amount >= 200 AND country = ''US''', outcome: review, reason: large}\n"
    )
    options = TrainOptions(reports=True, rules=load_rules(tmp_path / "rules.yaml"), calibration="none", refit=True)
    manifest = train(foreign, tmp_path / "model", seed=1, split=SplitOptions(fixed="column"), options=options)
    found = msgspec.json.decode((tmp_path / "model" / REPORT_FILE).read_bytes(), type=Details)
    assert found.rivals[1].name.startswith("rules alone (rs-")
    assert found.rivals[1].flagged is not None
    assert found.rivals[1].flagged[0] > 0.95
    assert manifest.calibration is None
    assert any("grown anew" in note for note in found.notes)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (TrainOptions(monotone={"nothing": 1}), "no column nothing"),
        (TrainOptions(monotone={"amount": 2}), "must be \\+1 or -1"),
        (TrainOptions(reports=True, groups=("nothing",)), "no column nothing"),
        (TrainOptions(labels=LabelOptions((Path("nowhere.csv"),))), r"nowhere\.csv does not exist"),
    ],
)
def test_options_that_cannot_be_are_refused(foreign, tmp_path, options, problem):
    with pytest.raises(HistoryError, match=problem):
        train(foreign, tmp_path / "model", seed=1, split=SplitOptions(fixed="column"), options=options)


def test_infinite_inputs_are_refused(foreign, tmp_path):
    pl.read_parquet(foreign).with_columns(pl.lit(float("inf")).alias("x:age")).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(HistoryError, match=r"input age .* infinite"):
        train(tmp_path / "t.parquet", tmp_path / "model", seed=1)


def test_intervals_hold_the_share_and_shrink_with_rows():
    for hits, of in ((0, 10), (1, 10), (10, 10), (3, 1000)):
        low, high = wilson(hits, of)
        assert 0 <= low <= hits / of <= high <= 1
    assert np.diff(wilson(50, 1000))[0] < np.diff(wilson(5, 100))[0]
