"""Everything that a producer can do wrong, in one run of the roles; each wrong record is followed by a right one."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import jsonschema
import numpy as np
import pytest
from opensearchpy import OpenSearch
from redis import Redis

from features.catalogue import FEATURE_NAMES
from features.partition import home_partition
from local.stack import Stack
from scoring.model import Model
from tests.streams.pipeline import Pipeline, RoleProcess
from tests.streams.records import (
    Place,
    Raw,
    Sent,
    by_source,
    cards_of,
    fields,
    now_ms,
    read_all,
    send,
    spelled,
    value_of,
    wait_acknowledged,
    without,
)

PREFIX = "hostile-"
KIB = 1024
DAY_MS = 86_400_000
SCHEMAS = Path(__file__).parents[2] / "schemas"

VISA, MASTER, AMEX, DINERS, SHORT, NINE = (
    "4111111111111111", "5555555555554444", "378282246310005", "30569309025904", "4222222222222", "9999999999999995",
)  # fmt: skip
LONG = "6304000000000000000"
PANS = (VISA, MASTER, AMEX, DINERS, SHORT, NINE, LONG)


class Bad(NamedTuple):
    """A record that is no transaction; where the contract leaves two reasons open, both are named."""

    name: str
    reason: str
    value: bytes | None
    key: bytes | None = None

    @property
    def reasons(self) -> set[str]:
        return set(self.reason.split("|"))


def padded(size: int, **changed: Any) -> bytes:
    """A right transaction with an unknown field that fills it to exactly so many bytes."""
    bare = json.dumps(fields(**changed, filler="")).encode()
    return json.dumps(fields(**changed, filler="x" * (size - len(bare)))).encode()


def nested(levels: int) -> bytes:
    return spelled("unknown", "[" * levels + "]" * levels)


def no_json() -> Iterator[Bad]:
    whole = value_of()
    texts: dict[str, bytes] = {
        "cut short": whole[:-1], "one brace": b"{", "plain text": b"not json", "blanks": b"  \n ", "nul": b"\x00",
        "single quotes": b"{'a': 1}", "two objects": whole + whole, "garbage behind": whole + b"x",
        "a comment": b"/* */" + whole, "trailing comma": whole[:-1] + b",}", "byte order mark": b"\xef\xbb\xbf" + whole,
        "latin-1": spelled("merchant_id", '"caf\u00e9"').decode().encode("latin-1"),
        "utf-16": whole.decode().encode("utf-16"),
        "utf-16 without mark": whole.decode().encode("utf-16-le"), "utf-32": whole.decode().encode("utf-32-be"),
        "random bytes": bytes(range(256)) * 3, "overlong": b'{"a": "\xc0\xaf"}',
        "cut character": whole[:-1] + b"\xe2\x82",
        "encoded surrogate": whole[:-1] + b', "x": "\xed\xa0\x80"}', "raw newline": whole[:-1] + b', "x": "\n"}',
        "bad escape": whole[:-1] + b', "x": "\\x41"}', "open string": whole[:-1] + b', "x": "',
        "NaN": spelled("amount", "NaN"), "Infinity": spelled("amount", "-Infinity"), "plus": spelled("amount", "+1"),
        "hex": spelled("amount", "0x10"), "leading zero": spelled("amount", "012"), "bare point": spelled("amount",
        ".5"),
        "point at end": spelled("amount", "1."), "NaN in an unknown field": spelled("x", "NaN"),
        "101 deep": nested(101), "100,000 deep": nested(100_000), "deep and open": b"[" * 200_000,
        "deep objects": b'{"a":' * 40_000, "deep, never closed, in a string": b'{"a": "' + b"[" * 1000,
        "protobuf": b"\x0a\x05hello\x12\x03abc\xff", "avro magic": b"\x00\x00\x00\x00\x07" + whole,
        "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00", "control characters": b"\x01" * 200_000,
        "csv": b"t1,c1,12.34,EUR,2024-01-01T00:00:00Z", "xml": b"<transaction/>", "quotes": b'"' * 1001,
    }  # fmt: skip
    for name, value in texts.items():
        yield Bad(name, "not_json", value)
    # A key and a payload that both grow sixfold as JSON: the dead letter must still fit its topic.
    yield Bad("control characters in the key too", "not_json", b"\x02" * 250_000, b"\x01" * 200_000)


def wrong_types() -> Iterator[Bad]:
    texts = {
        "transaction_id": ("1", "null", "true", "[]", "{}", "1.5"),
        "card_id": (VISA, "null", "false", '["c"]', "{}"),
        "amount": ("null", "true", "[]", "{}", '["1"]'),
        "currency": ("null", "978", "[]", "true"),
        "event_time": ("null", "true", "[]", "{}"),
    }
    for name, values in texts.items():
        for text in values:
            yield Bad(f"{name} is {text}", "bad_type", spelled(name, text))


def wrong_ids() -> Iterator[Bad]:
    texts = (
        '""', f'"{"x" * 129}"', r'"a\u0000"', r'"a\nb"', r'"\u007f"', r'"\u0085"', r'"\ud800"', r'"\udfff x"',
        r'"\udc00\ud800"', r'"\u001b[31m"', f'"{"x" * 100_000}"',
    )  # fmt: skip
    for name in ("transaction_id", "card_id"):
        for text in texts:
            yield Bad(f"{name} is {text[:20]}", "bad_id", spelled(name, text))
    for text in (texts[1], texts[2], texts[6]):
        value = spelled("original_transaction_id", text, type="reversal")
        yield Bad(f"original_transaction_id is {text[:20]}", "bad_id|bad_field", value)


def wrong_amounts() -> Iterator[Bad]:
    numbers = (
        "0", "-0", "0.0", "-1", "-12.34", "0.004", "0.005", "1e-400", "1e400", "1e999999999999", "10000000000000.01",
        "10000000000000.005000001", "1" + "0" * 100_000, "0." + "0" * 100_000 + "1", "123456789012345678901234567890",
        "0e5",
    )  # fmt: skip
    texts = (
        "", " ", "abc", " 1", "1 ", "1\\n", "1,5", "1.2.3", "--1", "+1", "-1", "0", "0.00", "1e", "1e1e1", "e5", ".",
        ".5", "5.", "NaN", "Infinity", "inf", "0x10", "1_000", "\u0663", "\uff11", "\u00b2", "12.34 EUR", "$5", "null",
        "1e400", "10000000000000.01", "9" * 1000, "\\u0000", "1\\u0000", "\\ud800",
    )  # fmt: skip
    for number in numbers:
        yield Bad(f"amount {number[:30]}", "bad_amount", spelled("amount", number))
    for text in texts:
        yield Bad(f"amount '{text[:30]}'", "bad_amount", spelled("amount", f'"{text}"'))
    for amount, currency in (("0.5", "JPY"), ("0.0005", "KWD"), ("1000000000000.001", "KWD"), ("1e15", "EUR")):
        yield Bad(f"{amount} {currency}", "bad_amount", value_of(amount=amount, currency=currency))


def wrong_currencies() -> Iterator[Bad]:
    codes = (
        "", "eur", "Eur", "EURO", "EU", " EUR", "EUR ", "XXX", "XTS", "XAU", "XDR", "ZZZ", "DEM", "978", "\u20ac",
        "US$",
        "E\u0000R", "\uff25\uff35\uff32", "EUR\n", "x" * 10_000,
    )  # fmt: skip
    for code in codes:
        yield Bad(f"currency {code[:10]!r}", "bad_currency", value_of(currency=code))


def wrong_times() -> Iterator[Bad]:
    texts = (
        "", " ", "yesterday", "now", "1700000000000", "2024-01-01", "12:00:00", "2024-13-01T00:00:00Z",
        "2024-02-30T00:00:00Z", "2023-02-29T00:00:00Z", "2024-01-01T25:00:00Z", "2024-01-01T24:00:00Z",
        "2024-01-01T00:60:00Z", "2024-01-01T00:00:61Z", "2023-06-15T12:00:60Z", "2024-01-01T00:00Z",
        "1969-12-31T23:59:59.999Z", "1970-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01", "0001-01-01T00:00:00Z",
        "0000-01-01T00:00:00Z", "10000-01-01T00:00:00Z", "+2024-01-01T00:00:00Z", "-2024-01-01T00:00:00Z",
        "2024-01-01T00:00:00+24:00", "2024-01-01T00:00:00+0100", "2024-01-01T00:00:00 Z", "2024-01-01T00:00:00.Z",
        "2024-01-01T00:00:00,5Z", "2024-1-1T0:0:0Z", "20240101T000000Z", "2024-W01-1T00:00:00Z", "2024-001T00:00:00Z",
        "2024-01-01T00:00:00UTC", "2024-01-01  00:00:00Z", "2024-01-01\t00:00:00Z", "2024-01-01T00:00:00Z\n",
        " 2024-01-01T00:00:00Z", "2024-01-01T00:00:00Z ", "\uff12\uff10\uff12\uff14-01-01T00:00:00Z",
        "2024-01-01T00:00:00.\u0663Z", "2024-01-01T00:00:00\u22125:00", "2024-01-01T00:00:00.000\u0000Z", "9" * 50_000,
    )  # fmt: skip
    for text in texts:
        yield Bad(f"event_time {text[:30]!r}", "bad_time", value_of(event_time=text))
    for number in (-1, 253_402_300_800_000, 10**18, 10**400, -(10**30)):
        yield Bad(f"event_time {str(number)[:20]}", "bad_time", value_of(event_time=number))
    for text in ("1.5", "1700000000000.0", "1.7e12", "1e400"):
        yield Bad(f"event_time {text}", "bad_time|bad_type", spelled("event_time", text))


def wrong_fields() -> Iterator[Bad]:
    for kind in ("refund", "", None, 1, [], {}, True, "AUTHORIZATION", "reversal ", "x" * 1000):
        yield Bad(f"type {str(kind)[:20]!r}", "bad_field", value_of(type=kind, original_transaction_id="t0"))
    yield Bad("a reversal of nothing", "bad_field", value_of(type="reversal"))
    for original in (None, "", 5, [], {}, True):
        value = value_of(type="reversal", original_transaction_id=original)
        yield Bad(f"a reversal of {original!r}", "bad_field", value)


def with_card_numbers() -> Iterator[Bad]:
    """Refused records from which no card number may leave."""
    spaced = "4111 1111 1111 1111"
    escaped = "".join(f"\\u003{digit}" for digit in VISA)
    yield Bad("own number", "bad_amount", value_of(card_id=VISA, amount="x"), VISA.encode())
    yield Bad("own number, odd first digit", "bad_amount", value_of(card_id=NINE, amount="x"), NINE.encode())
    yield Bad("spaced", "bad_currency", value_of(card_id=spaced, currency=MASTER), spaced.encode())
    yield Bad("as a number", "bad_type", spelled("card_id", MASTER))
    yield Bad("escaped", "bad_amount", spelled("card_id", f'"{escaped}"', amount="x"))
    yield Bad("in every field", "bad_time", value_of(
        transaction_id=VISA, card_id=AMEX, event_time=f"at {DINERS}", email=f"{LONG}@example.org", **{VISA: MASTER},
    ))  # fmt: skip
    yield Bad("as JSON, not an object", "not_object", json.dumps([VISA, int(MASTER)]).encode())
    yield Bad("broken JSON", "not_json", f'{{"card_id": "{VISA}", "x'.encode())
    yield Bad("not UTF-8", "not_json", b"\xff " + VISA.encode() + b" \xfe", b"\xff" + VISA.encode())
    yield Bad("UTF-16", "not_json", value_of(card_id=VISA).decode().encode("utf-16"))
    yield Bad("UTF-16 without mark", "not_json", value_of(card_id=VISA).decode().encode("utf-16-be"))
    for before in range(64 * KIB - 17, 64 * KIB + 1, 3):
        yield Bad(f"at the cut, {before}", "not_json", b"z" * before + VISA.encode() + b"z" * 100)
    yield Bad("too large", "too_large", padded(300 * KIB, card_id=VISA), VISA.encode())
    yield Bad("dashed across the cut", "not_json", b"z" * (64 * KIB - 9) + b"5555-5555-5555-4444" + b"z" * 9)
    yield Bad("a file of numbers", "not_json", "\n".join([p for p in PANS if p != NINE] * 400).encode())


BAD: list[Bad] = [
    Bad("no bytes", "empty", b""), Bad("a tombstone", "empty", None), Bad("a tombstone with a key", "empty", None,
    b"c1"),
    *no_json(),
    *(Bad(text, "not_object", text.encode()) for text in ("[]", '"text"', "1", "null", "true", "[{}]", "-0", "1e5",
    '""')),
    *(Bad(f"no {name}", "missing_field", without(name)) for name in fields()),
    Bad("no field at all", "missing_field", b"{}"), Bad("other names", "missing_field", b'{"TransactionId": "t"}'),
    Bad("upper case", "missing_field", value_of().upper().replace(b"NULL", b"null")),
    *wrong_types(), *wrong_ids(), *wrong_amounts(), *wrong_currencies(), *wrong_times(), *wrong_fields(),
    *with_card_numbers(),
    Bad("a byte too much", "too_large", padded(256 * KIB + 1)), Bad("300 KB", "too_large", padded(300_000)),
    Bad("2 MB", "too_large", padded(2_000_000)), Bad("2 MB of no JSON", "too_large", b"\xff" * 2_000_000),
    Bad("nearly 4 MiB", "too_large", padded(4 * KIB * KIB - 200)), Bad("4 MB, deep", "too_large", b"[" * 4_000_000),
]  # fmt: skip


class Good(NamedTuple):
    """A transaction, and what its outcome must hold: raw text of the amount, fields, named dropped fields."""

    name: str
    value: bytes
    card: str
    amount: bytes = b"12.34"
    minor: int = 1234
    shown: Mapping[str, Any] = MappingProxyType({})
    dropped: Sequence[str] = ()


def amounts() -> Iterator[Good]:
    table = (
        ("10000000000000.00", "EUR", b"10000000000000.00", 10**15),
        ("0.01", "EUR", b"0.01", 1),
        ("1e13", "EUR", b"10000000000000.00", 10**15),
        ("0.0050000001", "EUR", b"0.01", 1),
        ("0.015", "EUR", b"0.02", 2),
        ("0.025", "EUR", b"0.02", 2),
        ("2.675", "EUR", b"2.68", 268),
        ("0.1", "EUR", b"0.10", 10),
        ("1E+2", "EUR", b"100.00", 10_000),
        ("12", "USD", b"12.00", 1200),
        ("1000000000000000", "JPY", b"1000000000000000", 10**15),
        ("1.5", "JPY", b"2", 2),
        ("2.5", "JPY", b"2", 2),
        ("500", "JPY", b"500", 500),
        ("0.0015", "KWD", b"0.002", 2),
        ("1.234", "KWD", b"1.234", 1234),
        ("7", "KWD", b"7.000", 7000),
        ("0.001", "BHD", b"0.001", 1),
        ("1.2345", "CLF", b"1.2345", 12345),
        ("90071992547409.93", "JPY", b"90071992547410", 90071992547410),
        ("9007199254740.993", "EUR", b"9007199254740.99", 900719925474099),
        ("0.30000000000000004", "EUR", b"0.30", 30),
        ("12.340000000000000000000000000000001", "EUR", b"12.34", 1234),
        ("1e-2", "EUR", b"0.01", 1),
        ("1" + "0" * 300 + "e-300", "EUR", b"1.00", 100),
        ("10000000000000.005", "EUR", b"10000000000000.00", 10**15),
    )
    for number, (text, currency, shown, minor) in enumerate(table):
        for quoted in (text, f'"{text}"'):
            card = f"amount-{number}-{'s' if quoted != text else 'n'}"
            value = spelled("amount", quoted, card_id=card, currency=currency)
            yield Good(f"amount {quoted[:40]} {currency}", value, card, shown, minor, {"currency": currency})


def times() -> Iterator[Good]:
    table = (
        ("2024-02-29T12:00:00Z", "2024-02-29T12:00:00.000Z"),
        ("2024-02-29 12:00:00", "2024-02-29T12:00:00.000Z"),
        ("2024-02-29T12:00:00.1239999+02:00", "2024-02-29T10:00:00.123Z"),
        ("2024-02-29T12:00:00.9-11:30", "2024-02-29T23:30:00.900Z"),
        ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000Z"),
        (0, "1970-01-01T00:00:00.000Z"),
        (1, "1970-01-01T00:00:00.001Z"),
        (1709208000123, "2024-02-29T12:00:00.123Z"),
        ("1969-12-31T23:00:00-01:00", "1970-01-01T00:00:00.000Z"),
        ("2000-01-01t00:00:00z", "2000-01-01T00:00:00.000Z"),
        ("2024-02-29T12:00:00." + "1" * 500 + "Z", "2024-02-29T12:00:00.111Z"),
    )
    for number, (sent, shown) in enumerate(table):
        card = f"time-{number}"
        yield Good(f"time {str(sent)[:40]}", value_of(card_id=card, event_time=sent), card, shown={"event_time": shown})


def optional_fields() -> Iterator[Good]:
    names = ("merchant_id", "merchant_category", "country", "channel", "device_id", "ip_address", "email")
    for name in names:
        for number, bad in enumerate((1, None, True, [], {}, 1.5, "x" * 257, {"a": ["b"]})):
            card = f"drop-{name}-{number}"
            value = value_of(card_id=card, **{name: bad, "channel" if name != "channel" else "email": "kept"})
            kept = {"channel" if name != "channel" else "email": "kept", name: None}
            yield Good(f"{name} is {str(bad)[:12]}", value, card, shown=kept, dropped=[name])
    yield Good("all of them", value_of(card_id="drop-all", **dict.fromkeys(names, 7)), "drop-all", dropped=list(names))
    kept = dict.fromkeys(names, "ä\x00\u2028💳" + "x" * 252)
    yield Good("256 of anything", value_of(card_id="keep-all", **kept), "keep-all", shown=kept)
    empty = dict.fromkeys(names, "")
    yield Good("empty texts", value_of(card_id="keep-empty", **empty), "keep-empty", shown=empty)
    value = spelled("email", r'"\ud800"', card_id="drop-surrogate")
    yield Good("a lone surrogate", value, "drop-surrogate", shown={"email": None}, dropped=["email"])


def tolerated() -> Iterator[Good]:
    strange = "\u202e\u200d\ufffe \U0001f4b3%:/{}*\"'\\"
    yield Good("strange ids", value_of(card_id=strange, transaction_id=strange), strange)
    yield Good(
        "longest ids", value_of(card_id="\U0001f4b3" * 128, transaction_id="\U0001f4b3" * 128), "\U0001f4b3" * 128
    )
    yield Good("a blank id", value_of(card_id=" ", transaction_id=" "), " ")
    yield Good("exactly 256 KiB", padded(256 * KIB, card_id="big"), "big")
    yield Good("99 deep", spelled("x", "[" * 90 + "]" * 90, card_id="deep"), "deep")
    yield Good("brackets in a text", spelled("x", '"' + "[{" * 5000 + '"', card_id="brackets"), "brackets")
    yield Good("unknown fields", value_of(
        card_id="unknown", is_fraud=1, fraud={"score": 1}, card_last4="9999", amount_minor=5, home_id="x",
        dropped_fields=["a"],
    ), "unknown", shown={"card_last4": None, "is_fraud": None})  # fmt: skip
    twice = spelled("amount", '"x", "amount": 12.34', card_id="twice")
    yield Good("the last of a repeated key counts", twice, "twice")
    twice = spelled("card_id", 'null, "card_id": "twice-2"')
    yield Good("the same with another type", twice, "twice-2")
    yield Good("blanks around", b" \r\n\t" + value_of(card_id="blanks") + b"\n ", "blanks")
    yield Good("escaped keys", value_of(card_id="escaped").replace(b"card_id", b"c\\u0061rd_id"), "escaped")
    yield Good("a big number", spelled("x", "9" * 5000, card_id="number"), "number")
    yield Good("a token of digits", value_of(card_id="4111111111111112"), "4111111111111112")
    yield Good("twenty digits", value_of(card_id="0" * 20), "0" * 20)


GOOD: list[Good] = [*amounts(), *times(), *optional_fields(), *tolerated()]

SPELLINGS = (
    VISA, "4111 1111 1111 1111", "4111-1111-1111-1111", "4111-1111 11111111", f" {VISA} ",
    "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
    "4111\u00a01111\u00a01111\u00a01111", "4111\u20131111\u20131111\u20131111",
)  # fmt: skip
_STRING = {"type": "string"}
_STAMP = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"}
_WHOLE = {"type": "integer"}
_TRUE = {"const": True}
_REASON = {
    "type": "object", "additionalProperties": False, "required": ["code", "text", "feature", "value"],
    "properties": {"code": _STRING, "text": _STRING, "feature": {"enum": list(FEATURE_NAMES)},
    "value": {"type": "number"}, "contribution": {"type": "number"}},
}  # fmt: skip
FRAUD_SCHEMA = {
    "type": "object", "additionalProperties": False,
    "required": ["outcome", "rule", "model", "ruleset", "feature_set", "scored_at", "latency_ms", "source"],
    "properties": {
        "score": {"type": "integer", "minimum": 0, "maximum": 1000},
        "probability": {"type": "number", "minimum": 0, "maximum": 1},
        "outcome": {"enum": ["approve", "review", "block"]}, "rule": {"type": ["string", "null"]},
        "reasons": {"type": "array", "items": _REASON},
        "features": {
            "type": "object", "additionalProperties": False, "required": list(FEATURE_NAMES),
            "properties": {name: {"type": "number"} for name in FEATURE_NAMES},
        },
        "model": _STRING, "ruleset": _STRING, "feature_set": _STRING, "scored_at": _STAMP, "latency_ms": _WHOLE,
        "source": {
            "type": "object", "additionalProperties": False, "required": ["topic", "partition", "offset"],
            "properties": {"topic": _STRING, "partition": _WHOLE, "offset": _WHOLE},
        },
        "late_by_ms": {"type": "integer", "exclusiveMinimum": 0}, "clock_skew_ms": {"type": "integer",
        "exclusiveMinimum": 300_000},
        "beyond_grace": _TRUE, "duplicate": _TRUE, "conflict": _TRUE, "degraded": _STRING,
        "dropped_fields": {"type": "array", "items": _STRING, "minItems": 1}, "reversed": _STRING,
        "reversal": {"enum": ["applied", "unknown_original", "repeated"]},
    },
}  # fmt: skip
OUTCOME_SCHEMA = {
    "type": "object", "additionalProperties": False,
    "required": ["transaction_id", "card_id", "amount", "amount_minor", "currency", "event_time", "fraud"],
    "properties": {
        "transaction_id": _STRING, "card_id": _STRING, "type": {"enum": ["authorization", "reversal"]},
        "original_transaction_id": _STRING, "amount": {"type": "number", "exclusiveMinimum": 0},
        "amount_minor": {"type": "integer", "minimum": 1, "maximum": 10**15}, "currency": {"type": "string",
        "pattern": "^[A-Z]{3}$"},
        "event_time": _STAMP, "card_last4": {"type": "string", "pattern": r"^\d{4}$"}, "fraud": FRAUD_SCHEMA,
        **dict.fromkeys(("merchant_id", "merchant_category", "country", "channel", "device_id", "ip_address",
        "email"), _STRING),
    },
}  # fmt: skip


class Story:
    """What was sent, where it lies, and what became of it."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.places: dict[str, Place] = {}
        self._records: list[Sent] = []
        self._names: list[str] = []

    def add(self, name: str, record: Sent) -> None:
        self._names.append(name)
        self._records.append(record)

    def home(self, name: str, value: bytes, card: str, headers: tuple[tuple[str, bytes | None], ...] = ()) -> None:
        """A record in the home partition of a card as sent."""
        self.add(name, Sent(value, home_partition(card.encode(), 4), card.encode(), headers))

    def publish(self) -> None:
        assert len(set(self._names)) == len(self._names)
        self.places = dict(zip(self._names, send(self.pipeline, self._records), strict=True))

    def gather(self) -> None:
        self.sent = {raw.place: raw for raw in read_all(self.pipeline, "transactions")}
        self.outcomes = read_all(self.pipeline, "processed_transactions")
        self.letters = read_all(self.pipeline, "transactions.dlq")
        self.answers, self.refusals = by_source(self.outcomes), by_source(self.letters)

    def answer(self, name: str) -> Raw:
        assert self.places[name] not in self.refusals, self.refusals[self.places[name]].value
        return self.answers[self.places[name]]

    def timestamp_ms(self, name: str) -> int:
        return self.sent[self.places[name]].timestamp_ms


