"""Labels on the wire: golden bytes, a schema that fits, bad records by reason, and which of several stands."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from features.errors import DecodeError
from scoring.label import Label, decode_label, encode_label, label_schema, standing

ROOT = Path(__file__).parents[2]
GOLDEN = sorted((ROOT / "tests" / "data" / "wire").glob("label-v1-*.json"))
RECORD: dict[str, Any] = {
    "label_id": "l-1",
    "transaction_id": "t-1",
    "card_id": "c:1",
    "label": "fraud",
    "source": "analyst",
    "labelled_at": "2026-01-03T09:10:11.120Z",
}


def record(**fields: object) -> bytes:
    return json.dumps({**RECORD, **fields}).encode()


def label(**fields: object) -> Label:
    return decode_label(record(**fields))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_the_bytes_are_as_ever(path: Path) -> None:
    raw = path.read_bytes().strip()
    assert encode_label(decode_label(raw)) == raw
    jsonschema.Draft202012Validator(label_schema()).validate(json.loads(raw))


def test_the_committed_schema_is_up_to_date_and_fits() -> None:
    schema = json.loads((ROOT / "schemas" / "label.schema.json").read_text())
    assert schema == json.loads(json.dumps(label_schema()))
    assert len(GOLDEN) == 2
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema).validate(json.loads(record(label="perhaps")))


def test_times_take_one_form_and_unknown_fields_are_left_out() -> None:
    said = label(labelled_at="2026-01-03 10:10:11.1209+01:00", event_time="2026-01-02T03:04:05Z", colour="red")
    assert said.labelled_at == "2026-01-03T09:10:11.120Z"
    assert said.event_time == "2026-01-02T03:04:05.000Z"
    assert b"red" not in encode_label(said)


def test_card_numbers_in_notes_and_names_are_hidden_on_both_ways() -> None:
    said = label(note="he said 4111 1111 1111 1111, not his", analyst="4111111111111111")
    assert said.note == "he said **** **** **** ****, not his"
    written = Label(**{**RECORD, "note": "4111-1111-1111-1111"})
    assert b"1111" not in encode_label(said)
    assert b"1111" not in encode_label(written)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "empty"),
        (b"", "empty"),
        (b"{", "not_json"),
        (b'{"note": "\xff"}', "not_json"),
        (b"[" * 100_000, "not_json"),
        (b"[]", "not_object"),
        (b" " * 262_145, "too_large"),
        (b"{}", "missing_field"),
        (record(label=1), "bad_type"),
        (record(analyst=None), "bad_type"),
        (record(label="4111111111111111"), "bad_field"),
        (record(source="gossip"), "bad_field"),
        (record(score=1001), "bad_field"),
        (record(currency="eur"), "bad_field"),
        (record(note="n" * 4001), "bad_field"),
        (record(amount_minor=10**15 + 1), "bad_field"),
        (record(label_id=""), "bad_id"),
        (record(transaction_id="t" * 129), "bad_id"),
        (record(card_id="c\n1"), "bad_id"),
        (record(card_id="4111 1111 1111 1111"), "bad_id"),
        (record(labelled_at="yesterday"), "bad_time"),
        (record(event_time="1969-12-31T23:59:59Z"), "bad_time"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_label_is_refused_by_reason_without_its_values(value: bytes | None, reason: str) -> None:
    with pytest.raises(DecodeError) as refused:
        decode_label(value)
    assert refused.value.reason == reason
    assert not any(word in str(refused.value) for word in ("4111", "gossip", "yesterday", "eur"))


def test_nobody_publishes_what_nobody_could_read() -> None:
    with pytest.raises(DecodeError, match="bad_id"):
        encode_label(Label(**{**RECORD, "transaction_id": ""}))


def test_the_newest_stands_then_the_weightier_source_in_any_order_and_repeated() -> None:
    early = label(label_id="1", labelled_at="2026-01-03T00:00:00Z", source="chargeback")
    rule = label(label_id="9", labelled_at="2026-01-04T00:00:00Z", source="rule", label="valid")
    analyst = label(label_id="5", labelled_at="2026-01-04T00:00:00Z", label="undecided")
    charged = label(label_id="2", labelled_at="2026-01-04T00:00:00Z", source="chargeback")
    other = label(label_id="3", card_id="c:2", label="withdrawn")
    for order in itertools.permutations([early, rule, analyst, charged, charged, other]):
        assert standing(order) == {("c:1", "t-1"): charged, ("c:2", "t-1"): other}
    assert standing([rule, analyst, early]) == {("c:1", "t-1"): analyst}


@pytest.mark.parametrize(("answer", "is_fraud"), [("fraud", 1), ("valid", 0), ("undecided", None), ("withdrawn", None)])
def test_only_two_answers_say_whether_it_was_fraud(answer: str, is_fraud: int | None) -> None:
    assert label(label=answer).is_fraud == is_fraud
