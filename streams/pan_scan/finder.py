"""What the scanner takes for a card number, in text, in bytes and in JSON.

A card number is 13 to 19 ASCII digits that start with 2 to 6, pass Luhn, and begin and end at the edge of a group of
digits. Groups are joined by up to three spaces, dashes or NULs (UTF-16), digits and separators may be JSON escapes. One
number in ten passes Luhn by chance, so what is plainly something else is left out:

* digits beside a decimal point, and numbers in fields that hold amounts, times, offsets and features;
* what begins with a date (`20241231...`: no scheme issues cards that begin with 20);
* runs inside a UUID, or inside a hexadecimal word of a usual length that has letters.

Numbers that are known to be cards are found without any of these rules, whatever stands between their digits.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Final

from features.catalogue import FEATURES
from features.errors import ConfigError
from features.pan import edge_spans

_MIN_DIGITS: Final = 13
_MAX_DIGITS: Final = 19

_SEPARATORS: Final = (
    r"\x00 \-\xa0\xad\u1680\u180e\u2000-\u2015\u2028-\u202f\u205f-\u2064\u2212\u3000\ufe58\ufe63\uff0d\ufeff"
)
_RUN: Final = re.compile(rf"[0-9](?:[{_SEPARATORS}]{{0,3}}+[0-9]){{12,}}+")
_ESCAPED_DIGIT: Final = re.compile(r"\\{1,16}u003([0-9])")
_ESCAPE: Final = re.compile(r"\\{1,16}u([0-9a-fA-F]{4})")
_DIGIT: Final = re.compile(r"[0-9]")
_WORD: Final = re.compile(r"[0-9A-Za-z-]")
_DATE: Final = re.compile(r"20[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])")
_UUID: Final = re.compile(r"(?i)[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_HEX_WORD: Final = re.compile(r"(?<![0-9A-Za-z])[0-9A-Fa-f]+(?![0-9A-Za-z])")
_HEX_LENGTHS: Final = frozenset({16, 24, 32, 40, 48, 56, 64, 96, 128})
_AROUND: Final = max(_HEX_LENGTHS) + 1
_NOT_DIGITS: Final = re.compile(r"[^0-9]+")

# Fields of ours that are numbers: an amount or a clock that is years off can have any digits.
_NUMBERS: Final = frozenset(
    {
        *(feature.name for feature in FEATURES),
        *("amount", "amount_minor", "event_time", "timestamp", "offset", "partition"),
        *("score", "probability", "value", "latency_ms", "late_by_ms", "clock_skew_ms"),
    }
)


class _Number(str):
    """A JSON number as it is written."""

    __slots__ = ()


class _Object(list[tuple[str, Any]]):
    """A JSON object with every pair that was written, also of keys that repeat."""


_JSON: Final = json.JSONDecoder(parse_int=_Number, parse_float=_Number, object_pairs_hook=_Object)


class Finder:
    """Finds card numbers.

    Args:
        known: digits of numbers that are certainly cards.
        skip_fields: JSON fields whose values are known to be no cards; known numbers are found there too.
    """

    def __init__(self, known: Collection[str] = (), skip_fields: Collection[str] = ()) -> None:
        self._known = frozenset(known)
        self._lengths = sorted({len(digits) for digits in self._known})
        self._skip = frozenset(skip_fields)

    def in_bytes(self, raw: bytes) -> set[tuple[str, str]]:
        """(field, digits) of every card number in bytes of any kind; the field is empty where they are no JSON."""
        text = raw.decode(errors="surrogateescape")
        numbers = {*card_numbers(text), *self.known_in(text)}
        encoded = '"base64"' in text
        if not numbers and not encoded:
            return set()
        document = _parsed(text)
        if document is None:
            return {("", digits) for digits in numbers}
        found = set(self.in_json(document))
        # Digits of a known number may be spread over fields; each of ours is told once.
        told = {digits for _, digits in found}
        return found | {("", digits) for digits in self.known_in(text) if digits not in told}

    def in_json(self, value: Any, field: str = "") -> Iterator[tuple[str, str]]:  # noqa: ANN401 - any JSON value
        """(field, digits) of every card number in a JSON document, as `json` or this module has read it."""
        if isinstance(value, dict | _Object):
            yield from self._in_object(list(value.items()) if isinstance(value, dict) else value)
        elif isinstance(value, list):
            for item in value:
                yield from self.in_json(item, field)
        elif isinstance(value, str | int | float) and not isinstance(value, bool):
            numeric = not isinstance(value, str) or isinstance(value, _Number)
            text = str(value)
            ours = field in self._skip or (numeric and (field in _NUMBERS or not text.isdigit()))
            yield from ((field, digits) for digits in {*(() if ours else card_numbers(text)), *self.known_in(text)})

    def _in_object(self, pairs: list[tuple[str, Any]]) -> Iterator[tuple[str, str]]:
        for name, value in pairs:
            yield from (("a field's name", digits) for digits in {*card_numbers(name), *self.known_in(name)})
            yield from self.in_json(value, name)
        fields = dict(pairs)
        if fields.get("encoding") == "base64" and isinstance(payload := fields.get("payload"), str):
            yield from (("payload", digits) for _, digits in self.in_bytes(_decoded(payload)))

    def known_in(self, text: str) -> set[str]:
        """Known numbers of which all digits stand in the text, one after the other."""
        if not self._known:
            return set()
        streams = {_NOT_DIGITS.sub("", spelled) for spelled in _readings(text)}
        return {
            window
            for digits in streams
            for length in self._lengths
            for start in range(len(digits) - length + 1)
            if (window := digits[start : start + length]) in self._known
        }


def card_numbers(text: str) -> set[str]:
    """Digits of every card number in a text.

    >>> sorted(card_numbers("paid by 4111 1111-1111 1111, ratio 0.4111111111111111"))
    ['4111111111111111']
    """
    return {
        digits
        for reading in _readings(text)
        for run in _RUN.finditer(reading)
        for digits in _in_run(reading, *run.span())
    }


def _readings(text: str) -> Iterator[str]:
    """The text with JSON escapes of digits in their places and, where it has others, with those too."""
    if "\\u" not in text:
        yield text
        return
    digits = _ESCAPED_DIGIT.sub(r"\1", text)
    yield digits
    yield _ESCAPE.sub(lambda escape: chr(int(escape[1], 16)), digits)


def _in_run(text: str, start: int, end: int) -> Iterator[str]:
    """Card numbers within a run of digits and separators."""
    places = [match.span() for match in _DIGIT.finditer(text, start, end)]
    first = 0
    if _is_fraction(text, start):  # the first group are the decimals of a number
        first = next((i for i in range(1, len(places)) if places[i - 1][1] != places[i][0]), len(places))
    digits = "".join(text[place] for place, _ in places)
    for begin, stop in edge_spans(digits, places):
        found, at, to = digits[begin:stop], places[begin][0], places[stop - 1][1]
        if begin < first or _DATE.match(found) or _is_fraction(text, to + 1):
            continue
        if not _in_an_id(text, at, to):
            yield found


def _is_fraction(text: str, start: int) -> bool:
    """Whether a decimal point between digits stands right before."""
    return (
        start > 1 and text[start - 1 : start] == "." and text[start - 2].isdigit() and text[start : start + 1].isdigit()
    )


def _in_an_id(text: str, start: int, end: int) -> bool:
    """Whether the run is part of a UUID or of a hexadecimal word with letters."""
    if not (_WORD.match(text, start - 1) if start else None) and not _WORD.match(text, end):
        return False
    before = max(start - _AROUND, 0)
    around = text[before : end + _AROUND]
    for word in (*_UUID.finditer(around), *_HEX_WORD.finditer(around)):
        if word.start() <= start - before and end - before <= word.end():
            is_uuid = "-" in word[0]
            if is_uuid or (len(word[0]) in _HEX_LENGTHS and not word[0].isdigit()):
                return True
    return False


def _parsed(text: str) -> _Object | list[Any] | None:
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        document, end = _JSON.raw_decode(text.strip())
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, list) and end == len(text.strip()) else None


def _decoded(payload: str) -> bytes:
    try:
        return base64.b64decode(payload)
    except binascii.Error:
        return payload.encode(errors="surrogateescape")


def read_known(path: Path) -> set[str]:
    """Digits of the numbers in a file, one a line in any spelling; `-` is stdin.

    Raises:
        ConfigError: it cannot be read, or a line is no number of 13 to 19 digits; the line is named, never quoted.
    """
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"--known: {path} cannot be read as text ({type(exc).__name__})") from None
    known = set()
    for number, line in enumerate(text.splitlines(), 1):
        digits = _NOT_DIGITS.sub("", line)
        if line.strip() and not _MIN_DIGITS <= len(digits) <= _MAX_DIGITS:
            raise ConfigError(f"--known: line {number} of {path} is no number of 13 to 19 digits")
        if digits:
            known.add(digits)
    return known