def add_attacks(story: Story) -> None:
    """Quick series of purchases, so that some outcomes are reviewed and blocked."""
    base_ms = now_ms() - 30 * 60_000
    for card in range(25):
        for turn in range(12):
            amount = ("900.00", "3.10", "1.05", "0.99", "2500.00")[(card + turn) % 5]
            name = f"attack {card}/{turn}"
            value = value_of(
                card_id=f"victim-{card}", transaction_id=name, amount=amount, event_time=base_ms + turn * 40_000,
                country=("DE", "FR", "BR")[turn % 3], merchant_category=("5411", "5812", "7995")[turn % 3],
            )  # fmt: skip
            story.home(name, value, f"victim-{card}")


def add_card_numbers(story: Story) -> None:
    for turn, text in enumerate(SPELLINGS):
        value = value_of(card_id=text, transaction_id=f"pan-{turn}", amount="10.00")
        story.add(f"spelling {turn}", Sent(value, home_partition(VISA.encode(), 4), text.encode()))
    escaped = '"' + "".join(f"\\u003{digit}" for digit in VISA) + '"'
    value = spelled("card_id", escaped, transaction_id="pan-escaped", amount="10.00")
    story.add("spelling escaped", Sent(value, home_partition(VISA.encode(), 4), None, (("pan", VISA.encode()),)))
    for pan in PANS[1:]:
        value = value_of(
            card_id=pan, transaction_id=f"tx-{pan}-1", merchant_id=f"m{pan}", merchant_category=pan, country=pan,
            channel=f"{pan[:4]} {pan[4:]}", device_id=f"d-{MASTER}", ip_address=pan, email=f"{VISA}@example.org",
            unknown=pan, **{VISA: pan},
        )  # fmt: skip
        story.home(f"number {pan}", value, pan)
    value = value_of(
        card_id="tok-1",
        merchant_id=f"{AMEX}",
        device_id="4111-1111-1111-1111",
        email=f"x{LONG}@example.org",
        channel="x" * 250 + VISA,
    )
    story.home("others' numbers", value, "tok-1")


