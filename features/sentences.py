"""What the value of a feature says in words: the templates of the catalogue, filled with the values of a row.

A template holds `{name}` for a feature's value and `{name-other}` for a difference of two. Behind a colon stands how a
number is written:

    (nothing)     a number for people: two decimals, or two digits of a small fraction
    count         a whole number, `none` for 0
    one|many      a whole number and the noun that fits it
    percent       a share in percent
    duration      seconds as seconds, minutes, hours or days
    hour          begin and end of an hour of the day, as in `03:00 and 04:00`
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from string import Formatter
from typing import Final

from features.catalogue import FEATURE_NAMES, FEATURES, Feature

Row = Sequence[float]
Piece = Callable[[Row], str]
"""Takes the values of a row, in the order of the catalogue."""

NOT_KNOWN: Final = "an unknown number"
_UNITS: Final = ((86_400, "day"), (3_600, "hour"), (60, "minute"))
_DAY_H: Final = 24
_LEAST: Final = 1e-4
"""Less is nothing that a currency has."""


def sentence(column: int, row: Row) -> str:
    """What the value of a feature says.

    Args:
        column: place of the feature in the catalogue.
        row: the values of all features.

    Returns:
        One plain sentence without a full stop; a value that is none (NaN or infinite) is called unknown.
    """
    return _SENTENCES[column](row)


def plain(value: float) -> str:
    """A number for people.

    >>> plain(3), plain(41.128), plain(0.0041), plain(12500.0), plain(500.5), plain(1e-9)
    ('3', '41.13', '0.0041', '12,500', '500.50', 'nearly 0')
    """
    if value == int(value):
        return f"{int(value):,}"
    if abs(value) < _LEAST:
        return "nearly 0"
    return f"{value:,.2f}" if abs(value) >= 1 else f"{value:.2g}"


def _count(value: float) -> str:
    """A whole number; weekly counts of a hot card are approximate, and their differences may fall below 0.

    >>> _count(3.0), _count(-1.0)
    ('3', 'none')
    """
    return f"{int(value):,}" if value >= 1 else "none"


def _percent(value: float) -> str:
    """A share in percent.

    >>> _percent(1.0), _percent(0.625), _percent(0.004)
    ('100 %', '62 %', '0.4 %')
    """
    share = value * 100
    return f"{share:.0f} %" if share >= 1 else f"{plain(round(share, 1))} %"


def _duration(value: float) -> str:
    """Seconds in the unit that fits.

    >>> _duration(0.3), _duration(1.0), _duration(90.0), _duration(7200.0), _duration(200000.0)
    ('0.3 seconds', '1 second', '90 seconds', '2 hours', '2.3 days')
    """
    for seconds, unit in _UNITS:
        if value >= 2 * seconds:
            return _with_noun(round(value / seconds, 1), unit, f"{unit}s")
    return _with_noun(round(value, 1), "second", "seconds")


def _hour(value: float) -> str:
    """Begin and end of an hour of the day.

    >>> _hour(3.0), _hour(23.0)
    ('03:00 and 04:00', '23:00 and 00:00')
    """
    begin = int(value)
    return f"{begin:02d}:00 and {(begin + 1) % _DAY_H:02d}:00"


def _with_noun(value: float, one: str, many: str) -> str:
    number = f"{value:,.1f}".removesuffix(".0")
    return f"{number} {one if value == 1 else many}"


_WRITTEN: Final[Mapping[str, Callable[[float], str]]] = {
    "": plain,
    "count": _count,
    "percent": _percent,
    "duration": _duration,
    "hour": _hour,
}


def _writer(spec: str) -> Callable[[float], str]:
    if "|" not in spec:
        return _WRITTEN[spec]
    one, many = spec.split("|")
    return lambda value: _with_noun(value, one, many)


def _reader(name: str) -> Callable[[Row], float]:
    """The value that a placeholder names, or the difference of two."""
    first, _, second = name.partition("-")
    column = FEATURE_NAMES.index(first)
    if not second:
        return lambda row: row[column]
    other = FEATURE_NAMES.index(second)
    return lambda row: row[column] - row[other]


def _placeholder(name: str, spec: str) -> Piece:
    read, write = _reader(name), _writer(spec)

    def piece(row: Row) -> str:
        value = read(row)
        return write(value) if math.isfinite(value) else NOT_KNOWN

    return piece


def _template(text: str) -> Piece:
    """A template made ready, so that nothing is parsed when a transaction is explained."""
    parts: list[str | Piece] = []
    for words, name, spec, _conversion in Formatter().parse(text):
        parts.append(words)
        if name is not None:
            parts.append(_placeholder(name, spec or ""))

    def fill(row: Row) -> str:
        return "".join([part if isinstance(part, str) else part(row) for part in parts])

    return fill


def _sentence_of(column: int, feature: Feature) -> Piece:
    usual = _template(feature.sentence)
    special = {value: _template(text) for value, text in feature.special}
    unknown = f"not known: {feature.meaning}"

    def say(row: Row) -> str:
        value = row[column]
        if not math.isfinite(value):
            return unknown
        return special.get(value, usual)(row)

    return say


_SENTENCES: Final = tuple(_sentence_of(column, feature) for column, feature in enumerate(FEATURES))
