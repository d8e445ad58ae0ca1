"""Amounts: exact, half-even, bounded work."""

import time
from decimal import ROUND_HALF_EVEN, Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.money import EXPONENTS, MAX_AMOUNT_MINOR, is_decimal, minor_units


@pytest.mark.parametrize(
    ("code", "exponent"),
    [("USD", 2), ("EUR", 2), ("JPY", 0), ("KWD", 3), ("IQD", 3), ("MGA", 2), ("CLF", 4), ("UYW", 4), ("ISK", 0)],
)
def test_minor_units_of_a_currency(code, exponent):
    assert EXPONENTS[code] == exponent


@pytest.mark.parametrize("code", ["XAU", "XXX", "XTS", "XDR", "DEM", "HRK", "BGN", "ANG", "usd", "US", "", "USDT"])
def test_what_is_no_active_currency_with_minor_units(code):
    assert code not in EXPONENTS


@pytest.mark.parametrize(
    ("text", "exponent", "minor"),
    [
        ("12.5", 2, 1250),
        ("12.50", 2, 1250),
        ("0012.50", 2, 1250),
        ("12", 0, 12),
        ("12.345", 2, 1234),
        ("12.355", 2, 1236),
        ("12.3450000000000000000000001", 2, 1235),
        ("0.5", 0, None),
        ("1.5", 0, 2),
        ("2.5", 0, 2),
        ("0.005", 2, None),
        ("0.0051", 2, 1),
        ("0.015", 2, 2),
        ("0.6", 0, 1),
        ("1e3", 2, 100_000),
        ("1E+3", 2, 100_000),
        ("125e-2", 2, 125),
        ("1e0000000000000003", 0, 1000),
        ("10000000000000", 2, MAX_AMOUNT_MINOR),
        ("10000000000000.00", 2, MAX_AMOUNT_MINOR),
        ("10000000000000.005", 2, MAX_AMOUNT_MINOR),
        ("10000000000000.0051", 2, None),
        ("10000000000000.01", 2, None),
        ("1000000000000000", 0, MAX_AMOUNT_MINOR),
        ("1000000000000001", 0, None),
        ("999999999999999.5", 0, MAX_AMOUNT_MINOR),
        ("0", 2, None),
        ("-0", 2, None),
        ("-1", 2, None),
        ("-0.001", 2, None),
        ("0e5", 2, None),
        ("1e999999999999", 2, None),
        ("1e-999999999999", 2, None),
        ("0.1e1", 0, 1),
    ],
)
def test_minor_units(text, exponent, minor):
    assert minor_units(text, exponent) == minor


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        " 12",
        "12 ",
        "12\n",
        "+5",
        "1_000",
        "1,000",
        "1.",
        ".5",
        "1e",
        "e5",
        "NaN",
        "nan",
        "Infinity",
        "-Infinity",
        "0x10",
        "\u0663",
        "\uff11\uff12",
        "1.\u0663",
        "²",
        "--1",
        "1.2.3",
        "1e5.0",
        "1e+-5",
        "\x00",
        "12\x00",
        "$5",
        "5 USD",
        "\ud800",
        "1e\u0663",
    ],
)
def test_what_is_no_decimal(text):
    assert not is_decimal(text)
    assert minor_units(text, 2) is None


@pytest.mark.parametrize(
    "text",
    [
        "1e" + "9" * 200_000,
        "1e-" + "9" * 200_000,
        "1e" + "0" * 200_000 + "5",
        "9" * 250_000,
        "0." + "0" * 250_000 + "1",
        "1" + "0" * 200_000 + "e-200000",
        "1e999999999",
        "1e-999999999",
        "0." + "4" * 250_000,
    ],
)
def test_absurd_numbers_cost_nothing(text):
    started = time.process_time()
    minor_units(text, 2)
    assert time.process_time() - started < 0.2


def test_a_long_number_with_a_long_exponent_is_exact():
    assert minor_units("1" + "0" * 200_000 + "e-200000", 2) == 100
    assert minor_units("0." + "0" * 4999 + "125e5000", 2) == 125


decimals = st.from_regex(r"\A-?[0-9]{1,20}(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?\Z")


@given(decimals, st.sampled_from([0, 2, 3, 4]))
def test_agrees_with_decimal(text, exponent):
    with localcontext() as context:
        context.prec = 400
        expected = int(Decimal(text).scaleb(exponent).quantize(Decimal(1), rounding=ROUND_HALF_EVEN))
    assert minor_units(text, exponent) == (expected if 1 <= expected <= MAX_AMOUNT_MINOR else None)
