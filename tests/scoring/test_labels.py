"""What is known of a transaction as of a date: whose label, how old, and nothing from later."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.catalogue import FEATURE_NAMES
from features.errors import HistoryError
from scoring.dataset import SOURCE, load_dataset
from scoring.evaluation import timestamp
from scoring.learning.labels import SOURCES, LabelOptions

DAY_MS = 86_400_000
START_MS = 1_700_000_000_000
NOW_MS = START_MS + 100 * DAY_MS


def table(folder: Path, days: list[float], **columns: list) -> Path:
    """A feature table of one row a card, so many days after the start; features are their row's number."""
    rows = len(days)
    frame = {
        "transaction_id": [f"t{n}" for n in range(rows)],
        "card_id": [f"c{n}" for n in range(rows)],
        "event_time": pl.Series([START_MS + round(day * DAY_MS) for day in days]).cast(pl.Datetime("ms", "UTC")),
        **{name: [float(n + 1) for n in range(rows)] for name in FEATURE_NAMES},
    }
    pl.DataFrame({**frame, **columns}).write_parquet(folder / "table.parquet")
    return folder / "table.parquet"


def labels(folder: Path, *rows: tuple, name: str = "labels.csv") -> Path:
    """A label file: transaction, label, source, day at which it was given."""
    made = [
        {
            "transaction_id": one[0],
            "label": one[1],
            "source": one[2],
            "labelled_at": timestamp(START_MS + one[3] * DAY_MS),
        }
        for one in rows
    ]
    pl.DataFrame(made).write_csv(folder / name)
    return folder / name


def known(data) -> dict[int, tuple[int, str]]:
    """Row number -> label and where it comes from."""
    return {
        int(amount) - 1: (int(fraud), SOURCES[source])
        for amount, fraud, source in zip(data.features[:, 0], data.is_fraud, data.more[SOURCE], strict=True)
    }


def test_the_newest_label_stands_and_a_chargeback_goes_before_an_analyst(tmp_path):
    given = labels(
        tmp_path, ("t0", "fraud", "analyst", 10), ("t0", "valid", "analyst", 20), ("t1", "valid", "analyst", 30),
        ("t1", "fraud", "chargeback", 30), ("t2", "fraud", "rule", 10), ("t2", "withdrawn", "analyst", 11),
        ("t3", "undecided", "analyst", 12),
    )  # fmt: skip
    data = load_dataset(table(tmp_path, [1.0] * 5), LabelOptions((given,), NOW_MS, 30))
    assert known(data) == {
        0: (0, "analyst"), 1: (1, "chargeback"), 2: (0, "no label in time"), 4: (0, "no label in time"),
    }  # fmt: skip
    assert data.counts == {"transactions whose label is undecided": 1}


def test_a_young_transaction_has_no_negative_label(tmp_path):
    given = labels(tmp_path, ("t2", "fraud", "analyst", 95), ("t3", "valid", "analyst", 95))
    data = load_dataset(table(tmp_path, [1.0, 80.0, 90.0, 90.0]), LabelOptions((given,), NOW_MS, 30))
    assert known(data) == {0: (0, "no label in time"), 2: (1, "analyst")}
    assert data.counts == {"transactions younger than labels take to come, with no label yet": 2}
    assert data.usable_until_ms == NOW_MS - 30 * DAY_MS + 1


def test_nothing_from_after_the_date_is_looked_at(tmp_path):
    given = labels(tmp_path, ("t0", "fraud", "chargeback", 60), ("t1", "fraud", "chargeback", 40))
    as_of = LabelOptions((given,), START_MS + 50 * DAY_MS, 20)
    data = load_dataset(table(tmp_path, [1.0, 2.0, 70.0]), as_of)
    assert known(data) == {0: (0, "no label in time"), 1: (1, "chargeback")}
    assert data.counts == {"labels given after --as-of, not looked at": 1, "rows after --as-of": 1}


def test_a_labels_own_time_counts_in_a_set_that_has_it(tmp_path):
    at = pl.Series([START_MS + 60 * DAY_MS, None]).cast(pl.Datetime("ms", "UTC"))
    made = table(tmp_path, [1.0, 1.0], is_fraud=[1, 0], labelled_at=at)
    assert known(load_dataset(made, LabelOptions((), NOW_MS, 20)))[0] == (1, "history")
    assert known(load_dataset(made, LabelOptions((), START_MS + 50 * DAY_MS, 20)))[0] == (0, "no label in time")


