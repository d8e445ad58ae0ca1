"""Topics become a history and labels that training reads: resumable, card numbers as tokens, strays counted once."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import polars as pl
import pytest

from features.decode import Decoder
from features.errors import HistoryError
from features.offline import build_table
from features.partition import home_partition
from local.generator import generate
from scoring.dataset import load_dataset
from scoring.label import Label, encode_label
from scoring.learning.labels import LabelOptions
from streams.history_export import Export, transaction_frame, transaction_rows

PAN = "4111111111111111"


def record(number: int, card: str, **fields: object) -> tuple[str, bytes]:
    plain = {"transaction_id": f"t{number}", "card_id": card, "amount": "12.50", "currency": "EUR",
             "event_time": 1_700_000_000_000 + number * 1000, "country": "CH"}  # fmt: skip
    return card, json.dumps({**plain, **fields}).encode()


def stray_partition(card: str, partitions: int) -> int:
    return (home_partition(card.encode(), partitions) + 1) % partitions


def label(number: int) -> Label:
    return Label(
        label_id=f"l{number}", transaction_id=f"t{number}", card_id=f"card-{number % 7}", label="fraud",
        source="analyst", labelled_at="2023-11-20T00:00:00.000Z", note="called the customer",
    )  # fmt: skip


def test_topics_are_exported_and_an_export_goes_on(pipeline, tmp_path):
    out = tmp_path / "history"
    pipeline.publish(record(number, f"card-{number % 7}") for number in range(500))
    pipeline.publish([record(500, PAN), ("x", b"no json"), record(501, "card-1", type="reversal",
                      original_transaction_id="t1")])  # fmt: skip
    pipeline.publish([record(502, "card-2")], partition=stray_partition("card-2", pipeline.partitions))
    for number in range(5):
        key = label(number).card_id.encode()
        pipeline.producer.produce(f"{pipeline.prefix}fraud_labels", encode_label(label(number)), key)
    assert pipeline.producer.flush(30) == 0

    first = pipeline.run("history", "export", "--out", str(out)).stdout
    assert "502 transactions of 504 records" in first
    assert "left out: 1 records that are none (not_json)" in first
    assert "left out: 1 strays" in first
    assert "5 labels of 5 records" in first
    again = pipeline.run("history", "export", "--out", str(out)).stdout
    assert "0 transactions of 0 records" in again
    pipeline.publish([record(503, "card-3")])
    assert "1 transactions of 1 records" in pipeline.run("history", "export", "--out", str(out)).stdout

    written = b"".join(file.read_bytes() for file in out.rglob("*") if file.is_file())
    assert PAN.encode() not in written
    assert b"called the customer" not in written
    summary = build_table(out, tmp_path / "table.parquet")
    assert (summary.rows_in, summary.reversals, summary.cards) == (503, 1, 8)
    known = load_dataset(tmp_path / "table.parquet", LabelOptions((out / "labels",), 1_800_000_000_000, 30))
    assert int(known.is_fraud.sum()) == 5
    assert len(known) == 502


def test_small_files_say_the_same_as_one(pipeline, tmp_path):
    generate(3_000, 20, 3, tmp_path / "generated")
    rows = pl.read_parquet(tmp_path / "generated" / "*.parquet").to_dicts()
    pipeline.publish(
        (row["card_id"], msgspec.json.encode({
            "transaction_id": row["transaction_id"], "card_id": row["card_id"], "amount": str(row["amount"]),
            "currency": row["currency"], "event_time": row["event_time"].isoformat(), "country": row["country"],
            "merchant_category": row["merchant_category"],
        }))
        for row in rows
    )  # fmt: skip
    topic, kafka = f"{pipeline.prefix}transactions", pipeline.bootstrap
    read = transaction_rows(Decoder(None), topic=topic, dead_letters="dlq", moved=False)
    for name, size in (("one", 100_000), ("many", 100)):
        done = Export(kafka, topic, tmp_path / name, transaction_frame, size).run(read, None, lambda _done, _all: None)
        assert (done.rows, done.left_out) == (3_000, {})
        build_table(tmp_path / name, tmp_path / f"{name}.parquet", clock_skew_ms=1 << 50)
    build_table(tmp_path / "generated", tmp_path / "given.parquet")
    tables = [pl.read_parquet(tmp_path / f"{name}.parquet") for name in ("one", "many", "given")]
    assert len(list((tmp_path / "many").glob("*.parquet"))) > len(list((tmp_path / "one").glob("*.parquet")))
    assert tables[0].equals(tables[1])
    assert tables[0].equals(tables[2].select(tables[0].columns))
    with pytest.raises(HistoryError, match=r"holds an export of .*transactions, not of .*other"):
        Export(kafka, f"{pipeline.prefix}fraud_labels".replace("fraud_labels", "other"), tmp_path / "one",
               transaction_frame)._claim(4)  # fmt: skip
    assert Path(tmp_path / "one" / "export.json").exists()
