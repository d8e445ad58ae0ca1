"""The contract of section 3.2, to the letter."""

import json
import time

import pytest

from features.decode import Decoder, decode_plain
from features.errors import DecodeError
from features.pan import token
from features.times import MAX_EVENT_MS

KEY = b"k" * 32
PAN = "4111111111111111"
OTHER_PAN = "5555555555554444"
BASE = {
    "transaction_id": "t-1",
    "card_id": "card-1",
    "amount": 12.5,
    "currency": "EUR",
    "event_time": "2024-03-01T12:34:56.789Z",
}
OPTIONAL = ["merchant_id", "merchant_category", "country", "channel", "device_id", "ip_address", "email"]
ABSENT = object()


def wire(**changes):
    record = {**BASE, **changes}
    return json.dumps({name: value for name, value in record.items() if value is not ABSENT}).encode()


def raw(**changes):
    """A record whose values are JSON texts, taken as they are."""
    record = {name: json.dumps(value) for name, value in BASE.items()} | changes
    return ("{" + ",".join(f'"{name}":{text}' for name, text in record.items()) + "}").encode()


def decode(value, key=KEY):
    return Decoder(key).decode(value)


def reason(value, key=KEY):
    with pytest.raises(DecodeError) as caught:
        decode(value, key)
    assert PAN not in str(caught.value)
    return caught.value.reason


def test_a_common_record():
    optional = {name: f"value of {name}" for name in OPTIONAL}
    transaction = decode(wire(**optional))
    assert transaction.transaction_id == "t-1"
    assert transaction.card_id == "card-1"
    assert (transaction.amount_minor, transaction.currency, transaction.exponent) == (1250, "EUR", 2)
    assert transaction.event_ms == 1709296496789
    assert transaction.type == "authorization"
    assert transaction.original_transaction_id is None
    assert {name: getattr(transaction, name) for name in OPTIONAL} == optional
    assert transaction.card_last4 is None
    assert transaction.dropped_fields == ()
    assert transaction.home_id == b"card-1"


def test_the_common_record_takes_the_fast_way():
    assert decode_plain(wire(merchant_id="m", note={"a": [1]})) is not None
    assert decode_plain(wire(type="reversal", original_transaction_id="t-0")) is not None


@pytest.mark.parametrize("value", [None, b""])
def test_empty(value):
    assert reason(value) == "empty"


@pytest.mark.parametrize(
    "value",
    [
        b" ",
        b"{",
        b"nul",
        b"\xff",
        b"\x00",
        b"not json",
        b'{"a":1}x',
        b'{"a":1} {"a":1}',
        b'{"a":1,}',
        b"{'a':1}",
        b'{"a":01}',
        b'{"a":+1}',
        b'{"a":.5}',
        b'{"a":1.}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b'{"a":"\x01"}',
        b'{"a":"\\x"}',
        b'{"a":"\xed\xa0\x80"}',
        b'{"a":"\xc3"}',
        b'{"\xff":1}',
        b"\xef\xbb\xbf{}",
        b"[" * 101 + b"]" * 101,
        b"[" * 200_000,
        b'{"a":' * 40_000,
        b"{}".decode().encode("utf-16"),
        wire()[:-1],
        wire() + b"\x00",
        raw(amount="NaN"),
        raw(x="Infinity"),
        raw(x='"\xff"').decode().encode("latin-1"),
    ],
)
def test_not_json(value):
    assert reason(value) == "not_json"


@pytest.mark.parametrize("value", [b"null", b"[]", b"1", b'"x"', b"true", b" [{}] ", b"1e999999999", b"9" * 5000])
def test_not_object(value):
    assert reason(value) == "not_object"


def test_size_is_looked_at_first():
    assert reason(b"x" * (256 * 1024 + 1)) == "too_large"
    assert reason(b"[" * (2 * 1024 * 1024)) == "too_large"
    padding = 256 * 1024 - len(wire(x=""))
    assert decode(wire(x="y" * padding)).transaction_id == "t-1"
    assert reason(wire(x="y" * (padding + 1))) == "too_large"


