"""The offline table: the same bits as online, as the naive oracle and as SQL; any chunks; bad files refused."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pytest

from features import offline
from features.catalogue import FEATURES
from features.errors import HistoryError
from features.offline import TableSummary, build_table
from local.generator import generate
from tests.features.driver import SKEW_MS, Cards, split
from tests.oracles.naive import Answer, Event, NaiveCards
from tests.oracles.traffic import awkward

BASE_MS = 1_700_000_000_000
GRACE_MS = 86_400_000
KEY = b"0123456789abcdef0123456789abcdef"
COLUMNS = ["transaction_id", "card_id", "event_time", *(f.name for f in FEATURES)]


def write(path: Path, events: Sequence[Event]) -> Path:
    """Events as a history file."""
    rows = [
        {
            "transaction_id": e.transaction_id,
            "card_id": e.card,
            "amount": decimal_text(e.amount_minor, e.exponent),
            "currency": e.currency,
            "event_time": e.t_ms,
            "type": e.kind,
            "original_transaction_id": e.original,
            "merchant_category": e.mcc,
            "country": e.country,
        }
        for e in events
    ]
    texts = dict.fromkeys(("original_transaction_id", "merchant_category", "country"), pl.String)
    pl.DataFrame(rows, schema_overrides=texts).write_parquet(path)
    return path


def decimal_text(minor: int, exponent: int) -> str:
    digits = str(minor).zfill(exponent + 1)
    return f"{digits[:-exponent]}.{digits[-exponent:]}" if exponent else digits


def read_events(history: Path) -> list[Event]:
    """A generated history as events."""
    return [
        Event(
            card=row["card_id"],
            transaction_id=row["transaction_id"],
            kind="authorization",
            t_ms=row["event_ms"],
            amount_minor=int(row["amount"] * 100),
            mcc=row["merchant_category"],
            country=row["country"],
        )
        for row in pl.read_parquet(history).with_columns(event_ms=pl.col("event_time").dt.epoch("ms")).to_dicts()
    ]


def online(events: Sequence[Event], seed: int) -> list[Answer]:
    rng, cards = random.Random(seed), Cards()
    sizes = (rng.randint(1, 700) for _ in events)
    return [a for batch in split(events, sizes) for a in cards.apply(batch)]


def assert_same_bits(table: pl.DataFrame, events: Sequence[Event], answers: Sequence[Answer]) -> None:
    """The table has the answers' features, bit for bit, in its documented order of rows."""
    asked = [(e, a) for e, a in zip(events, answers, strict=True) if a.features is not None]
    asked.sort(key=lambda pair: pair[0].card)
    assert table["card_id"].to_list() == [e.card for e, _ in asked]
    assert table["transaction_id"].to_list() == [e.transaction_id for e, _ in asked]
    assert table["event_time"].dt.epoch("ms").to_list() == [e.t_ms for e, _ in asked]
    promised = np.array([not (a.duplicate and a.beyond_grace) for _, a in asked])
    for feature in FEATURES:
        wanted = np.array([a.features[feature.name] for _, a in asked if a.features], feature.dtype)
        got = table[feature.name].to_numpy()
        assert got.dtype == wanted.dtype
        assert np.array_equal(got.view(np.int64)[promised], wanted.view(np.int64)[promised]), feature.name


def summary_of(events: Sequence[Event], answers: Sequence[Answer]) -> TableSummary:
    asked = [a for a in answers if a.features is not None]
    return TableSummary(
        rows_in=len(events),
        rows_out=len(asked),
        reversals=len(events) - len(asked),
        copies=sum(a.duplicate for a in asked),
        late=sum(a.late_by_ms is not None and not a.duplicate for a in asked),
        beyond_grace=sum(a.beyond_grace for a in asked),
        cards=len({e.card for e in events}),
    )