def test_labels_in_any_order_and_any_files_say_the_same(tmp_path):
    rng = random.Random(5)
    rows = [
        (f"t{rng.randrange(20)}", rng.choice(["fraud", "valid", "undecided", "withdrawn"]), rng.choice(
            ["analyst", "chargeback", "rule"]), day)
        for day in range(1, 90)
    ]  # fmt: skip
    made = table(tmp_path, [0.5] * 20)
    answers = []
    for seed in range(3):
        random.Random(seed).shuffle(rows)
        files = (labels(tmp_path, *rows[:40], name="a.csv"), labels(tmp_path, *rows[40:], name="b.csv"))
        answers.append(known(load_dataset(made, LabelOptions(files, NOW_MS, 5))))
    assert answers[0] == answers[1] == answers[2]
    # Worked out row by row.
    for number in range(20):
        own = [one for one in rows if one[0] == f"t{number}"]
        newest = max(own, key=lambda one: one[3])[1] if own else "withdrawn"
        assert (number in answers[0]) == (newest != "undecided")
        if number in answers[0]:
            assert answers[0][number][0] == (newest == "fraud")


def test_copies_and_labels_of_nobody_are_counted(tmp_path):
    given = labels(tmp_path, ("t0", "fraud", "analyst", 10), ("nobody", "fraud", "analyst", 10))
    twice = table(tmp_path, [1.0, 2.0], transaction_id=["t0", "t0"], card_id=["c", "c"])
    data = load_dataset(twice, LabelOptions((given,), NOW_MS, 1))
    assert known(data) == {0: (1, "analyst")}
    assert data.counts == {
        "labels of transactions that are not in the history": 1,
        "copies of a transaction that is there already": 1,
    }


def test_a_label_from_before_its_transaction_is_refused(tmp_path):
    given = labels(tmp_path, ("t0", "fraud", "analyst", 10))
    with pytest.raises(HistoryError, match=r"given before their own transaction.*zones"):
        load_dataset(table(tmp_path, [20.0]), LabelOptions((given,), NOW_MS, 1))


def test_a_label_without_a_card_must_mean_one_transaction(tmp_path):
    given = labels(tmp_path, ("t0", "fraud", "analyst", 10))
    made = table(tmp_path, [1.0, 1.0], transaction_id=["t0", "t0"])
    with pytest.raises(HistoryError, match="add the column card_id"):
        load_dataset(made, LabelOptions((given,), NOW_MS, 1))
    exact = pl.read_csv(given).with_columns(card_id=pl.lit("c1"))
    exact.write_parquet(tmp_path / "labels.parquet")
    data = load_dataset(made, LabelOptions((tmp_path / "labels.parquet",), NOW_MS, 1))
    assert known(data) == {0: (0, "no label in time"), 1: (1, "analyst")}


WRONG = [
    ({"label": "perhaps"}, "row 1: label must be"),
    ({"source": "hearsay"}, "row 1: source must be"),
    ({"labelled_at": "soon"}, "row 1: labelled_at must be"),
    ({"transaction_id": None}, "row 1: transaction_id is missing"),
]


@pytest.mark.parametrize(("column", "problem"), WRONG)
def test_a_label_file_that_cannot_be_used_is_named(tmp_path, column, problem):
    plain = {"transaction_id": "t0", "label": "fraud", "source": "analyst", "labelled_at": timestamp(NOW_MS)}
    pl.DataFrame([{**plain, **column}], schema=dict.fromkeys(plain, pl.String)).write_parquet(tmp_path / "l.parquet")
    with pytest.raises(HistoryError, match=rf"l\.parquet, {problem}"):
        load_dataset(table(tmp_path, [1.0]), LabelOptions((tmp_path / "l.parquet",)))


def test_a_chargeback_file_may_be_two_columns(tmp_path):
    pl.DataFrame({"transaction_id": ["t1"], "labelled_at": [START_MS + 9 * DAY_MS]}).write_ndjson(tmp_path / "c.jsonl")
    data = load_dataset(table(tmp_path, [1.0, 1.0]), LabelOptions((tmp_path / "c.jsonl",), NOW_MS))
    assert known(data) == {0: (0, "no label in time"), 1: (1, "chargeback")}
    assert np.count_nonzero(data.is_fraud) == 1