def add_clocks(story: Story) -> None:
    """A card with a clock days ahead, one within the allowed skew; both go on with a right clock."""
    base_ms = now_ms()
    for card, ahead_ms in (("ahead", 3 * DAY_MS), ("far-ahead", 20 * DAY_MS), ("slightly", 280_000)):
        for turn, event_ms in enumerate((base_ms - 60_000, base_ms + ahead_ms, base_ms - 30_000)):
            value = value_of(card_id=card, transaction_id=f"{card}-{turn}", event_time=event_ms)
            story.home(f"{card} {turn}", value, card)
    story.home("end of time", value_of(card_id="end", event_time="9999-12-31T23:59:59.999Z"), "end")


@pytest.fixture(scope="module")
def roles(
    servers: Stack, model_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Pipeline, RoleProcess, RoleProcess]]:
    pipeline = Pipeline(servers.env(), PREFIX, model_dir, tmp_path_factory.mktemp("hostile"))
    pipeline.setup()
    yield pipeline, pipeline.start("score"), pipeline.start("index")
    pipeline.stop_all()


@pytest.fixture(scope="module")
def story(roles: tuple[Pipeline, RoleProcess, RoleProcess]) -> Story:
    pipeline = roles[0]
    made = Story(pipeline)
    homes = [cards_of(partition, 4, "after") for partition in range(4)]
    for number, bad in enumerate(BAD):
        partition = number % 4
        made.add(f"bad {bad.name} {number}", Sent(bad.value, partition, bad.key))
        card = next(homes[partition])
        made.home(f"after {number}", value_of(card_id=card), card)
    for good in GOOD:
        made.home(f"good {good.name}", good.value, good.card)
    add_attacks(made)
    add_card_numbers(made)
    add_clocks(made)
    made.publish()
    roles[1].wait_ready()
    wait_acknowledged(pipeline)
    roles[2].wait_ready()
    wait_acknowledged(pipeline, "index", "processed_transactions")
    made.gather()
    return made