def test_depth():
    assert decode(raw(x="[" * 99 + "]" * 99)).transaction_id == "t-1"
    assert reason(raw(x="[" * 100 + "]" * 100)) == "not_json"
    assert reason(raw(x='{"a":' * 100 + "1" + "}" * 100)) == "not_json"
    assert decode(raw(x=json.dumps("[{" * 5000))).transaction_id == "t-1"
    assert decode(raw(x=json.dumps('\\"[{' * 5000))).transaction_id == "t-1"
    assert decode(raw(x="[" + ",".join(["[]"] * 5000) + "]")).transaction_id == "t-1"
    assert reason(raw(x='"' + "[" * 200)) == "not_json"


@pytest.mark.parametrize(
    "value", [b'{"a":"' + b'\\"' * 130_000, b'"' * 262_144, b'{"a":"' + b"[" * 262_000, b"[]" * 131_000]
)
def test_hostile_text_costs_bounded_time(value):
    started = time.process_time()
    assert reason(value) == "not_json"
    assert time.process_time() - started < 2


@pytest.mark.parametrize("name", BASE)
def test_a_required_field(name):
    assert reason(wire(**{name: ABSENT})) == "missing_field"
    for value in (None, True, False, [], {}, [BASE[name]]):
        assert reason(wire(**{name: value})) == "bad_type"


@pytest.mark.parametrize("name", ["transaction_id", "card_id", "currency"])
def test_a_string_is_no_number(name):
    assert reason(wire(**{name: 12})) == "bad_type"


@pytest.mark.parametrize("name", ["transaction_id", "card_id"])
def test_ids(name):
    for value in ("a", "a" * 128, "\U0001f600" * 128, "ü", " ", "a b", "\u00a0", "\u200b", '%:/\\"'):
        assert getattr(decode(wire(**{name: value})), name) == value
    for value in (
        "",
        "a" * 129,
        "\U0001f600" * 129,
        "a\nb",
        "\x00",
        "\x1f",
        "\x7f",
        "\x80",
        "\x9f",
        "\ud800",
        "\udc00\ud800",
    ):
        assert reason(wire(**{name: value})) == "bad_id"
    assert reason(raw(**{name: '"\\ud83dx"'})) == "bad_id"
    assert getattr(decode(raw(**{name: '"\\ud83d\\ude00"'})), name) == "\U0001f600"


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("12.5", "EUR", 1250),
        ('"12.5"', "EUR", 1250),
        ('"1\\u0032.5"', "EUR", 1250),
        ("1e1", "EUR", 1000),
        ('"1E1"', "EUR", 1000),
        ("12.345", "KWD", 12345),
        ("12.5", "JPY", 12),
        ("13.5", "JPY", 14),
        ("0.07", "USD", 7),
        ("1.005", "USD", 100),
        ("1.015", "USD", 102),
        ("4.35", "USD", 435),
        ("9007199254740993", "JPY", None),
        ("900719925474099.3", "JPY", 900719925474099),
        ("9007199254740.993", "KWD", None),
        ("999999999999.993", "KWD", 999999999999993),
        ("10000000000000.00", "EUR", 10**15),
        ("10000000000000.01", "EUR", None),
        ("0", "EUR", None),
        ("0.004", "EUR", None),
        ("0.005", "EUR", None),
        ("0.006", "EUR", 1),
        ("-12.5", "EUR", None),
        ("1e999999999", "EUR", None),
        ("1e-999999999", "EUR", None),
        ("9" * 5000, "EUR", None),
        ('""', "EUR", None),
        ('" 12"', "EUR", None),
        ('"12 "', "EUR", None),
        ('"+5"', "EUR", None),
        ('"1_000"', "EUR", None),
        ('"1,5"', "EUR", None),
        ('"NaN"', "EUR", None),
        ('"Infinity"', "EUR", None),
        ('"null"', "EUR", None),
        ('"٣"', "EUR", None),
        ('"\\ud800"', "EUR", None),
        ('"\\"12\\""', "EUR", None),
    ],
)
def test_amount(text, currency, minor):
    value = raw(amount=text, currency=json.dumps(currency))
    if minor is None:
        assert reason(value) == "bad_amount"
    else:
        assert decode(value).amount_minor == minor


