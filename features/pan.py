"""Card numbers (PANs): recognise, tokenise, mask, scrub.

Two kinds of hiding, because their errors weigh differently:

* **Masking** a field of a record that goes on. Only what the contract names is touched: the record's own number
  wherever its digits appear, and in free identifiers every Luhn-valid run of 13 to 19 digits starting with 2 to 6.
  A run starts and ends at the edge of a group of digits; spaces and dashes join groups.
* **Scrubbing** text for people (logs, dead letters). It errs on the side of hiding: it also reads digits written as
  JSON escapes, bridges control characters, and finds card-shaped windows inside longer strings of digits.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Final

MIN_DIGITS: Final = 13
_MAX_DIGITS: Final = 19
_SHOWN: Final = 4
_MASK_CHARS: Final = 8

# Spaces and dashes of every script, and what is invisible; control characters bridge digits in scrubbed text only,
# since ids hold none.
_SEPARATOR: Final = (
    r"[\x00-\x20\-\x7f-\xa0\xad\u1680\u180e\u2000-\u2015\u2028-\u202f\u205f-\u2064\u2212\u3000\ufe58\ufe63\uff0d\ufeff]"
)
_ESCAPED_SEPARATOR: Final = (
    r"\\{1,16}(?:[bfnrt]|u(?:00[01][0-9a-fA-F]|0020|002[dD]|00[aA][0dD]|20[01][0-9a-fA-F]"
    r"|202[89a-fA-F]|2212|3000|[fF][eE][fF][fF]))"
)
_ESCAPED_DIGIT: Final = r"\\{1,16}u003[0-9]"

_PAN_SHAPE: Final = re.compile(rf"{_SEPARATOR}*+(?:[0-9]{_SEPARATOR}*+){{13,19}}").fullmatch
_NOT_DIGITS: Final = re.compile(r"[^0-9]+")
_NOT_DIGIT_BYTES: Final = bytes(byte for byte in range(256) if byte not in b"0123456789")
_FIELD_DIGIT: Final = re.compile(r"[0-9]")
_FIELD_RUN: Final = re.compile(rf"[0-9](?:{_SEPARATOR}*+[0-9]){{12,}}+")
# Group 1 is a digit; what is matched without it is an escape whose own digits are none.
_TEXT_DIGIT: Final = re.compile(rf"{_ESCAPED_SEPARATOR}|({_ESCAPED_DIGIT}|[0-9])")
_RUN: Final = (
    rf"(?:[0-9]|{_ESCAPED_DIGIT})(?:(?:{_SEPARATOR}|{_ESCAPED_SEPARATOR}){{0,128}}+(?:[0-9]|{_ESCAPED_DIGIT})){{12,}}+"
)
_TEXT_RUN: Final = re.compile(_RUN)
_RUN_AFTER_ESCAPE: Final = re.compile(rf"(?<=\\u[0-9a-fA-F]{{4}}){_RUN}")
# What a card number inside a longer string of digits looks like: the lengths and first digits of the large schemes.
_CARD_WINDOW: Final = re.compile(
    r"(?=(4[0-9]{15}|5[1-5][0-9]{14}|2[2-7][0-9]{14}|6[0-9]{15}|3[47][0-9]{13}|3[068][0-9]{12}))"
)
# What a digit adds to the Luhn sum, by its ASCII code: as it is, or doubled with the digits of the double added.
_PLAIN: Final = bytes.maketrans(b"0123456789", bytes(range(10)))
_DOUBLED: Final = bytes.maketrans(b"0123456789", bytes([0, 2, 4, 6, 8, 1, 3, 5, 7, 9]))


def luhn_valid(digits: str) -> bool:
    """Whether a string of ASCII digits ends in its Luhn check digit.

    >>> luhn_valid("4111111111111111"), luhn_valid("4111111111111112")
    (True, False)
    """
    raw = digits.encode()
    return (sum(raw[-1::-2].translate(_PLAIN)) + sum(raw[-2::-2].translate(_DOUBLED))) % 10 == 0


def pan_digits(text: str) -> str | None:
    """The digits of a text that is a card number and nothing else: 13 to 19 ASCII digits passing Luhn.

    Spaces and dashes may stand anywhere, also typographic ones; digits of other scripts are not digits.

    >>> pan_digits("4111-1111 1111-1111"), pan_digits("card-4111111111111111")
    ('4111111111111111', None)
    """
    if _PAN_SHAPE(text) is None:
        return None
    digits = _NOT_DIGITS.sub("", text)
    return digits if luhn_valid(digits) else None


def token(key: bytes, digits: str) -> str:
    """The stored card id of a card number: `tok_` and 52 characters of base32, lower case."""
    return "tok_" + _base32(hmac.digest(key, digits.encode(), "sha256"))


def _base32(raw: bytes) -> str:
    return base64.b32encode(raw).decode().rstrip("=").lower()


def mask_own(text: str, digits: str) -> str:
    """Hide a record's own card number in one of its fields: stars, the last four digits left.

    Every spelling counts, whatever stands between the digits. Position and length are kept, so different ids of one
    card stay different.

    >>> mask_own("order 4111-1111-1111-1111/7", "4111111111111111")
    'order ****-****-****-1111/7'
    """
    if len(text) < len(digits) or digits.encode() not in text.encode().translate(None, _NOT_DIGIT_BYTES):
        return text
    places = [match.span() for match in _FIELD_DIGIT.finditer(text)]
    spans = _occurrences("".join(text[start] for start, _ in places), digits)
    return _starred(text, (place for start, end in spans for place in places[start : end - _SHOWN]))


def may_hold_others(text: str | None) -> bool:
    """Whether `mask_others` has anything to look at: a run of 13 digits or more."""
    if text is None or len(text) < MIN_DIGITS:
        return False
    # Most have few digits, and counting them is cheaper than looking for a run.
    digits = text.encode(errors="replace").translate(None, _NOT_DIGIT_BYTES)
    return len(digits) >= MIN_DIGITS and _FIELD_RUN.search(text) is not None


def mask_others(text: str, key: bytes | None) -> str:
    """Hide every Luhn-valid run of 13 to 19 digits that starts with 2 to 6 in an identifier.

    With a key a run becomes a star, eight characters of its HMAC and its last four digits: not longer than the run,
    and different runs stay different. Without a key: stars and the last four digits.

    >>> mask_others("M-4111111111111111", None), mask_others("20240101000000000", None)
    ('M-************1111', '20240101000000000')
    """
    masked = _FIELD_RUN.sub(lambda run: _masked_run(run[0], key), text)
    # The four digits left may form a run with those that follow; every turn leaves fewer digits.
    return masked if masked == text else mask_others(masked, key)


def _masked_run(run: str, key: bytes | None) -> str:
    places = [match.span() for match in _FIELD_DIGIT.finditer(run)]
    digits = "".join(run[start] for start, _ in places)
    masked, done = [], 0
    for start, end in _merged(edge_spans(digits, places)):
        first, last = places[start][0], places[end - 1][1]
        masked += [run[done:first], _mask(digits[start:end], key)]
        done = last
    return "".join(masked) + run[done:]


def _mask(digits: str, key: bytes | None) -> str:
    if key is None:
        return "*" * (len(digits) - _SHOWN) + digits[-_SHOWN:]
    # A label of its own keeps this HMAC apart from the token's, of which it must not give characters away.
    distinct = _base32(hmac.digest(key, b"mask:" + digits.encode(), "sha256"))[:_MASK_CHARS]
    return f"*{distinct}{digits[-_SHOWN:]}"


def scrub(text: str, own: Iterable[str] = ()) -> str:
    """A text for people without card numbers: every digit of one becomes stars, as many as it had characters.

    Args:
        text: anything; JSON escapes of digits and separators are understood.
        own: digits of numbers known to be cards, hidden wherever they appear.

    >>> scrub("declined 4111 1111 1111 1111, amount 1250")
    'declined **** **** **** ****, amount 1250'
    """
    for digits in own:
        places, found = _text_digits(text)
        text = _starred(text, (place for start, end in _occurrences(found, digits) for place in places[start:end]))
    scrubbed = text
    if "\\u" in text:  # taken literally, the digits of an escape would be part of the run behind it
        scrubbed = _RUN_AFTER_ESCAPE.sub(lambda run: _scrubbed_run(run[0]), text)
    scrubbed = _TEXT_RUN.sub(lambda run: _scrubbed_run(run[0]), scrubbed)
    # What is left beside a hidden number has an edge now, and may be one itself; every turn leaves fewer digits.
    return scrubbed if scrubbed == text else scrub(scrubbed)


def _text_digits(text: str) -> tuple[list[tuple[int, int]], str]:
    """Where each digit is written, and the digits."""
    matches = [match for match in _TEXT_DIGIT.finditer(text) if match[1]]
    return [match.span() for match in matches], "".join(match[1][-1] for match in matches)


def _scrubbed_run(run: str) -> str:
    places, digits = _text_digits(run)
    spans = [*edge_spans(digits, places), *_window_spans(digits, places)]
    return _starred(run, (place for start, end in _merged(sorted(spans)) for place in places[start:end]))


def scrub_bytes(raw: bytes, own: Iterable[str] = ()) -> bytes:
    """`scrub` for bytes of any encoding that writes digits as ASCII; the length stays."""
    return scrub(raw.decode(errors="surrogateescape"), own).encode(errors="surrogateescape")


def edge_spans(digits: str, places: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Card numbers made of whole groups, as [start, end) into `digits`; a group is what no separator interrupts."""
    count = len(digits)
    edges = [i for i in range(count) if i == 0 or places[i - 1][1] != places[i][0]] + [count]
    sums = _luhn_sums(digits)
    ahead = 0
    for position, start in enumerate(edges[:-1]):
        if digits[start] not in "23456":
            continue
        ahead = max(ahead, position + 1)
        while edges[ahead] - start < MIN_DIGITS and ahead < len(edges) - 1:
            ahead += 1
        for end in edges[ahead : ahead + _MAX_DIGITS]:
            if MIN_DIGITS <= end - start <= _MAX_DIGITS and _luhn_between(sums, start, end):
                yield start, end


