"""Card numbers: recognised in every spelling, hidden wherever they stand."""

import base64
import hashlib
import hmac
import json
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features import pan

VISA = "4111111111111111"
AMEX = "378282246310005"
DINERS = "30569309025904"
LONG = "6304000000000000000"  # 19 digits
KEY = b"k" * 32


@pytest.mark.parametrize("digits", [VISA, AMEX, DINERS, LONG, "5555555555554444", "4222222222222"])
def test_luhn(digits):
    assert pan.luhn_valid(digits)
    for wrong in range(1, 10):
        assert not pan.luhn_valid(digits[:-1] + str((int(digits[-1]) + wrong) % 10))


@pytest.mark.parametrize(
    "text",
    [
        VISA,
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        " 4111 1111-1111 1111 ",
        "4-1-1-1-1-1-1-1-1-1-1-1-1-1-1-1",
        "4111  1111  1111  1111",
        "4111\u00a01111\u00a01111\u00a01111",
        "4111\u20131111\u20141111\u20101111",
    ],
)
def test_every_spelling_is_the_same_card(text):
    assert pan.pan_digits(text) == VISA


@pytest.mark.parametrize(
    "text",
    [
        "",
        "4111111111111112",
        "411111111111",
        "42424242424242424242",
        "card-4111111111111111",
        "4111111111111111x",
        "4111.1111.1111.1111",
        "\uff14" + "\uff11" * 15,
        "\u0664" + "\u0661" * 15,
        "tok_4111111111111111",
    ],
)
def test_what_is_no_card_number(text):
    assert pan.pan_digits(text) is None


def test_the_token_is_the_one_of_the_contract():
    digest = hmac.new(KEY, VISA.encode(), hashlib.sha256).digest()
    expected = "tok_" + base64.b32encode(digest).decode().lower().replace("=", "")
    assert pan.token(KEY, VISA) == expected
    assert re.fullmatch(r"tok_[a-z2-7]{52}", expected)
    assert pan.token(b"x" * 32, VISA) != expected


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (VISA, "************1111"),
        ("4111 1111 1111 1111", "**** **** **** 1111"),
        (f"order-{VISA}-7", "order-************1111-7"),
        (f"99{VISA}00", "99************111100"),
        ("4111.1111/1111_1111", "****.****/****_1111"),
        ("4a1b1c1d1e1f1g1h1i1j1k1l1m1n1o1", "*a*b*c*d*e*f*g*h*i*j*k*l1m1n1o1"),
        (f"{VISA}{VISA}", "************1111" * 2),
        ("12345", "12345"),
        ("5555555555554444", "5555555555554444"),
    ],
)
def test_own_number(text, masked):
    assert pan.mask_own(text, VISA) == masked


def test_ids_of_one_card_stay_different():
    ids = [VISA, "4111 1111 1111 1111", f"1-{VISA}", f"{VISA}-1", f"{VISA}-2", f"x{VISA}"]
    masked = {pan.mask_own(text, VISA) for text in ids}
    assert len(masked) == len(ids)


@pytest.mark.parametrize(
    "text",
    [
        VISA,
        AMEX,
        DINERS,
        LONG,
        "5555555555554444",
        "2223003122003222",
        "4111-1111 1111-1111",
        f"shop{VISA}x",
        f"12 {VISA} 34",
        "POS-4111-1111-1111-1111-01",
        f"{VISA}@example.com",
        f"a-{VISA}|b-{AMEX}",
        "1-2-3-4-5-4111-1111-1111-1111",
    ],
)
@pytest.mark.parametrize("key", [KEY, None])
def test_other_cards_are_masked_in_identifiers(text, key):
    masked = pan.mask_others(text, key)
    digits = re.sub(r"[^0-9]", "", masked)
    assert masked != text
    assert len(masked) <= len(text)
    for number in (VISA, AMEX, DINERS, LONG, "5555555555554444", "2223003122003222"):
        assert number not in digits
    assert not runs_left(masked)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "m-00042",
        "20240101000000000",
        "4111111111111112",
        "1700000000000",
        "9999999999999995",  # starts with 9
        "0000000000000000",
        "1111111111111117",
        "42424242424242424242",  # 20 digits: no run of 13 to 19
        "411111111111",
        "4111.1111.1111.1111",
        "user@example.com",
        "550e8400-e29b-41d4-a716-446655440000",
    ],
)
@pytest.mark.parametrize("key", [KEY, None])
def test_other_identifiers_stay(text, key):
    assert pan.mask_others(text, key) == text


def test_masked_identifiers_stay_different_under_a_key():
    devices = ["356938035643809", "352099001761481", "4111111111111111", "4012888888881111"]
    assert len({pan.mask_others(device, KEY) for device in devices}) == len(devices)
    assert pan.mask_others(devices[0], KEY) != pan.mask_others(devices[0], b"x" * 32)