def test_every_record_has_one_answer_and_the_worker_lives(story: Story) -> None:
    role = story.pipeline.roles[0]
    assert role.process.poll() is None, role.log()
    assert role.get("/health")[0] == 200
    assert len(story.sent) == len(story.places) == len(story.outcomes) + len(story.letters)
    assert story.answers.keys() | story.refusals.keys() == story.sent.keys()


@pytest.mark.parametrize("reason", sorted({bad.reason for bad in BAD}))
def test_refused_records_say_why(story: Story, reason: str) -> None:
    wrong = []
    for number, bad in enumerate(BAD):
        if bad.reason != reason:
            continue
        letter = story.refusals.get(story.places[f"bad {bad.name} {number}"])
        said = None if letter is None else letter.json()["reason"]
        if said not in bad.reasons:
            wrong.append((bad.name, said))
    assert wrong == []


def test_the_record_after_a_refused_one_is_unharmed(story: Story) -> None:
    for number, bad in enumerate(BAD):
        fraud = story.answer(f"after {number}").json()["fraud"]
        assert fraud["features"]["num_trans_last_1w"] == 1, bad.name
        assert "duplicate" not in fraud, bad.name


def test_dead_letters_are_complete(story: Story) -> None:
    schema = json.loads((SCHEMAS / "dead_letter.schema.json").read_text())
    for letter in story.letters:
        body = letter.json()
        jsonschema.validate(body, schema)
        assert list(body) == ["reason", "detail", "source", "key", "payload", "encoding", "truncated"]
        assert letter.header("reason") == body["reason"].encode()
        source = body["source"]
        sent = story.sent[source["partition"], source["offset"]]
        assert source["topic"] == f"{PREFIX}transactions"
        assert source["timestamp"] == sent.timestamp_ms
        assert (body["key"] is None) == (sent.key is None)
        assert body["truncated"] == (len(sent.value or b"") > 64 * KIB)
        assert_payload(body, sent.value)