def test_awkward_events_have_the_features_served_online_bit_for_bit(tmp_path):
    events = awkward(11, 25_000, 300, BASE_MS)
    answers = online(events, 11)
    summary = build_table(write(tmp_path / "h.parquet", events), tmp_path / "t.parquet", chunk_rows=4_000)
    table = pl.read_parquet(tmp_path / "t.parquet")
    assert table.columns == COLUMNS
    assert summary == summary_of(events, answers)
    assert min(summary.reversals, summary.copies, summary.late, summary.beyond_grace) > 100
    assert_same_bits(table, events, answers)


def test_a_generated_history_has_the_features_served_online_bit_for_bit(tmp_path):
    generate(25_000, 40, 5, tmp_path / "h")
    events = read_events(tmp_path / "h")
    summary = build_table(tmp_path / "h", tmp_path / "t.parquet", chunk_rows=7_000)
    assert summary == TableSummary(25_000, 25_000, 0, 0, 0, 0, 40)
    table = pl.read_parquet(tmp_path / "t.parquet")
    assert table.columns == [*COLUMNS, "is_fraud", "attack_id", "attack_position"]
    assert_same_bits(table, events, online(events, 5))


def test_the_naive_oracle_agrees(tmp_path):
    events = awkward(12, 2_000, 40, BASE_MS)
    oracle = NaiveCards()
    answers = [oracle.apply(e) for e in events]
    summary = build_table(write(tmp_path / "h.parquet", events), tmp_path / "t.parquet", chunk_rows=300)
    assert summary == summary_of(events, answers)
    assert_same_bits(pl.read_parquet(tmp_path / "t.parquet"), events, answers)


SEVEN = """
with h as (
    select transaction_id as id, card_id as card, epoch_ms(event_time) as t, (amount * 100)::bigint as minor,
        row_number() over () as seq
    from read_parquet($history)
), w as (
    select i.id, any_value(i.minor) as minor, count(*) as n_1w, sum(j.minor)::double as s_1w,
        count(*) filter (j.t >= i.t - 600000) as n_10m, (sum(j.minor) filter (j.t >= i.t - 600000))::double as s_10m
    from h i join h j on j.card = i.card and j.seq <= i.seq and j.t between i.t - 604800000 and i.t
    group by i.id
), a as (select *, s_10m / n_10m / 100.0 as a_10m, s_1w / n_1w / 100.0 as a_1w, minor / 100.0 as amount from w)
select count(*), count(*) filter (
    num_trans_last_10m = n_10m and num_trans_last_1w = n_1w and avg_amt_last_10m = a_10m and avg_amt_last_1w = a_1w
    and amt_ratio1 = a_10m / a_1w and amt_ratio2 = a.amount / a_1w and count_ratio = n_10m / n_1w
) from read_parquet($table) f join a on a.id = f.transaction_id
"""


def test_sql_agrees_on_the_seven_features_of_the_reference(tmp_path):
    generate(20_000, 30, 6, tmp_path / "h")
    build_table(tmp_path / "h", tmp_path / "t.parquet")
    files = {"history": str(tmp_path / "h" / "*.parquet"), "table": str(tmp_path / "t.parquet")}
    assert duckdb.execute(SEVEN, files).fetchone() == (20_000, 20_000)