def _window_spans(digits: str, places: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Card-shaped windows inside one group of digits."""
    sums = _luhn_sums(digits)
    for match in _CARD_WINDOW.finditer(digits):
        start, end = match.span(1)
        unbroken = all(places[i][1] == places[i + 1][0] for i in range(start, end - 1))
        if unbroken and _luhn_between(sums, start, end):
            yield start, end


def _luhn_sums(digits: str) -> tuple[list[int], list[int]]:
    """Running Luhn sums, so that any window is two subtractions: one per parity of its last digit."""
    plain, doubled = digits.encode().translate(_PLAIN), digits.encode().translate(_DOUBLED)
    even = accumulate((doubled[i] if i % 2 else plain[i] for i in range(len(plain))), initial=0)
    odd = accumulate((plain[i] if i % 2 else doubled[i] for i in range(len(plain))), initial=0)
    return list(even), list(odd)


def _luhn_between(sums: tuple[list[int], list[int]], start: int, end: int) -> bool:
    running = sums[(end - 1) % 2]
    return (running[end] - running[start]) % 10 == 0


def _occurrences(digits: str, wanted: str) -> list[tuple[int, int]]:
    """Where `wanted` stands in `digits`, overlapping ones merged, as [start, end)."""
    found, start = [], digits.find(wanted)
    while start >= 0:
        found.append((start, start + len(wanted)))
        start = digits.find(wanted, start + 1)
    return list(_merged(found))


def _merged(spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Sorted spans with the overlapping ones joined."""
    current: tuple[int, int] | None = None
    for start, end in spans:
        if current is None or start >= current[1]:
            if current is not None:
                yield current
            current = start, end
        else:
            current = current[0], max(current[1], end)
    if current is not None:
        yield current


def _starred(text: str, places: Iterable[tuple[int, int]]) -> str:
    """The text with the characters at these places (in order) replaced by stars."""
    parts, done = [], 0
    for start, end in places:
        parts += [text[done:start], "*" * (end - start)]
        done = end
    return "".join(parts) + text[done:] if parts else text
