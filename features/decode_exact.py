"""The exact way from bytes to a transaction: every check of the contract, in one fixed order, each with its reason.

    too_large      over 256 KiB
    empty          no value, or no bytes
    not_json       not UTF-8, not JSON (also NaN and Infinity), nested deeper than 100 levels
    not_object     JSON, but no object
    missing_field  a required field is absent
    bad_type       a required field has another JSON type; null and booleans are never right
    bad_id, bad_amount, bad_currency, bad_time    in the order of the contract's table
    bad_field, bad_id    type, then the original of a reversal

Whether the card id is a card number that no key can tokenise is looked at last (`features.decode`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final, NoReturn

from features.errors import DecodeError
from features.money import EXPONENTS, is_decimal, minor_units
from features.times import MAX_EVENT_MS, parse_rfc3339
from features.transaction import AUTHORIZATION, REVERSAL, Transaction
from features.wire import MAX_BYTES, MAX_DEPTH, MAX_TEXT, OPTIONAL, REQUIRED, fit_id

_INTEGER: Final = re.compile(r"-?[0-9]{1,15}").fullmatch  # the range ends at fifteen digits
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]").search
# A string ends at its quote or, where that is missing, with the text: so no start is tried twice.
_STRING: Final = re.compile(r'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_BRACKET: Final = re.compile(r"[\[{]|[\]}]")


class _Number(str):
    """The text of a JSON number, kept as it was sent."""

    __slots__ = ()


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_JSON: Final = json.JSONDecoder(parse_int=_Number, parse_float=_Number, parse_constant=_refuse_constant)


def decode_exact(value: bytes | None) -> Transaction:
    """Decode a record's value; the card id is still as it was sent.

    Raises:
        DecodeError: the first check that fails; its detail quotes nothing of the record.
    """
    fields = _parse(value)
    for name in REQUIRED:
        if name not in fields:
            raise DecodeError("missing_field", f"{name} is required")
    _check_types(fields)
    transaction_id = _id(fields["transaction_id"], "transaction_id")
    card_id = _id(fields["card_id"], "card_id")
    amount_minor, exponent = _amount(fields["amount"], fields["currency"])
    event_ms = _event_ms(fields["event_time"])
    kind, original = _type(fields)
    dropped = tuple(name for name in OPTIONAL if name in fields and not _is_text(fields[name]))
    texts = {name: fields[name] for name in OPTIONAL if name in fields and name not in dropped}
    return Transaction(
        transaction_id=transaction_id,
        card_id=card_id,
        amount_minor=amount_minor,
        currency=fields["currency"],
        exponent=exponent,
        event_ms=event_ms,
        type=kind,
        original_transaction_id=original,
        dropped_fields=dropped,
        home_id=card_id.encode(),
        **texts,
    )


def _parse(value: bytes | None) -> Mapping[str, Any]:
    if value is not None and len(value) > MAX_BYTES:
        raise DecodeError("too_large", f"the value has {len(value)} bytes, more than {MAX_BYTES}")
    if not value:
        raise DecodeError("empty", "the record has no value")
    try:
        text = value.decode()
    except UnicodeDecodeError as exc:
        raise DecodeError("not_json", f"not UTF-8 at byte {exc.start}") from None
    if _deeper_than(text, MAX_DEPTH):
        raise DecodeError("not_json", f"nested deeper than {MAX_DEPTH} levels")
    try:
        document = _JSON.decode(text)
    except json.JSONDecodeError as exc:
        raise DecodeError("not_json", f"not JSON at character {exc.pos}: {exc.msg}") from None
    except ValueError:
        raise DecodeError("not_json", "NaN and Infinity are not JSON") from None
    if not isinstance(document, dict):
        raise DecodeError("not_object", "the value is JSON, but not an object")
    return document


def _deeper_than(text: str, levels: int) -> bool:
    """Whether brackets outside strings nest deeper; checked before parsing, which would use the C stack for each."""
    if text.count("[") + text.count("{") <= levels:
        return False
    depth = 0
    for bracket in _BRACKET.finditer(_STRING.sub("", text)):
        depth += 1 if bracket[0] in "[{" else -1
        if depth > levels:
            return True
    return False


def _is_string(value: object) -> bool:
    return type(value) is str


def _is_text(value: Any) -> bool:  # noqa: ANN401 - any JSON value
    return _is_string(value) and len(value) <= MAX_TEXT and _SURROGATE(value) is None


def _check_types(fields: Mapping[str, Any]) -> None:
    for name in ("transaction_id", "card_id", "currency"):
        if not _is_string(fields[name]):
            raise DecodeError("bad_type", f"{name} must be a string")
    if not isinstance(fields["amount"], str):  # a number is the string of its text
        raise DecodeError("bad_type", "amount must be a number or a decimal string")
    if not isinstance(fields["event_time"], str):
        raise DecodeError("bad_type", "event_time must be an RFC 3339 string or epoch milliseconds")


def _id(value: str, name: str) -> str:
    if not fit_id(value):
        raise DecodeError("bad_id", f"{name} must have 1 to 128 characters, none a control character or a surrogate")
    return value


def _amount(text: str, currency: str) -> tuple[int, int]:
    """Minor units and the currency's exponent."""
    if not is_decimal(text):
        raise DecodeError("bad_amount", "amount is not a decimal number")
    exponent = EXPONENTS.get(currency)
    if exponent is None:
        raise DecodeError("bad_currency", "currency is not an active ISO 4217 code with minor units")
    amount_minor = minor_units(text, exponent)
    if amount_minor is None:
        raise DecodeError("bad_amount", "amount must be 1 to 10^15 minor units after rounding")
    return amount_minor, exponent


def _event_ms(value: str) -> int:
    event_ms = parse_rfc3339(value) if _is_string(value) else _integer(value)
    if event_ms is None or not 0 <= event_ms <= MAX_EVENT_MS:
        raise DecodeError("bad_time", "event_time must be RFC 3339 or integer epoch milliseconds, 1970 to 9999")
    return event_ms


def _integer(text: str) -> int | None:
    return int(text) if _INTEGER(text) else None


def _type(fields: Mapping[str, Any]) -> tuple[str, str | None]:
    """The type, and of a reversal the id of what it takes back."""
    kind = fields.get("type", AUTHORIZATION)
    if not _is_string(kind) or kind not in {AUTHORIZATION, REVERSAL}:
        raise DecodeError("bad_field", f"type must be {AUTHORIZATION} or {REVERSAL}")
    if kind == AUTHORIZATION:
        return kind, None
    original = fields.get("original_transaction_id")
    if not _is_string(original) or not original:
        raise DecodeError("bad_field", "a reversal must name original_transaction_id")
    return kind, _id(str(original), "original_transaction_id")
