"""The transaction record: what is left of a producer's bytes once they have passed decode."""

from __future__ import annotations

from typing import Final

import msgspec

AUTHORIZATION: Final = "authorization"
REVERSAL: Final = "reversal"


class Transaction(msgspec.Struct, frozen=True, gc=False):
    """A validated card transaction. It holds no card number, except that `home_id` may be made of one.

    Attributes:
        transaction_id: 1 to 128 characters, unique per card.
        card_id: 1 to 128 characters; a card number is already its token.
        amount_minor: 1 to 10^15 minor units of `currency`.
        currency: active ISO 4217 code.
        exponent: decimals of the currency; the amount is `amount_minor / 10**exponent`.
        event_ms: the event's own time, epoch milliseconds.
        type: `authorization` or `reversal`.
        original_transaction_id: what a reversal takes back; None on an authorization.
        card_last4: last digits of the card number, where `card_id` was one.
        dropped_fields: optional fields that were sent but unfit, in the order of the contract's table.
        home_id: the card id as sent, in UTF-8 (of a card number its digits alone), which the home partition is
            computed from. Never log or publish it; `repr` leaves it out.
        old_card_ids: the tokens that the card number had under older keys, newest first; empty for every other card.
    """

    transaction_id: str
    card_id: str
    amount_minor: int
    currency: str
    exponent: int
    event_ms: int
    type: str = AUTHORIZATION
    original_transaction_id: str | None = None
    merchant_id: str | None = None
    merchant_category: str | None = None
    country: str | None = None
    channel: str | None = None
    device_id: str | None = None
    ip_address: str | None = None
    email: str | None = None
    card_last4: str | None = None
    dropped_fields: tuple[str, ...] = ()
    home_id: bytes = b""
    old_card_ids: tuple[str, ...] = ()

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__struct_fields__ if name != "home_id")
        return f"Transaction({shown})"
