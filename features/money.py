"""Money as integers: ISO 4217 minor units and exact decimal text."""

from __future__ import annotations

import re
from typing import Final

from iso4217 import Currency

MAX_AMOUNT_MINOR: Final = 10**15
_MAX_DIGITS: Final = 16  # of 10^15

EXPONENTS: Final[dict[str, int]] = {
    currency.code: currency.exponent for currency in Currency if currency.exponent is not None
}
"""Minor-unit decimals by active ISO 4217 code; codes without minor units (gold, XXX, XTS) are not money to charge."""

_COMMON_CHARS: Final = 15  # so that the digits of a common amount, scaled by four decimals, stay a small integer
_DECIMAL: Final = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?)([0-9]+))?").fullmatch
_MAX_EXPONENT_DIGITS: Final = 9  # an exponent beyond this is decided by its sign; the text is at most 256 KiB long


def is_decimal(text: str) -> bool:
    """Whether a text is a decimal number as `minor_units` reads it."""
    return _DECIMAL(text) is not None


def minor_units(text: str, exponent: int) -> int | None:
    """Exact minor units of a decimal text, rounded half-even.

    The grammar is JSON's number plus leading zeros: optional minus, ASCII digits, optionally a point and digits,
    optionally an exponent. Spaces, underscores, a plus sign, a bare point and names (`NaN`) are not numbers.
    The work is linear in the text's length, whatever its exponent.

    Args:
        text: the number as it was sent.
        exponent: decimals of the currency.

    Returns:
        1 to 10^15, or None where the text is no number or the rounded amount is outside.

    >>> minor_units("12.345", 2), minor_units("12.355", 2), minor_units("1e3", 0), minor_units("1e999999999", 2)
    (1234, 1236, 1000, None)
    """
    if exponent == 2 and text[-3:-2] == "." and len(text) <= _COMMON_CHARS and text.isascii():  # nearly all money
        digits = text[:-3] + text[-2:]
        if len(text) > 3 and digits.isdigit():
            return int(digits) or None
    whole, point, fraction = text.partition(".")
    digits = whole + fraction
    common = digits.isdigit() and text.isascii() and len(text) <= _COMMON_CHARS and len(fraction) <= exponent
    if not common or not whole or (point and not fraction):
        return _general(text, exponent)
    minor = int(digits) * 10 ** (exponent - len(fraction))
    return minor if 1 <= minor <= MAX_AMOUNT_MINOR else None


def _general(text: str, exponent: int) -> int | None:
    match = _DECIMAL(text)
    if match is None or match[1]:  # below zero rounds to zero at best
        return None
    whole, fraction, sign, power = match[2], match[3] or "", match[4], match[5]
    digits = (whole + fraction).lstrip("0")
    power = (power or "").lstrip("0")
    if not digits or len(power) > _MAX_EXPONENT_DIGITS:
        return None
    shift = int(power or "0")
    kept = len(digits) - len(fraction) + (-shift if sign == "-" else shift) + exponent
    if not 0 <= kept <= _MAX_DIGITS:
        return None
    minor = _round_half_even(digits, kept)
    return minor if 1 <= minor <= MAX_AMOUNT_MINOR else None


def _round_half_even(digits: str, kept: int) -> int:
    """The number whose first `kept` digits stand before the point (padded with zeros), rounded half-even."""
    minor = int(digits[:kept].ljust(kept, "0") or "0")
    rest = digits[kept:].rstrip("0")
    if rest > "5" or (rest == "5" and minor % 2 == 1):  # digit strings compare like the fractions they are
        minor += 1
    return minor