@pytest.mark.parametrize(
    "text",
    [
        VISA,
        f"card {VISA} declined",
        "4111 1111 1111 1111",
        "4111\n1111\t1111\r\n1111",
        "4111\u00a01111\u20131111\u200b1111",
        json.dumps({"pan": VISA}),
        "\\u0034" + VISA[1:],
        "".join(f"\\u003{digit}" for digit in VISA),
        "".join(f"\\\\u003{digit}" for digit in VISA),
        "4111\\u00201111\\u002d1111\\n1111",
        "4111\\u00201111\\n11111111",
        f"\\u1234{AMEX}",
        f"\\u00e9{VISA}",
        f"\\u{VISA}",
        "\x00".join(VISA),
        f"00001{VISA}2512",
        f"9{VISA}",
        f"{VISA}{VISA}",
        f"{VISA}4222222222222",
        f"12 34 {VISA} 56",
        f"{AMEX}{VISA}{DINERS}",
    ],
)
def test_scrubbed_text_has_no_card_number(text):
    scrubbed = pan.scrub(text)
    unescaped = re.sub(r"\\+u003([0-9])", r"\1", scrubbed)
    for number in (VISA, AMEX):
        assert number not in re.sub(r"[^0-9]", "", unescaped)
    assert len(scrubbed) == len(text)
    assert pan.scrub(scrubbed) == scrubbed


@pytest.mark.parametrize(
    "text",
    [
        "",
        "amount 1250",
        "1700000000000",
        "2024-03-01 12:34:56.789",
        "4111111111111112",
        "offset 123456789012345",
        "tok_abc",
    ],
)
def test_scrubbing_leaves_the_rest(text):
    assert pan.scrub(text) == text


def test_known_cards_are_scrubbed_whatever_their_first_digit():
    assert pan.scrub("card 9999-9999-9999-9995.", ["9999999999999995"]) == "card ****-****-****-****."


def test_an_escape_before_a_card_number_does_not_hide_it():
    for number in ("4222222222222", LONG):
        assert pan.scrub(f"\\u1234{number}") == "\\u1234" + "*" * len(number)


def test_scrubbing_bytes_of_another_encoding():
    raw = b"\xff\xfe " + VISA.encode() + b" \x80"
    assert pan.scrub_bytes(raw) == b"\xff\xfe " + b"*" * 16 + b" \x80"
    assert VISA[1:] not in pan.scrub_bytes(VISA.encode("utf-16")).decode("utf-16")


@pytest.mark.parametrize(
    "text",
    [
        "4" * 100_000,
        "4 " * 50_000,
        "4111111111111111 " * 5000,
        "\\" * 100_000,
        "\\u0034" * 16_000,
        " " * 100_000 + "4",
        "4" + " " * 100_000,
        ("4" + " " * 128) * 700,
        "4-" * 50_000,
    ],
)
def test_hostile_text_is_scrubbed_in_bounded_time(text):
    started = time.process_time()
    pan.scrub(text)
    assert time.process_time() - started < 3


spelt = st.builds(
    lambda digits, gaps: "".join(digit + gap for digit, gap in zip(digits, gaps, strict=False)),
    st.sampled_from([VISA, AMEX, DINERS, LONG, "5555555555554444", "4242424242424242"]),
    st.lists(st.sampled_from(["", "", "", " ", "-", "  "]), min_size=19, max_size=19),
)
noise = st.text(st.sampled_from("0123456789 -ab|*"), max_size=30)


@given(st.lists(st.one_of(spelt, noise), max_size=5).map("".join), st.sampled_from([KEY, None]))
def test_no_run_survives_masking(text, key):
    masked = pan.mask_others(text, key)
    assert len(masked) <= len(text)
    assert not runs_left(masked)


@given(st.lists(st.one_of(spelt, noise), max_size=5).map("".join))
def test_no_run_survives_scrubbing(text):
    scrubbed = pan.scrub(text)
    assert len(scrubbed) == len(text)
    assert not runs_left(scrubbed)
    assert pan.scrub(scrubbed) == scrubbed


@given(noise, spelt, noise)
def test_an_own_number_never_survives(before, number, after):
    digits = re.sub(r"[^0-9]", "", number)
    masked = pan.mask_own(before + number + after, digits)
    assert len(masked) == len(before + number + after)
    assert digits not in re.sub(r"[^0-9]", "", masked)


def runs_left(text):
    """Naive: every Luhn-valid run of 13 to 19 digits starting with 2 to 6 that begins and ends at a group's edge."""
    found = []
    for stretch in re.findall(r"[0-9](?:[ -]*[0-9])*", text):
        groups = re.findall(r"[0-9]+", stretch)
        for first in range(len(groups)):
            for last in range(first, len(groups)):
                digits = "".join(groups[first : last + 1])
                if 13 <= len(digits) <= 19 and digits[0] in "23456" and luhn(digits):
                    found.append(digits)
    return found


def luhn(digits):
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0