@pytest.mark.parametrize("part_rows", [90, 100_000])
@pytest.mark.parametrize(
    ("chunk_rows", "held_bytes"), [(30, 1 << 30), (333, 40_000), (333, 0), (1_999, 1 << 30), (2_000, 0), (10_000, 0)]
)
def test_chunks_parts_and_temporary_files_change_nothing(tmp_path, monkeypatch, chunk_rows, held_bytes, part_rows):
    history = write(tmp_path / "h.parquet", awkward(13, 2_000, 30, BASE_MS))
    whole = build_table(history, tmp_path / "whole.parquet")
    monkeypatch.setattr(offline, "_PART_ROWS", part_rows)
    cut = build_table(history, tmp_path / "cut.parquet", chunk_rows=chunk_rows, held_bytes=held_bytes)
    assert cut == whole
    assert (tmp_path / "cut.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()


def test_what_is_more_than_may_be_held_waits_in_files(tmp_path):
    counts, rows = np.full(4, 250), pl.DataFrame({"rank": np.arange(1_000, dtype=np.uint32) % 4, "n": np.arange(1_000)})
    slices = offline._Slices(tmp_path, counts, 250, ("rank",), 2 * rows[:250].estimated_size())
    for first in range(0, 1_000, 250):
        slices.add(rows[first : first + 250])
    assert len(list(tmp_path.iterdir())) == 2
    parts = list(slices.parts())
    assert [len(part) for part in parts] == counts.tolist()
    assert pl.concat(parts).equals(rows.sort("rank", maintain_order=True))


def test_files_of_a_folder_are_one_history_in_order_of_their_names(tmp_path):
    events = awkward(14, 1_000, 20, BASE_MS)
    whole = build_table(write(tmp_path / "h.parquet", events), tmp_path / "whole.parquet")
    (tmp_path / "h").mkdir()
    for number, at in enumerate(range(0, 1_000, 130)):
        write(tmp_path / "h" / f"part-{number:03d}.parquet", events[at : at + 130])
    assert build_table(tmp_path / "h", tmp_path / "parts.parquet") == whole
    assert pl.read_parquet(tmp_path / "parts.parquet").equals(pl.read_parquet(tmp_path / "whole.parquet"))


def plain(n: int = 3, **columns: object) -> pl.DataFrame:
    """A history of `n` rows, one card each unless told otherwise; keyword arguments replace or add columns."""
    frame = {
        "transaction_id": [f"t{i}" for i in range(n)],
        "card_id": [f"c{i:06d}" for i in range(n)],
        "amount": ["12.50"] * n,
        "currency": ["EUR"] * n,
        "event_time": [BASE_MS + i for i in range(n)],
    }
    return pl.DataFrame(frame | columns)


def built(folder: Path, history: pl.DataFrame, **options: object) -> pl.DataFrame:
    history.write_parquet(folder / "plain.parquet")
    build_table(folder / "plain.parquet", folder / "built.parquet", **options)
    return pl.read_parquet(folder / "built.parquet")


def test_more_cards_than_one_log_holds(tmp_path):
    table = built(tmp_path, plain(40_000))
    assert table["card_id"].is_sorted()
    assert (table["num_trans_last_1w"] == 1).all()


def test_cards_may_share_transaction_ids(tmp_path):
    table = built(tmp_path, plain(4, transaction_id=["t"] * 4, card_id=["a", "b", "a", "b"]))
    assert table["num_trans_last_1w"].to_list() == [1] * 4


def test_labels_are_passed_on_and_others_are_not(tmp_path):
    labels = {"is_fraud": [True, False, True], "attack_id": [7, None, 7], "attack_position": [1, None, 2]}
    table = built(tmp_path, plain(**labels, channel=["web"] * 3))
    assert table.columns == [*COLUMNS, *labels]
    assert table["is_fraud"].dtype == pl.Int8
    assert table["is_fraud"].to_list() == [1, 0, 1]
    assert table["attack_position"].to_list() == [1, None, 2]
    assert table["event_time"].dtype == pl.Datetime("ms", "UTC")


def test_a_clock_ahead_of_the_record_gives_the_records_time(tmp_path):
    events = [BASE_MS, BASE_MS + SKEW_MS, BASE_MS + SKEW_MS + 1]
    recorded = [None, BASE_MS, BASE_MS]
    table = built(tmp_path, plain(card_id=["c"] * 3, event_time=events, timestamp_ms=recorded))
    assert table["secs_since_last"].to_list() == [604_800.0, SKEW_MS / 1000, 0.0]
    assert table["event_time"].dt.epoch("ms").to_list() == events


def test_card_numbers_become_the_token_of_every_spelling(tmp_path):
    spelled = ["4111111111111111", "4111-1111 1111-1111", "a card"]
    ids = ["t-4111111111111111", "other", "4111111111111111"]
    table = built(tmp_path, plain(card_id=spelled, transaction_id=ids), pan_key=KEY)
    assert table["card_id"].n_unique() == 2
    own = table.filter(pl.col("card_id").str.starts_with("tok_"))
    assert own["num_trans_last_1w"].to_list() == [1, 2]
    assert own["transaction_id"].to_list() == ["t-************1111", "other"]


@pytest.mark.parametrize("key", [None, b""])
def test_card_numbers_without_a_key_are_refused(tmp_path, key):
    history = plain(card_id=["c", "4111 1111 1111 1111", "d"])
    with pytest.raises(HistoryError, match="FRAUD_PAN_KEY") as caught:
        built(tmp_path, history, pan_key=key)
    assert "4111" not in str(caught.value)


def test_progress_ends_when_the_work_does(tmp_path):
    steps: list[tuple[int, int]] = []
    built(tmp_path, plain(1_000), chunk_rows=300, progress=lambda done, total: steps.append((done, total)))
    assert steps == sorted(steps)
    assert steps[-1] == (2_000, 2_000)
    assert len(steps) == 8


REFUSED = [
    ("transaction_id", {"transaction_id": ["a", "", "c"]}),
    ("transaction_id", {"transaction_id": ["a", "b\n", "c"]}),
    ("transaction_id", {"transaction_id": ["a", "x" * 129, "c"]}),
    ("transaction_id", {"transaction_id": ["a", None, "c"]}),
    ("card_id", {"card_id": ["a", None, "c"]}),
    ("card_id", {"card_id": ["a", "b\x7f", "c"]}),
    ("amount", {"amount": ["1", "0", "1"]}),
    ("amount", {"amount": ["1", "-1.00", "1"]}),
    ("amount", {"amount": ["1", "", "1"]}),
    ("amount", {"amount": ["1", "1e99", "1"]}),
    ("amount", {"amount": ["1", "0.005", "1"]}),
    ("amount", {"amount": [1, 10**13 + 1, 1]}),
    ("amount", {"amount": [1.5, float("nan"), 1.5]}),
    ("amount", {"amount": [1.5, float("inf"), 1.5]}),
    ("amount", {"amount": [1.5, None, 1.5]}),
    ("currency", {"currency": ["EUR", "eur", "EUR"]}),
    ("currency", {"currency": ["EUR", "XXX", "EUR"]}),
    ("currency", {"currency": ["EUR", None, "EUR"]}),
    ("event_time", {"event_time": [1, -1, 1]}),
    ("event_time", {"event_time": [1, None, 1]}),
    ("event_time", {"event_time": [1, 253_402_300_800_000, 1]}),
    ("event_time", {"event_time": ["2024-01-01T00:00:00Z", "2024-02-30T00:00:00Z", "2024-01-01T00:00:00Z"]}),
    ("timestamp_ms", {"timestamp_ms": [1, -1, 1]}),
    ("type", {"type": [None, "refund", "authorization"]}),
    ("original_transaction_id", {"type": [None, "reversal", None]}),
    ("original_transaction_id", {"type": [None, "reversal", None], "original_transaction_id": ["a", None, "a"]}),
    ("is_fraud", {"is_fraud": [0, 2, 1]}),
]


@pytest.mark.parametrize(("column", "wrong"), REFUSED)
def test_a_row_that_is_no_transaction_is_named(tmp_path, column, wrong):
    with pytest.raises(HistoryError, match=rf"plain\.parquet, row 2 .*: {column} ") as caught:
        built(tmp_path, plain(**wrong))
    assert "\n" not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["plain.parquet"]


def test_a_history_of_unfit_cards_is_refused(tmp_path):
    with pytest.raises(HistoryError, match=r"row 1 .*: card_id "):
        built(tmp_path, plain(card_id=pl.Series([None, "", "\n"], dtype=pl.String)))


def test_rows_are_counted_within_their_file(tmp_path):
    (tmp_path / "h").mkdir()
    plain(10).write_parquet(tmp_path / "h" / "a.parquet")
    plain(10, amount=["1"] * 8 + ["x", "x"]).write_parquet(tmp_path / "h" / "b.parquet")
    with pytest.raises(HistoryError, match=r"b\.parquet, row 9 "):
        build_table(tmp_path / "h", tmp_path / "t.parquet", chunk_rows=3)


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"amount": [True, True, True]}, "amount cannot be of type Boolean"),
        ({"card_id": [1, 2, 3]}, "card_id cannot be of type Int64"),
        ({"event_time": [1.5, 1.5, 1.5]}, "event_time cannot be of type Float64"),
        ({"merchant_category": [5411, 5411, 5411]}, "merchant_category cannot be of type Int64"),
    ],
)
def test_a_column_of_an_unfit_type_is_named(tmp_path, columns, reason):
    with pytest.raises(HistoryError, match=reason):
        built(tmp_path, plain(**columns))


