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

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
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
_SHORT: Final = 999
"""Numbers below it have no comma, even rounded; most are, and to look for commas takes as long as to write a number."""


def sentence(column: int, row: Row) -> str:
    """What the value of a feature says.

    Args:
        column: place of the feature in the catalogue.
        row: the values of all features.

    Returns:
        One plain sentence without a full stop; a value that is none (NaN or infinite) is called unknown.
    """
    return SENTENCES[column](row)


def plain(value: float) -> str:
    """A number for people.

    >>> plain(3), plain(41.128), plain(0.0041), plain(12500.0), plain(500.5), plain(1e-9)
    ('3', '41.13', '0.0041', '12,500', '500.50', 'nearly 0')
    """
    if not value % 1:
        return _whole(value)
    size = abs(value)
    if size >= 1:
        return f"{value:,.2f}" if size >= _SHORT else "%.2f" % value  # noqa: UP031 - a third less than an f-string takes
    return f"{value:.2g}" if size >= _LEAST else "nearly 0"


def _whole(value: float) -> str:
    """A whole number, with commas where it needs them."""
    return str(int(value)) if -_SHORT < value < _SHORT else f"{int(value):,}"


def _count(value: float) -> str:
    """A whole number; weekly counts of a hot card are approximate, and their differences may fall below 0.

    >>> _count(3.0), _count(-1.0)
    ('3', 'none')
    """
    return _whole(value) if value >= 1 else "none"


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
            return _with_noun(value / seconds, unit, f"{unit}s")
    return _with_noun(value, "second", "seconds")


def _hour(value: float) -> str:
    """Begin and end of an hour of the day.

    >>> _hour(3.0), _hour(23.0)
    ('03:00 and 04:00', '23:00 and 00:00')
    """
    begin = int(value)
    return f"{begin:02d}:00 and {(begin + 1) % _DAY_H:02d}:00"


def _with_noun(value: float, one: str, many: str) -> str:
    number = f"{value:,.1f}".removesuffix(".0") if value % 1 else _whole(value)
    return f"{number} {one if number == '1' else many}"


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


def _columns(name: str) -> tuple[int, int | None]:
    """The columns of what a placeholder names: a value, or the difference of two."""
    first, _, second = name.partition("-")
    return FEATURE_NAMES.index(first), FEATURE_NAMES.index(second) if second else None


def _template(text: str) -> Piece:
    """A template made ready, so that nothing is parsed when a transaction is explained."""
    pieces: list[tuple[str, int, int | None, Callable[[float], str]]] = []
    end = ""
    for words, name, spec, _conversion in Formatter().parse(text):
        if name is None:
            end = words
        else:
            pieces.append((words, *_columns(name), _writer(spec or "")))

    def fill(row: Row) -> str:
        said = ""
        for words, column, other, write in pieces:
            value = row[column] if other is None else row[column] - row[other]
            said += words + (write(value) if isfinite(value) else NOT_KNOWN)
        return said + end

    return fill


def _sentence_of(column: int, feature: Feature) -> Piece:
    usual = _template(feature.sentence)
    special = {value: _template(text) for value, text in feature.special}
    unknown = f"not known: {feature.meaning}"

    def say(row: Row) -> str:
        value = row[column]
        if not isfinite(value):
            return unknown
        return special.get(value, usual)(row)

    return say


SENTENCES: Final = tuple(_sentence_of(column, feature) for column, feature in enumerate(FEATURES))
"""Of each feature what says `sentence` of it."""
