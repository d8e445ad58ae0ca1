"""Values as people read them: money, times, scores, card names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from features.money import EXPONENTS
from features.pan import scrub
from features.times import parse_rfc3339

_SHORT: Final = 10
_STEPS: Final = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1000, "s"))
OUTCOME_WORDS: Final = {"approve": "Approved", "review": "Review", "block": "Blocked"}
LABEL_WORDS: Final = {
    "fraud": "Fraud",
    "valid": "Valid",
    "undecided": "Needs further review",
    "withdrawn": "Taken back",
}
STATE_WORDS: Final = {"open": "Open", "escalated": "Further review", "closed": "Closed", "none": "Not in review"}
ACTION_WORDS: Final = {
    "login": "logged in",
    "login_refused": "login refused",
    "logout": "logged out",
    "claim": "claimed",
    "release": "released",
    "take_over": "took over",
    "answer": "answered",
    "undo": "took back an answer",
}


def shown(value: object) -> str:
    """A text of a record, without card numbers."""
    return scrub(str(value))


def minor(amount_minor: int, currency: str) -> str:
    """An amount in the form of its currency.

    >>> minor(1234550, "EUR"), minor(1200, "JPY"), minor(1005, "KWD")
    ('12,345.50 EUR', '1,200 JPY', '1.005 KWD')
    """
    exponent = EXPONENTS.get(currency, 2)
    whole, fraction = divmod(abs(amount_minor), 10**exponent)
    digits = f"{whole:,}" + (f".{fraction:0{exponent}d}" if exponent else "")
    return f"{'-' if amount_minor < 0 else ''}{digits} {currency}"


def amount_of(fields: Mapping[str, Any]) -> str:
    """The amount of an outcome."""
    currency = shown(fields.get("currency", ""))
    value = fields.get("amount_minor")
    return minor(value, currency) if isinstance(value, int) else f"? {currency}"


def major(value: float, currency: str) -> str:
    """An amount of major units that is no booked one: a sum of estimates, say.

    >>> major(812.401, "EUR"), major(1999.6, "JPY")
    ('812.40 EUR', '2,000 JPY')
    """
    exponent = EXPONENTS.get(currency, 2)
    return f"{value:,.{exponent}f} {currency}"


def compact(value: float) -> str:
    """A number for a tile.

    >>> compact(950), compact(12_345), compact(4_200_000)
    ('950', '12,345', '4.20 M')
    """
    return f"{value / 1e6:,.2f} M" if value >= 1e6 else f"{value:,.0f}"


def percent(share: float) -> str:
    """A share, with as many digits as it has to say.

    >>> percent(0.12345), percent(0.00123), percent(0)
    ('12.3 %', '0.12 %', '0 %')
    """
    return "0 %" if share == 0 else f"{share * 100:.1f} %" if share >= 0.01 else f"{share * 100:.2f} %"


def age(since: str | None, now_ms: int) -> str:
    """How long ago, in its largest unit.

    >>> age("2024-03-01T00:00:00.000Z", 1709251200000 + 5 * 3600 * 1000)
    '5 h'
    """
    then_ms = None if since is None else parse_rfc3339(since)
    if then_ms is None:
        return ""
    past_ms = max(now_ms - then_ms, 0)
    return next((f"{past_ms // unit_ms} {name}" for unit_ms, name in _STEPS if past_ms >= unit_ms), "now")


def card(fields: Mapping[str, Any]) -> str:
    """A card by its last four digits, or by the end of its token."""
    last4 = fields.get("card_last4")
    if isinstance(last4, str) and last4:
        return f"•••• {shown(last4)}"
    name = shown(fields.get("card_id", ""))
    return name if len(name) <= 2 * _SHORT else f"{name[:_SHORT]}…{name[-4:]}"


def brief(text: object, most: int = 32) -> str:
    """A text cut to a length that fits a cell."""
    said = shown(text)
    return said if len(said) <= most else f"{said[: most - 1]}…"


def utc(text: object) -> str:
    """A time for whoever has no script: `2024-03-01 12:34:56 UTC`."""
    said = str(text)
    return f"{said[:10]} {said[11:19]} UTC" if parse_rfc3339(said) is not None else shown(said)
