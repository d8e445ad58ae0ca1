"""Dead letters: what is published about a record that is not a transaction."""

from __future__ import annotations

import base64
import re
from collections.abc import Collection
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from features.pan import luhn_valid, pan_digits, scrub, scrub_bytes

MAX_PAYLOAD_BYTES: Final = 64 * 1024
_SCRUBBED_AHEAD: Final = 32 * 1024  # a card number that straddles the cut is found whole: none is spelt longer

Reason = Literal[
    "empty",
    "not_json",
    "not_object",
    "missing_field",
    "bad_type",
    "bad_id",
    "bad_amount",
    "bad_currency",
    "bad_time",
    "bad_field",
    "pan_without_key",
    "too_large",
    "poison",
]

# The record's own card number counts with any first digit; where the JSON is broken its field can still be seen.
_ESCAPED_DIGIT: Final = re.compile(r"\\u003([0-9])")
_CARD_ID: Final = re.compile(r'"card_id"\s{0,64}:\s{0,64}"?((?:[^0-9"\\,}]{0,128}+[0-9]){13,19})(?![0-9])')


class Source(msgspec.Struct, frozen=True):
    """Where the record lies."""

    topic: str
    partition: Annotated[int, Meta(ge=0)]
    offset: Annotated[int, Meta(ge=0)]
    timestamp: Annotated[int, Meta(description="the broker's, epoch milliseconds")]


class DeadLetter(msgspec.Struct, frozen=True):
    """The JSON value of a dead letter; free of card numbers."""

    reason: Reason
    detail: Annotated[str, Meta(description="one sentence for people")]
    source: Source
    key: Annotated[str | None, Meta(description="the record's key; bytes that are not UTF-8 as \\xNN")]
    payload: Annotated[str | None, Meta(description="the record's value; null: it had none")]
    encoding: Annotated[Literal["utf-8", "base64"], Meta(description="of the payload")]
    truncated: Annotated[bool, Meta(description="whether the payload was cut at 64 KiB")]


def dead_letter(
    reason: str,
    detail: str,
    *,
    topic: str,
    partition: int,
    offset: int,
    timestamp_ms: int,
    key: bytes | None,
    value: bytes | None,
) -> bytes:
    """The JSON value of a dead letter (contract, section 3.7).

    The record's key must not be the dead letter's Kafka key: it may be a card number.

    Args:
        reason: code of the contract; it also goes into the header `reason`.
        detail: what is wrong, for people.
        topic: of the record that is refused.
        partition: the same.
        offset: the same.
        timestamp_ms: the record's broker timestamp, epoch milliseconds.
        key: the record's key.
        value: the record's value, of any size.
    """
    own = _own_numbers(key, value)
    payload, encoding = _payload(value, own)
    letter = {
        "reason": reason,
        "detail": scrub(detail, own),
        "source": Source(topic, partition, offset, timestamp_ms),
        "key": None if key is None else _text(key, own),
        "payload": payload,
        "encoding": encoding,
        "truncated": value is not None and len(value) > MAX_PAYLOAD_BYTES,
    }
    return msgspec.json.encode(letter)


def _own_numbers(key: bytes | None, value: bytes | None) -> Collection[str]:
    """Digits of the card numbers that the record says are its card: its key, its `card_id`."""
    numbers = {pan_digits((key or b"").decode(errors="replace"))}
    seen = (value or b"")[: MAX_PAYLOAD_BYTES + _SCRUBBED_AHEAD].decode(errors="replace")
    for match in _CARD_ID.finditer(_ESCAPED_DIGIT.sub(r"\1", seen)):
        digits = re.sub(r"[^0-9]", "", match[1])
        numbers.add(digits if luhn_valid(digits) else None)
    return {number for number in numbers if number is not None}


def _payload(value: bytes | None, own: Collection[str]) -> tuple[str | None, str]:
    if value is None:
        return None, "utf-8"
    # Scrubbing keeps every position, so only what can reach the cut has to be scrubbed.
    head = scrub_bytes(value[: MAX_PAYLOAD_BYTES + _SCRUBBED_AHEAD], own)[:MAX_PAYLOAD_BYTES]
    if _is_utf8(value):
        return head.decode(errors="ignore"), "utf-8"  # the cut may have split the last character
    return base64.b64encode(head).decode(), "base64"


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _text(key: bytes, own: Collection[str]) -> str:
    shown = scrub_bytes(key[: MAX_PAYLOAD_BYTES + _SCRUBBED_AHEAD], own)[:MAX_PAYLOAD_BYTES]
    return shown.decode(errors="backslashreplace")


def dead_letter_schema() -> dict[str, Any]:
    """The JSON Schema of a dead letter's value."""
    (_,), definitions = msgspec.json.schema_components([DeadLetter])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **definitions.pop("DeadLetter"),
        "title": "Dead letter",
        "$defs": definitions,
    }
