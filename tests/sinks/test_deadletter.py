"""Dead letters: the value of section 3.7, without card numbers."""

import base64
import json
import time
from pathlib import Path

import jsonschema
import pytest

from sinks.deadletter import MAX_PAYLOAD_BYTES, dead_letter, dead_letter_schema

PAN = "4111111111111111"
NINE = "9999999999999995"  # Luhn-valid; no run of the contract, but a card number where it is a card id
SCHEMA = Path(__file__).parents[2] / "schemas" / "dead_letter.schema.json"


def letter(value, key=b"card-1", reason="bad_amount", detail="amount is not a decimal number"):
    raw = dead_letter(
        reason, detail, topic="transactions", partition=3, offset=42, timestamp_ms=1700000000000, key=key, value=value
    )
    parsed = json.loads(raw)
    jsonschema.validate(parsed, dead_letter_schema())
    return parsed


def test_the_committed_schema_is_up_to_date():
    assert json.loads(SCHEMA.read_text()) == dead_letter_schema()


def test_all_fields():
    assert letter(b'{"a":"\xc3\xbc"}') == {
        "reason": "bad_amount",
        "detail": "amount is not a decimal number",
        "source": {"topic": "transactions", "partition": 3, "offset": 42, "timestamp": 1700000000000},
        "key": "card-1",
        "payload": '{"a":"ü"}',
        "encoding": "utf-8",
        "truncated": False,
    }


def test_no_value_and_no_key():
    parsed = letter(None, key=None, reason="empty")
    assert (parsed["payload"], parsed["encoding"], parsed["key"], parsed["truncated"]) == (None, "utf-8", None, False)
    assert letter(b"")["payload"] == ""


def test_what_is_not_utf8_is_base64():
    parsed = letter(b"\xff\x00 " + PAN.encode(), key=b"\xffk")
    assert parsed["encoding"] == "base64"
    assert base64.b64decode(parsed["payload"]) == b"\xff\x00 " + b"*" * 16
    assert parsed["key"] == "\\xffk"


@pytest.mark.parametrize("size", [MAX_PAYLOAD_BYTES - 1, MAX_PAYLOAD_BYTES, MAX_PAYLOAD_BYTES + 1, 3_000_000])
def test_a_long_payload_is_cut(size):
    parsed = letter(b"a" * size)
    assert parsed["truncated"] == (size > MAX_PAYLOAD_BYTES)
    assert len(parsed["payload"]) == min(size, MAX_PAYLOAD_BYTES)
    parsed = letter(b"\xff" * size)
    assert len(base64.b64decode(parsed["payload"])) == min(size, MAX_PAYLOAD_BYTES)
    assert parsed["truncated"] == (size > MAX_PAYLOAD_BYTES)


def test_a_cut_does_not_split_a_character():
    parsed = letter(b"a" + "ü".encode() * MAX_PAYLOAD_BYTES)
    assert parsed["encoding"] == "utf-8"
    assert parsed["payload"] == "a" + "ü" * ((MAX_PAYLOAD_BYTES - 1) // 2)
    assert parsed["truncated"]


@pytest.mark.parametrize("ahead", range(1, 17))
def test_a_card_number_across_the_cut_leaves_no_digit(ahead):
    for spelling in (PAN, "4111 1111 1111 1111", "".join(f"\\u003{digit}" for digit in PAN)):
        parsed = letter(b"x" * (MAX_PAYLOAD_BYTES - ahead) + spelling.encode())
        assert not any(digit in parsed["payload"] for digit in "0123456789")


@pytest.mark.parametrize(
    "spelling",
    [
        PAN,
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "\\u0034" + PAN[1:],
        f"0{PAN}0",
        f"x{PAN}y",
        "4111\\u00201111\\n11111111",
    ],
)
@pytest.mark.parametrize("name", ["card_id", "transaction_id", "note"])
def test_card_numbers_are_scrubbed_from_everything(spelling, name):
    body = f'{{"{name}":"{spelling}"}}'.encode()
    for value in (body, body[:-1], body + b"\xff"):
        parsed = letter(value, key=spelling.encode(), detail=f"about {spelling}")
        if parsed["encoding"] == "base64":
            parsed["payload"] = base64.b64decode(parsed["payload"]).decode("latin-1")
        assert "1111" not in parsed["payload"] + parsed["key"] + parsed["detail"]


def test_card_numbers_are_scrubbed_from_utf16():
    payload = base64.b64decode(letter(f'{{"card_id":"{PAN}"}}'.encode("utf-16"))["payload"])
    assert payload.decode("utf-16") == f'{{"card_id":"{"*" * 16}"}}'


@pytest.mark.parametrize(
    "value",
    [
        f'{{"card_id":"{NINE}","note":"{NINE}"}}',
        f'{{"card_id":"\\u0039{NINE[1:]}","note":"{NINE}"}}',
        f'{{"card_id": {NINE}, "note":"9999-9999-9999-9995"}}',
        f'{{"card_id" : "9999 9999 9999 9995", "note":"x{NINE}00"',
        f'{{"note":"{NINE}","card_id":"{NINE}"}} trailing',
    ],
)
def test_the_own_card_number_is_scrubbed_whatever_its_first_digit(value):
    parsed = letter(value.encode(), detail=f"about {NINE}")
    assert "999" not in parsed["payload"] + parsed["detail"]
    parsed = letter(f"x {NINE}".encode(), key=NINE.encode())
    assert "999" not in parsed["payload"] + parsed["key"]


def test_the_rest_of_the_payload_stays():
    value = b'{"transaction_id":"20240101000000001","card_id":"c-1","event_time":1700000000000,"amount":"x"}'
    assert letter(value)["payload"] == value.decode()


@pytest.mark.parametrize(
    "value", [b"4" * 4_000_000, b"4 " * 2_000_000, b'"card_id":' * 400_000, b'"card_id":"' + b" " * 4_000_000]
)
def test_hostile_payloads_cost_bounded_time(value):
    started = time.process_time()
    letter(value, key=value)
    assert time.process_time() - started < 5
