"""Texts of the routes file as what they stand for: spans of time, times of the day, amounts, references to secrets."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from streams.alert.plan import Throttle

_UNITS_MS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_SPAN: Final = re.compile(r"(0|[1-9][0-9]{0,5})([smhd])")
_TIME: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_THROTTLE: Final = re.compile(r"([1-9][0-9]{0,4}) in ([0-9]+[smhd])")
_AMOUNT: Final = re.compile(r"[0-9]{1,16}(\.[0-9]{1,4})?")
_REFERENCE: Final = re.compile(r"\$\{([^}]*)\}")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KEY_PREFIX: Final = "whsec_"
MIN_KEY_BYTES: Final = 24


def span_ms(text: str) -> int:
    """A span of time in milliseconds; raises ValueError where it is none.

    >>> span_ms("90s"), span_ms("2h")
    (90000, 7200000)
    """
    if (match := _SPAN.fullmatch(text)) is None:
        raise ValueError("a span of time is expected: a whole number and s, m, h or d, such as 10m")
    return int(match[1]) * _UNITS_MS[match[2]]


def minute_of_day(text: str) -> int:
    """Minutes since midnight; raises ValueError where the text is no time of the day.

    >>> minute_of_day("07:30")
    450
    """
    if (match := _TIME.fullmatch(text)) is None:
        raise ValueError('a time of the day is expected, in quotes, such as "22:00"')
    return int(match[1]) * 60 + int(match[2])


def throttle(text: str) -> Throttle:
    """How many in how long; raises ValueError where the text does not say so.

    >>> throttle("3 in 10m")
    Throttle(most=3, within_ms=600000)
    """
    match = _THROTTLE.fullmatch(text)
    within_ms = span_ms(match[2]) if match else 0
    if match is None or not within_ms:
        raise ValueError("a number and a span of time are expected, such as: 1 in 10m")
    return Throttle(int(match[1]), within_ms)


def amount(text: str) -> Decimal:
    """An amount in units of a currency; raises ValueError where it is none."""
    if _AMOUNT.fullmatch(text) is None:
        raise ValueError("an amount is expected, such as 500 or 99.50")
    return Decimal(text)


def zone(text: str) -> str:
    """The name of a time zone; raises ValueError where there is none of that name."""
    try:
        return ZoneInfo(text).key
    except (ValueError, OSError, LookupError):
        raise ValueError("there is no such time zone; use a name such as Europe/Berlin or UTC") from None


def resolved(text: str, environ: Mapping[str, str]) -> str:
    """The text with every `${NAME}` replaced by that variable; raises ValueError where one is not set.

    >>> resolved("slack://${TOKENS}/#fraud", {"TOKENS": "a/b/c"})
    'slack://a/b/c/#fraud'
    """

    def value(match: re.Match[str]) -> str:
        if _VARIABLE.fullmatch(match[1]) is None:
            raise ValueError("${...} must hold the name of an environment variable")
        if not (found := environ.get(match[1], "")):
            raise ValueError(f"the environment variable {match[1]} is not set")
        return found

    return _REFERENCE.sub(value, text)


def key_bytes(text: str) -> bytes:
    """The bytes of a signing key; `whsec_` stands before base64; raises ValueError where it is too short or no base64.

    >>> key_bytes("whsec_" + "QUJD" * 8) == b"ABC" * 8
    True
    """
    if text.startswith(_KEY_PREFIX):
        try:
            raw = base64.b64decode(text.removeprefix(_KEY_PREFIX), validate=True)
        except binascii.Error:
            raise ValueError(f"what follows {_KEY_PREFIX} must be base64") from None
    else:
        raw = text.encode()
    if len(raw) < MIN_KEY_BYTES:
        raise ValueError(f"must be at least {MIN_KEY_BYTES} bytes; make one with: openssl rand -hex 32")
    return raw
