"""Golden records: what a version of the contract once allowed decodes the same for ever."""

import json
from pathlib import Path

import jsonschema
import msgspec
import pytest

from features.decode import Decoder
from features.errors import DecodeError
from features.wire import transaction_schema

ROOT = Path(__file__).parents[2]
GOLDEN = sorted((ROOT / "tests" / "data" / "wire").glob("transaction-*.json"))
SCHEMA = ROOT / "schemas" / "transaction.schema.json"
KEY = b"golden key of 32 bytes, not real"


def load(path):
    return json.loads(path.read_text())


def test_there_are_golden_records():
    assert len(GOLDEN) >= 6


def test_the_committed_schema_is_up_to_date():
    assert load(SCHEMA) == transaction_schema()


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_golden_record_decodes_as_ever(path):
    golden = load(path)
    jsonschema.Draft202012Validator(transaction_schema()).validate(golden["record"])
    transaction = Decoder(KEY).decode(json.dumps(golden["record"]).encode())
    decoded = {**msgspec.structs.asdict(transaction), "home_id": transaction.home_id.decode()}
    assert decoded.pop("old_card_ids") == (), "there are no older keys here"
    assert {**decoded, "dropped_fields": list(transaction.dropped_fields)} == golden["decoded"]


@pytest.mark.parametrize(
    "change",
    [
        {"transaction_id": ""},
        {"transaction_id": "a\nb"},
        {"card_id": "a" * 129},
        {"amount": 0},
        {"amount": True},
        {"amount": "+5"},
        {"currency": "XXX"},
        {"currency": "eur"},
        {"event_time": -1},
        {"event_time": 1.5},
        {"event_time": "2024-03-01"},
        {"event_time": None},
        {"type": "refund"},
        {"type": "reversal"},
    ],
)
def test_what_the_schema_refuses_is_refused(change):
    record = {**load(GOLDEN[0])["record"], **change}
    assert not jsonschema.Draft202012Validator(transaction_schema()).is_valid(record)
    with pytest.raises(DecodeError):
        Decoder(KEY).decode(json.dumps(record).encode())