@pytest.mark.parametrize(
    "code", ["", "eur", "EURO", "EU", " EUR", "XXX", "XTS", "XAU", "DEM", "978", "\ud800", "\u0415UR"]
)
def test_currency(code):
    assert reason(wire(currency=code)) == "bad_currency"


@pytest.mark.parametrize(
    ("text", "event_ms"),
    [
        ("0", 0),
        ("-0", 0),
        ("1700000000000", 1700000000000),
        (str(MAX_EVENT_MS), MAX_EVENT_MS),
        ('"2024-03-01 12:34:56"', 1709296496000),
        ('"2024-03-01T12:34:56.7899999999999+01:00"', 1709292896789),
        ('"\\u0032024-03-01T12:34:56Z"', 1709296496000),
        (str(MAX_EVENT_MS + 1), None),
        ("-1", None),
        ("9" * 20, None),
        ("9" * 5000, None),
        ("1.5", None),
        ("1700000000000.0", None),
        ("1.7e12", None),
        ("1e999999999", None),
        ('"1700000000000"', None),
        ('"2024-03-01"', None),
        ('""', None),
        ('"yesterday"', None),
        ('"1969-12-31T23:59:59Z"', None),
        ('"10000-01-01T00:00:00Z"', None),
        ('"\\ud800"', None),
    ],
)
def test_event_time(text, event_ms):
    value = raw(event_time=text)
    if event_ms is None:
        assert reason(value) == "bad_time"
    else:
        assert decode(value).event_ms == event_ms


def test_type_and_reversal():
    assert decode(wire(type="authorization", original_transaction_id=7)).original_transaction_id is None
    assert decode(wire(original_transaction_id="t-0")).original_transaction_id is None
    reversal = decode(wire(type="reversal", original_transaction_id="t-0"))
    assert (reversal.type, reversal.original_transaction_id) == ("reversal", "t-0")
    for kind in ("", "refund", "Reversal", "REVERSAL", None, 1, True, [], {}, "\ud800"):
        assert reason(wire(type=kind, original_transaction_id="t-0")) == "bad_field"
    for original in (ABSENT, None, "", 7, True, [], {}):
        assert reason(wire(type="reversal", original_transaction_id=original)) == "bad_field"
    for original in ("a" * 129, "a\n", "\ud800", "\x85"):
        assert reason(wire(type="reversal", original_transaction_id=original)) == "bad_id"
    assert reason(wire(type="reversal", original_transaction_id="t-0", amount=ABSENT)) == "missing_field"


@pytest.mark.parametrize("name", OPTIONAL)
def test_an_optional_field(name):
    for value in ("", "x" * 256, "\U0001f600" * 256, "a\nb\x00", "ü"):
        transaction = decode(wire(**{name: value}))
        assert (getattr(transaction, name), transaction.dropped_fields) == (value, ())
    for value in (None, 5411, 1.5, True, [], {}, "x" * 257, "\U0001f600" * 257, "\ud800", "a\udfff"):
        transaction = decode(wire(**{name: value}))
        assert (getattr(transaction, name), transaction.dropped_fields) == (None, (name,))


def test_dropped_fields_are_in_the_order_of_the_contract():
    assert decode(wire(**dict.fromkeys(reversed(OPTIONAL), 1))).dropped_fields == tuple(OPTIONAL)


def test_of_a_repeated_key_the_last_counts():
    body = wire()[:-1]
    assert decode(body + b',"amount":1}').amount_minor == 100
    assert decode(b'{"amount":null,' + wire()[1:]).amount_minor == 1250
    assert (
        decode(b'{"merchant_id":7,"type":7,' + wire(merchant_id="m")[1:-1] + b',"type":"authorization"}').dropped_fields
        == ()
    )
    assert decode(body + b',"merchant_id":"m","merchant_id":null}').dropped_fields == ("merchant_id",)
    assert decode(body + b',"\\u0061mount":2}').amount_minor == 200
    assert reason(body + b',"amount":null}') == "bad_type"


