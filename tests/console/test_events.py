"""The audit event: its schema, its place in the contract, and what must not stand in it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from jsonschema import Draft202012Validator

from console.audit_index import _PROPERTIES
from console.events import Action, ReviewEvent, decode_event, encode_event, event_schema
from console.words import ACTION_WORDS
from tests.console.seed import PAN

ROOT = Path(__file__).resolve().parents[2]
EVENT = ReviewEvent(
    event_id="e1", at="2026-01-02T03:04:05.678Z", actor="ana", action="answer", via="password", address="192.0.2.1",
    card_id="tok_a", transaction_id="t1", label="fraud", label_id="e1", note="called",
)  # fmt: skip


def test_the_schema_is_that_of_the_code_and_takes_events():
    stored = json.loads((ROOT / "schemas" / "review_event.schema.json").read_text())

    assert stored == event_schema()
    Draft202012Validator(stored).validate(json.loads(encode_event(EVENT)))


def test_an_event_reads_back_as_it_was():
    assert decode_event(encode_event(EVENT)) == EVENT


@pytest.mark.parametrize("value", [b"", b"{}", b"\xff", b"[]", b'{"event_id": 1}'])
def test_what_is_no_event_is_none(value):
    assert decode_event(value) is None


def test_no_card_number_gets_into_the_trail():
    assert PAN.encode() not in encode_event(msgspec.structs.replace(EVENT, note=f"card {PAN}"))


def test_contract_index_and_pages_know_every_field_and_action():
    section = (ROOT / "docs" / "contract.md").read_text().split("## Audit trail\n", 1)[1].split("\n## ", 1)[0]
    fields = {field.encode_name for field in msgspec.structs.fields(ReviewEvent)}

    assert fields <= set(re.findall(r"`(\w+)`", section))
    assert set(get_args(Action)) <= set(re.findall(r"`(\w+)`", section))
    assert fields | {"case"} == set(_PROPERTIES)
    assert set(ACTION_WORDS) == set(get_args(Action))