def assert_payload(body: dict[str, Any], value: bytes | None) -> None:
    """The payload is what was sent, cut at 64 KiB, but for stars in the places of card numbers."""
    if value is None:
        assert body["payload"] is None
        return
    head = value[: 64 * KIB]
    if body["encoding"] == "base64":
        shown = base64.b64decode(body["payload"], validate=True)
        with pytest.raises(UnicodeDecodeError):
            value.decode()
    else:
        shown = body["payload"].encode()
        head = head.decode(errors="ignore").encode()
    assert len(shown) == len(head)
    assert all(a == b or a == ord("*") for a, b in zip(shown, head, strict=True))


def test_counters_agree(story: Story) -> None:
    _, text = story.pipeline.roles[0].get("/metrics")
    totals: dict[str, float] = {}
    for name, number in re.findall(r"^(fraud_\w+_total)(?:\{[^}]*\})? ([0-9.e+]+)$", text, re.MULTILINE):
        totals[name] = totals.get(name, 0) + float(number)
    assert totals["fraud_records_total"] == len(story.sent)
    assert totals["fraud_outcomes_total"] == len(story.outcomes)
    assert totals["fraud_dead_letters_total"] == len(story.letters)


def test_right_records_are_answered_normalised(story: Story) -> None:
    for good in GOOD:
        got = story.answer(f"good {good.name}")
        body = got.json()
        assert b'"amount":%b,' % good.amount in (got.value or b""), (good.name, got.value)
        assert body["amount_minor"] == good.minor, good.name
        assert body["card_id"] == good.card, good.name
        assert got.key == good.card.encode(), good.name
        for name, value in good.shown.items():
            assert body.get(name) == value, (good.name, name)
        assert body["fraud"].get("dropped_fields", []) == list(good.dropped), good.name
        assert "unknown" not in body
        assert "filler" not in body