def test_unknown_fields_are_tolerated_whatever_they_hold():
    for text in (
        "9" * 5000,
        "1e999999999",
        "-0.0e-5",
        "[" * 50 + "]" * 50,
        '"\\ud800"',
        "null",
        '{"amount":7}',
        '"\\u0000"',
    ):
        assert decode(raw(x=text)) == decode(raw())
    assert decode(raw(**{"": "1", "\\ud800": "2", "x" * 10_000: "3"})) == decode(raw())


def test_the_order_of_checks():
    assert reason(b"[" * 300_000) == "too_large"
    assert reason(wire(amount=None, currency=ABSENT)) == "missing_field"
    assert reason(wire(transaction_id="", event_time=None)) == "bad_type"
    assert reason(wire(transaction_id="", amount="x")) == "bad_id"
    assert reason(wire(amount="x", currency="x")) == "bad_amount"
    assert reason(wire(amount=0, currency="x", event_time="x")) == "bad_currency"
    assert reason(wire(amount=0, event_time="x")) == "bad_amount"
    assert reason(wire(event_time="x", type="x")) == "bad_time"
    assert reason(wire(card_id=PAN, type="x"), key=None) == "bad_field"


@pytest.mark.parametrize("spelling", [PAN, "4111 1111 1111 1111", "4111-1111-1111-1111", " 4111-1111 11111111 "])
def test_a_card_number_becomes_its_token(spelling):
    transaction = decode(wire(card_id=spelling))
    assert transaction.card_id == token(KEY, PAN)
    assert transaction.card_last4 == "1111"
    assert transaction.home_id == PAN.encode()
    assert PAN not in repr(transaction)
    assert reason(wire(card_id=spelling), key=None) == "pan_without_key"
    assert reason(wire(card_id=spelling), key=b"") == "pan_without_key"


@pytest.mark.parametrize("name", ["transaction_id", *OPTIONAL])
@pytest.mark.parametrize("spelling", [PAN, "4111-1111-1111-1111", f"a{PAN}b", f"77{PAN}", "4111.1111.1111.1111"])
def test_the_own_card_number_is_masked_everywhere(name, spelling):
    transaction = decode(wire(card_id=PAN, **{name: spelling}))
    masked = getattr(transaction, name)
    assert masked != spelling
    assert len(masked) == len(spelling)
    assert PAN not in "".join(filter(str.isdigit, masked))


def test_the_own_card_number_is_masked_in_a_reversal():
    reversal = decode(wire(card_id=PAN, type="reversal", original_transaction_id=f"{PAN}-1", transaction_id=f"{PAN}-2"))
    original = decode(wire(card_id=PAN, transaction_id=f"{PAN}-1"))
    assert reversal.original_transaction_id == original.transaction_id == "************1111-1"


def test_other_card_numbers_are_masked_in_free_identifiers_only():
    texts = dict.fromkeys(("transaction_id", *OPTIONAL), f"id {OTHER_PAN}")
    for card_id in ("card-1", PAN):
        transaction = decode(wire(card_id=card_id, **texts))
        for name, text in texts.items():
            assert (getattr(transaction, name) == text) == (name not in {"merchant_id", "device_id", "email"})
    assert decode(wire(merchant_id=OTHER_PAN), key=None).merchant_id == "************4444"


def test_numbers_that_are_no_cards_stay():
    transaction = decode(
        wire(card_id="4111111111111112", transaction_id="20240101000000000", merchant_id="9999999999999995")
    )
    assert transaction.card_id == "4111111111111112"
    assert transaction.transaction_id == "20240101000000000"
    assert transaction.merchant_id == "9999999999999995"
    assert transaction.card_last4 is None
