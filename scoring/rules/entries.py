"""What a list may hold: values as they stand in a transaction that has passed decode, and never a card number."""

from __future__ import annotations

from typing import Final

from features import pan
from features.errors import ConfigError
from features.wire import MAX_TEXT

CARD_ID: Final = "card_id"
MASKED: Final = frozenset(("merchant_id", "device_id", "email"))
"""Fields in which decode masks any card number."""

_SHORTEST: Final = 13
_NOT_DIGITS: Final = bytes(byte for byte in range(256) if byte not in b"0123456789")


def holds_card_number(text: str) -> bool:
    """Whether a text is a card number, or holds one where decode would mask it.

    >>> holds_card_number("4111 1111 1111 1111"), holds_card_number("tok_4111")
    (True, False)
    """
    if len(text.encode().translate(None, _NOT_DIGITS)) < _SHORTEST:  # most texts, and counting is cheaper
        return False
    return pan.pan_digits(text) is not None or (pan.may_hold_others(text) and pan.mask_others(text, None) != text)


def list_entry(text: str, field: str, pan_key: bytes | None) -> str:
    """A value as transactions show it after decode, so that a look-up finds it.

    Args:
        text: as somebody wrote it; a card number may be among the cards.
        field: what the list is of.
        pan_key: key of the card-number tokens.

    Raises:
        ConfigError: a card number has no key to become a token, or stands in a list that is not of cards.
        ValueError: it is empty or too long to be a value of a transaction.
    """
    entry = text.strip()
    if not entry or len(entry) > MAX_TEXT:
        raise ValueError(f"an entry has 1 to {MAX_TEXT} characters")
    digits = pan.pan_digits(entry) if field == CARD_ID else None
    if digits is not None:
        if not pan_key:
            raise ConfigError("an entry is a card number; set FRAUD_PAN_KEY to the key of the score role")
        return pan.token(pan_key, digits)
    if field in MASKED and pan.may_hold_others(entry):
        return pan.mask_others(entry, pan_key)
    if holds_card_number(entry):
        raise ConfigError(f"an entry of a list of {field} is a card number")
    return entry