def test_outcomes_fit_the_contract(story: Story) -> None:
    check = jsonschema.Draft202012Validator(OUTCOME_SCHEMA)
    committed = [jsonschema.Draft202012Validator(json.loads(p.read_text())) for p in SCHEMAS.glob("outcome*.json")]
    for got in story.outcomes:
        body = got.json()
        for validator in (check, *committed):
            validator.validate(body)
        fraud = body["fraud"]
        assert got.place[0] == fraud["source"]["partition"]
        assert got.key == body["card_id"].encode()
        assert dict(got.headers) == {
            "outcome": fraud["outcome"].encode(),
            "score": str(fraud["score"]).encode(),
            "transaction_id": body["transaction_id"].encode(),
        }
        assert 0 <= fraud["latency_ms"] < 120_000
        assert fraud["source"]["topic"] == f"{PREFIX}transactions"


def test_scores_can_be_computed_again_bit_for_bit(story: Story, model_dir: Path) -> None:
    model = Model.load(model_dir)
    frauds = [got.json()["fraud"] for got in story.outcomes]
    x = np.array([[fraud["features"][name] for name in FEATURE_NAMES] for fraud in frauds], np.float64)
    for fraud, probability in zip(frauds, model.predict(x), strict=True):
        assert fraud["probability"] == float(probability)
        assert fraud["score"] == int(float(probability) * 1000)
        limits = model.thresholds
        wanted = "block" if probability >= limits.block else "review" if probability >= limits.review else "approve"
        assert fraud["outcome"] == wanted
        assert fraud["model"] == model.version
        assert bool(fraud.get("reasons")) == (wanted != "approve")
        for reason in fraud.get("reasons", []):
            assert reason["value"] == fraud["features"][reason["feature"]]
            assert reason["text"]
    assert {fraud["outcome"] for fraud in frauds} == {"approve", "review", "block"}


