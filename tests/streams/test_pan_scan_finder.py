"""What the scanner takes for a card number, and what it leaves alone."""

from __future__ import annotations

import base64
import json
import time
import uuid
from hashlib import md5, sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import ConfigError
from features.pan import mask_others, scrub
from streams.pan_scan.files import _lines
from streams.pan_scan.finder import Finder, card_numbers, read_known
from streams.pan_scan.report import Report

VISA = "4111111111111111"
AMEX = "378282246310005"
LONG = "6304000000000000000"
SHORT = "4222222222222"
MASTER = "2223003122003222"


def dead_letter(payload: bytes) -> bytes:
    letter = {"reason": "not_json", "payload": base64.b64encode(payload).decode(), "encoding": "base64"}
    return json.dumps(letter).encode()


@pytest.mark.parametrize("digits", [VISA, AMEX, SHORT, MASTER, "5555555555554444", "6011111111111117"])
@pytest.mark.parametrize(
    "spell",
    [
        lambda d: d,
        lambda d: f"card{d}!",
        lambda d: f"paid by {d[:4]} {d[4:8]} {d[8:12]} {d[12:]}.",
        "-".join,
        lambda d: f"{d[:4]}\u2011{d[4:10]}\u00a0{d[10:]}",
        lambda d: f"12 {d[:6]}  {d[6:]} 99",
        lambda d: f'"\\u003{d[0]}{d[1:]}"',
        lambda d: f'"{d[:4]}\\u00a0{d[4:]}"',
        lambda d: f"caf\\u00e9{d}",
        lambda d: json.dumps(json.dumps({"x": "".join(f"\\u003{c}" for c in d)})),
    ],
)
def test_every_spelling_is_found(digits, spell):
    assert digits in {found for _, found in Finder().in_bytes(spell(digits).encode())}


@pytest.mark.parametrize(
    "raw",
    [
        b"\x00\x01" + VISA.encode() + b"\xff\xfe",
        VISA.encode("utf-16"),
        VISA.encode("utf-16-be"),
        dead_letter(b"\xff{" + VISA.encode() + b"}"),
        dead_letter(b"\xff" + b"4111 1111 1111 1111"),
        json.dumps({VISA: 1}).encode(),
        json.dumps({"a": [{"b": {"c": VISA}}]}).encode(),
        json.dumps({"merchant_id": int(VISA)}).encode(),
        json.dumps({"amount": VISA}).encode(),
        b'{"email":"4111111111111111","email":"x"}',
        b'{"cut":"4111111111111111',
        b'{"a":1} 4111111111111111',
        b"[" * 100_000 + VISA.encode(),
    ],
)
def test_bytes_and_json_of_any_kind_are_looked_into(raw):
    assert VISA in {found for _, found in Finder().in_bytes(raw)}


@pytest.mark.parametrize(
    "text",
    [
        "4111111111111112",
        "411111111111",
        "1763809109123",
        '{"timestamp":4111111111119}',
        '{"probability":0.4111111111111111,"x":4111111111111111.5,"y":4.111111111111111e-5}',
        '{"amount_minor":378282246310005,"clock_skew_ms":251485776000009}',
        '{"features":{"avg_amt_last_1w":4111111111111111}}',
        "ratio 0.4111111111111111 of 12",
        "20241231000000009",
        "2024-12-31 000000-009",
        "550e8400-e29b-41d4-4716-446655440004",
        "4111\n1111\n1111\n1111",
        "41111111111111110000000",
    ],
)
def test_what_is_no_card_number_is_left_alone(text):
    assert not Finder().in_bytes(text.encode())


def test_the_fields_that_are_skipped_are_searched_for_known_numbers_all_the_same():
    raw = json.dumps({"transaction_id": VISA, "note": AMEX}).encode()

    assert Finder(skip_fields=["transaction_id"]).in_bytes(raw) == {("note", AMEX)}
    assert Finder([VISA], skip_fields=["transaction_id"]).in_bytes(raw) == {("transaction_id", VISA), ("note", AMEX)}


