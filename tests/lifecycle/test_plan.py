"""The plan, the labels that stand, the table to learn from, and the rules that ask for a new model."""

from __future__ import annotations

import msgspec
import numpy as np
import polars as pl
import pytest

from features.catalogue import FEATURE_NAMES
from features.errors import ConfigError, HistoryError
from lifecycle.drift import Alarm
from lifecycle.live_table import join_tables, live_rows
from lifecycle.looking import moment_of
from lifecycle.plan import Plan, Retraining, load_plan
from lifecycle.retraining import Facts, reasons
from lifecycle.traffic import file_traffic, newest
from lifecycle.truth import Truth, file_truth, matured
from scoring.dataset import load_dataset
from tests.lifecycle.conftest import DAY_MS, labels_of, outcomes, traffic

NOW_MS = 1_780_000_000_000


def test_without_a_file_the_defaults_hold(tmp_path):
    (tmp_path / "empty.yaml").write_text("")

    assert load_plan("") == load_plan(str(tmp_path / "empty.yaml")) == Plan()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gates: {metric: {}}", "metric"),
        ("gates: {metrics: {a: -1}}", "0 or more"),
        ("alarms: {surge: 1}", "above 1"),
        ("retrain: {test_days: 0}", "above 0"),
        ("retrain: {every_days: soon}", "every_days"),
        ("a: [", "is not YAML"),
        ("- a", "Expected `object`"),
    ],
)
def test_a_plan_that_cannot_be_used_names_what_is_wrong(text, said, tmp_path):
    file = tmp_path / "plan.yaml"
    file.write_text(text)

    with pytest.raises(ConfigError, match="FRAUD_LIFECYCLE") as told:
        load_plan(str(file))

    assert said in str(told.value)


def test_a_plan_that_is_not_there_is_named():
    with pytest.raises(ConfigError, match="cannot read nowhere"):
        load_plan("nowhere.yaml")


def test_the_parts_of_a_history_are_as_many_days_as_the_plan_says():
    train, validation = Retraining(gap_days=1, validation_days=3, test_days=4).shares(109)

    assert train == pytest.approx(100 / 107)
    assert validation == pytest.approx(3 / 107)
    with pytest.raises(HistoryError, match="give a longer one"):
        Retraining().shares(12)


def facts(**changed):
    return msgspec.structs.replace(Facts(NOW_MS - 5 * DAY_MS, None, 0, NOW_MS), **changed)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"registered_ms": None}, "no champion"),
        ({"registered_ms": NOW_MS - 30 * DAY_MS}, "30 days old"),
        ({"labels": 500}, "500 labels"),
    ],
)
def test_each_rule_asks_for_a_new_model_by_itself(changed, said):
    (reason,) = reasons(Retraining(), facts(**changed))

    assert said in reason


def test_drift_asks_for_a_new_model(story, champion):
    from lifecycle.drift import find_drift
    from lifecycle.plan import Alarms
    from scoring.reference import load_reference

    rows = story.days(70, 88)
    seen = find_drift(
        traffic(rows, champion), champion.manifest, load_reference(story.champion), Alarms(), labels_of(rows) * 0 - 1
    )
    loud = msgspec.structs.replace(seen, alarms=(Alarm("psi", "amount", "PSI 1"),))

    assert reasons(Retraining(), facts(drift=seen)) == []
    assert reasons(Retraining(), facts(drift=loud)) == ["1 alarms of drift: amount (psi)"]
    assert reasons(Retraining(alarms=0), facts(drift=loud)) == []


@pytest.fixture(scope="module")
def live(story, champion):
    rows = story.days(86, 89)
    return rows, traffic(rows, champion)


def test_silence_is_an_answer_only_once_labels_have_had_their_time(live):
    rows, seen = live
    fraud, undecided, withdrawn = seen.keys[0], seen.keys[1], seen.keys[-1]
    truth = Truth({fraud: 1, undecided: None, withdrawn: None}, {}, {})
    as_of_ms = int(seen.event_ms[-1])

    known = matured(seen, truth, as_of_ms, maturity_days=1)

    old = seen.event_ms <= as_of_ms - DAY_MS
    assert known[0] == 1
    assert known[1] == known[-1] == -1
    assert (known[2:-1][old[2:-1]] == 0).all()
    assert (known[2:-1][~old[2:-1]] == -1).all()
    assert (matured(seen, Truth({}, {}, {}), as_of_ms, 1) == -1).all()
    assert len(rows) == len(known)