def test_every_spelling_of_a_card_number_is_one_card(story: Story) -> None:
    names = [f"spelling {turn}" for turn in range(len(SPELLINGS))] + ["spelling escaped"]
    bodies = [story.answer(name).json() for name in names]
    assert len({body["card_id"] for body in bodies}) == 1
    assert re.fullmatch("tok_[a-z2-7]{52}", bodies[0]["card_id"])
    assert {body["card_last4"] for body in bodies} == {VISA[-4:]}
    assert [body["fraud"]["features"]["num_trans_last_1w"] for body in bodies] == list(range(1, len(names) + 1))
    tokens = {story.answer(f"number {pan}").json()["card_id"] for pan in PANS[1:]}
    assert len(tokens | {bodies[0]["card_id"]}) == len(PANS)
    masked = story.answer("others' numbers").json()
    assert masked["card_id"] == "tok-1"
    assert "card_last4" not in masked


def leaks(blob: bytes) -> list[str]:
    """Card numbers in some bytes, with or without separators, as text or as a 64-bit integer."""
    joined = re.sub(rb"[\s\-\x00]", b"", blob)
    return [
        pan
        for pan in PANS
        if pan.encode() in joined or int(pan).to_bytes(8, "little") in blob or int(pan).to_bytes(8, "big") in blob
    ]