def test_files_that_are_no_history_are_refused(tmp_path):
    with pytest.raises(HistoryError, match="does not exist"):
        build_table(tmp_path / "none.parquet", tmp_path / "t.parquet")
    with pytest.raises(HistoryError, match=r"holds no file \*\.parquet"):
        build_table(tmp_path, tmp_path / "t.parquet")
    (tmp_path / "text.parquet").write_text("transaction_id,card_id\n")
    with pytest.raises(HistoryError, match="cannot be read as Parquet"):
        build_table(tmp_path / "text.parquet", tmp_path / "t.parquet")
    plain().drop("amount", "currency").write_parquet(tmp_path / "short.parquet")
    with pytest.raises(HistoryError, match="has no column amount, currency"):
        build_table(tmp_path / "short.parquet", tmp_path / "t.parquet")
    with pytest.raises(HistoryError, match="holds no transaction"):
        built(tmp_path, plain().clear())
    assert not (tmp_path / "t.parquet").exists()


def test_a_damaged_file_is_refused_and_leaves_the_old_table(tmp_path):
    (tmp_path / "t.parquet").write_bytes(b"old")
    plain(5_000).write_parquet(tmp_path / "h.parquet")
    damaged = bytearray((tmp_path / "h.parquet").read_bytes())
    damaged[8:4_000] = bytes(3_992)
    (tmp_path / "h.parquet").write_bytes(damaged)
    with pytest.raises(HistoryError, match="cannot be read as Parquet"):
        build_table(tmp_path / "h.parquet", tmp_path / "t.parquet")
    assert (tmp_path / "t.parquet").read_bytes() == b"old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["h.parquet", "t.parquet"]


def test_files_of_different_columns_are_refused(tmp_path):
    (tmp_path / "h").mkdir()
    plain().write_parquet(tmp_path / "h" / "a.parquet")
    plain(country=["DE"] * 3).write_parquet(tmp_path / "h" / "b.parquet")
    with pytest.raises(HistoryError, match=r"b\.parquet has other columns or column types than a\.parquet"):
        build_table(tmp_path / "h", tmp_path / "t.parquet")


def test_the_table_is_not_written_over_the_history_nor_where_it_cannot_be(tmp_path):
    plain().write_parquet(tmp_path / "h.parquet")
    with pytest.raises(HistoryError, match="is part of the history"):
        build_table(tmp_path, tmp_path / "h.parquet")
    with pytest.raises(HistoryError, match="cannot write the table"):
        build_table(tmp_path / "h.parquet", tmp_path / "h.parquet" / "t.parquet")
    (tmp_path / "folder").mkdir()
    with pytest.raises(HistoryError, match="cannot write the table"):
        build_table(tmp_path / "h.parquet", tmp_path / "folder")