def test_live_rows_are_those_of_the_feature_table(live):
    rows, seen = live

    made = live_rows(seen, labels_of(rows))

    wanted = rows.select(made.columns).with_columns(pl.col("event_time").dt.replace_time_zone("UTC"))
    assert made.equals(wanted.cast(dict(made.schema)))


def test_a_table_goes_on_to_the_present_and_counts_what_it_leaves_out(story, live, tmp_path):
    story.days(0, 87).drop("ms").write_parquet(tmp_path / "history.parquet")
    rows, seen = live
    known = labels_of(rows).copy()
    known[-5:] = -1
    seen = msgspec.structs.replace(seen, x=seen.x.copy())
    seen.x[-9:-5, 0] = np.nan

    joined = join_tables(tmp_path / "history.parquet", seen, known, tmp_path / "out.parquet")

    data = load_dataset(tmp_path / "out.parquet")
    assert (joined.unknown, joined.incomplete) == (5, 4)
    assert joined.repeated == len(story.days(86, 87))
    assert joined.history + joined.live == len(data) == len(story.days(0, 89)) - 9


def test_nothing_to_learn_from_is_refused(live, tmp_path):
    _, seen = live

    with pytest.raises(HistoryError, match="wait for labels"):
        join_tables(None, seen, np.full(len(seen), -1), tmp_path / "out.parquet")


def test_outcomes_from_files_are_those_of_the_topic(champion, live, tmp_path):
    rows, seen = live
    made = outcomes(rows, champion)
    lines = [msgspec.json.encode(one) for one in (*made, made[0])]
    other = {**made[1], "transaction_id": "other", "fraud": {**made[1]["fraud"], "feature_set": "fs-old"}}
    reversal = {**made[2], "transaction_id": "back", "type": "reversal"}
    (tmp_path / "a.jsonl").write_bytes(
        b"\n".join([*lines, msgspec.json.encode(other), msgspec.json.encode(reversal), b"x"])
    )
    pl.DataFrame(made).write_parquet(tmp_path / "a.parquet")

    from_lines, from_table = file_traffic(tmp_path / "a.jsonl"), file_traffic(tmp_path / "a.parquet")

    assert from_lines.keys == from_table.keys == seen.keys
    assert from_lines.x.tobytes() == from_table.x.tobytes() == seen.x.tobytes()
    assert from_lines.left_out == {"copies": 1, "other feature set": 1, "reversals": 1, "no outcomes": 1}
    assert seen.missing["country"] == 0
    assert seen.missing["email"] == 1
    assert newest(seen, 10).keys == seen.keys[-10:]


def test_labels_from_files_stand_as_those_of_the_topic(tmp_path):
    label = {
        "label_id": "1", "transaction_id": "t", "card_id": "c", "label": "fraud", "source": "analyst",
        "labelled_at": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    later = {**label, "label_id": "2", "label": "valid", "source": "chargeback", "labelled_at": "2026-01-02T00:00:00Z"}
    plain = {"transaction_id": "u", "card_id": "c", "is_fraud": 1}
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(map(msgspec.json.encode, (later, label, plain, {}))))
    pl.DataFrame({"card_id": ["c", "c"], "transaction_id": ["t", "u"], "is_fraud": [0, 1]}).write_csv(
        tmp_path / "a.csv"
    )

    found = file_truth(tmp_path / "a.jsonl")

    assert found.answers == file_truth(tmp_path / "a.csv").answers == {("c", "t"): 0, ("c", "u"): 1}
    assert found.sources == {"file": 1, "chargeback": 1}
    assert found.left_out == {"missing_field": 1}


@pytest.mark.parametrize("read", [file_traffic, file_truth])
def test_a_file_that_is_not_there_is_named(read, tmp_path):
    for name in ("nowhere.jsonl", "nowhere.parquet"):
        with pytest.raises(HistoryError, match="nowhere"):
            read(tmp_path / name)


def test_a_moment_is_the_newest_or_a_time(live):
    _, seen = live

    assert moment_of("newest", seen) == seen.event_ms[-1]
    assert moment_of("1970-01-01T00:00:01Z", seen) == 1000
    with pytest.raises(ConfigError, match="--as-of"):
        moment_of("yesterday", seen)
    assert len(FEATURE_NAMES) == seen.x.shape[1]