def test_no_card_number_leaves_decode(story: Story, redis_client: Redis, opensearch_client: OpenSearch) -> None:
    for raw in (*story.outcomes, *story.letters):
        blobs = [raw.key or b"", raw.value or b"", *(value or b"" for _, value in raw.headers)]
        body = raw.json()
        if body.get("encoding") == "base64":
            blobs.append(base64.b64decode(body["payload"]))
        if isinstance(body.get("payload"), str):
            blobs.append(body["payload"].encode())
        for blob in blobs:
            assert leaks(blob) == [], (raw.place, blob[:300])
    keys = list(redis_client.scan_iter(f"{PREFIX}*", count=1000))
    assert len(keys) > 100
    for key, value in zip(keys, redis_client.mget(keys), strict=True):
        assert leaks(key) + leaks(value) == [], key
    opensearch_client.indices.refresh(index=f"{PREFIX}*")
    found = opensearch_client.search(index=f"{PREFIX}*", body={"size": 10_000, "query": {"match_all": {}}})
    ids = {(got.json()["card_id"], got.json()["transaction_id"]) for got in story.outcomes}
    outcomes = [hit for hit in found["hits"]["hits"] if hit["_index"].startswith(f"{PREFIX}processed_transactions")]
    assert len(outcomes) == len(ids)
    for hit in found["hits"]["hits"]:
        assert leaks(json.dumps(hit, ensure_ascii=False).encode()) == [], hit
    for role in story.pipeline.roles:
        assert leaks(role.log_path.read_bytes()) == []
        assert leaks(role.get("/metrics")[1].encode()) == []


def test_a_clock_that_is_ahead_pushes_nothing_out(story: Story) -> None:
    for card, ahead_ms in (("ahead", 3 * DAY_MS), ("far-ahead", 20 * DAY_MS)):
        skewed, after = story.answer(f"{card} 1").json(), story.answer(f"{card} 2").json()
        event_ms = json.loads(story.sent[story.places[f"{card} 1"]].value or b"")["event_time"]
        assert skewed["fraud"]["clock_skew_ms"] == event_ms - story.timestamp_ms(f"{card} 1")
        assert skewed["fraud"]["features"]["num_trans_last_10m"] == 2
        assert skewed["fraud"]["features"]["hour_of_day"] == story.timestamp_ms(f"{card} 1") // 3_600_000 % 24
        assert skewed["event_time"] > after["event_time"], ahead_ms
        assert after["fraud"]["late_by_ms"] < 120_000
        assert after["fraud"]["features"]["num_trans_last_1w"] == 2
        assert "beyond_grace" not in after["fraud"]
    slightly = story.answer("slightly 1").json()["fraud"]
    assert "clock_skew_ms" not in slightly
    assert slightly["features"]["num_trans_last_10m"] == 2
    assert story.answer("slightly 2").json()["fraud"]["late_by_ms"] == 280_000 + 30_000
    end = story.answer("end of time").json()
    assert end["event_time"] == "9999-12-31T23:59:59.999Z"
    assert end["fraud"]["clock_skew_ms"] == 253_402_300_799_999 - story.timestamp_ms("end of time")


def test_without_a_key_card_numbers_are_refused(
    servers: Stack, unique: str, model_dir: Path, tmp_path: Path, redis_client: Redis
) -> None:
    pipeline = Pipeline(servers.env(), unique, model_dir, tmp_path, FRAUD_PAN_KEY="")
    pipeline.setup()
    try:
        partition = home_partition(VISA.encode(), 4)
        records = [Sent(value_of(card_id=text), partition, text.encode()) for text in SPELLINGS]
        free = home_partition(b"free", 4)
        records.append(Sent(value_of(card_id="free", merchant_id=VISA, email=f"{MASTER}@x.org"), free, b"free"))
        role = pipeline.start("score").wait_ready()
        places = send(pipeline, records)
        wait_acknowledged(pipeline)
        letters = by_source(read_all(pipeline, "transactions.dlq"))
        assert letters.keys() == set(places[:-1])
        (free_outcome,) = read_all(pipeline, "processed_transactions")
        for raw in (*letters.values(), free_outcome):
            assert leaks(raw.value or b"") == leaks(raw.key or b"") == [], raw.value
        assert {raw.json()["reason"] for raw in letters.values()} == {"pan_without_key"}
        assert {raw.header("reason") for raw in letters.values()} == {b"pan_without_key"}
        assert all(leaks(key) == [] for key in redis_client.scan_iter(f"{unique}*"))
        assert role.stop() == 0
        assert leaks(role.log_path.read_bytes()) == []
    finally:
        pipeline.stop_all()