@pytest.mark.parametrize(
    "raw",
    [
        b"1111.1111/1111_1110007",
        b"a1b1c1d1e1f1g1h1i1j1k1l1m1n1o1p0007",
        b"0.1111111111111110007",
        b'{"a":"1111","b":"1111","c":"11111110007"}',
        b'{"amount":1111111111111110007}',
        rb'"1111\u002e1111\u00e911111110007"',
        b"99991111111111111110007999",
        dead_letter(b"\xff1111,1111,1111,1110,007"),
    ],
)
def test_known_numbers_are_found_whatever_stands_between_their_digits(raw):
    assert "1111111111111110007" in {found for _, found in Finder(["1111111111111110007"]).in_bytes(raw)}


def test_hexadecimal_ids_are_no_card_numbers():
    ids = [word for i in range(20_000) for word in (sha256(b"%d" % i).hexdigest(), md5(b"%d" % i).hexdigest())]
    uuids = [str(uuid.UUID(word[:32])) for word in ids]

    assert not [word for word in ids if card_numbers(f"id={word};")]
    assert not [word for word in uuids if card_numbers(f"t-{word}")]


@pytest.mark.parametrize(
    "text", ["4 " * 50_000, "4111 " * 20_000, "\\u0034" * 20_000, "\\" * 100_000, "4" * 100_000, "a4111-" * 20_000]
)
def test_hostile_text_is_looked_at_in_bounded_time(text):
    began_s = time.process_time()
    Finder([VISA]).in_bytes(text.encode())

    assert time.process_time() - began_s < 3


PIECES = st.sampled_from([VISA, AMEX, LONG, SHORT, MASTER, " ", "-", "\u00a0", "a", ".", "1", "0042", "\\u0034", "\n"])
TEXTS = st.lists(PIECES, max_size=12).map("".join)


@given(TEXTS)
def test_nothing_is_found_in_what_was_scrubbed(text):
    assert not card_numbers(scrub(text))


@given(TEXTS.map(lambda text: text.replace("\n", "").replace("\\u0034", "4")), st.sampled_from([None, b"k" * 32]))
def test_nothing_is_found_in_what_was_masked(text, key):
    assert not card_numbers(mask_others(text, key))


@given(st.text(alphabet="ab .-/", max_size=6), st.sampled_from([VISA, AMEX, SHORT]))
def test_a_report_names_the_place_without_the_number(stem, digits):
    report = Report()
    report.add("redis", f"hist:{{0}}:{stem}{digits[:5]}-{digits[5:]}", f"field {digits}", [("x", digits)])
    (finding,) = report.findings

    assert finding.last4 == digits[-4:]
    assert digits not in "".join(c for c in f"{finding.where}{finding.part}" if c.isdigit())


def test_a_report_lists_the_first_thousand_and_counts_all():
    report = Report()
    for i in range(1500):
        report.add("files", f"f:{i}", "line", [("", VISA)])

    assert (report.found, len(report.findings)) == (1500, 1000)


def test_a_number_across_the_parts_of_an_endless_line_is_found(tmp_path):
    file = tmp_path / "line"
    block = 1024 * 1024
    file.write_bytes(b"x" * (block - 7) + VISA.encode() + b"y" * block + b"\nsecond")
    with file.open("rb") as opened:
        lines = list(_lines(opened))

    assert [number for number, line in lines if Finder().in_bytes(line)] == [1]
    assert lines[-1] == (2, b"second")


def test_known_numbers_are_read_in_every_spelling(tmp_path):
    file = tmp_path / "known"
    file.write_text(f"{VISA}\n\n3782-822463-10005\n")

    assert read_known(file) == {VISA, AMEX}


@pytest.mark.parametrize("content", [b"4111\n", b"\xff\xfe", f"{VISA}{VISA}".encode()])
def test_a_line_that_is_no_number_is_named_and_not_quoted(tmp_path, content):
    file = tmp_path / "known"
    file.write_bytes(content)
    with pytest.raises(ConfigError) as refused:
        read_known(file)

    assert content.decode(errors="replace").strip() not in str(refused.value)
