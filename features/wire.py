"""A transaction as producers write it: the type that the JSON Schema and the fast decoder are made from."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from features.money import EXPONENTS
from features.times import MAX_EVENT_MS
from features.transaction import AUTHORIZATION, REVERSAL

MAX_BYTES: Final = 256 * 1024
MAX_DEPTH: Final = 100
MAX_ID: Final = 128
MAX_TEXT: Final = 256
REQUIRED: Final = ("transaction_id", "card_id", "amount", "currency", "event_time")
OPTIONAL: Final = ("merchant_id", "merchant_category", "country", "channel", "device_id", "ip_address", "email")

# C0, DEL, C1 and lone surrogates: what an id must not hold.
_UNFIT: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]").search

Id = Annotated[
    str,
    Meta(min_length=1, max_length=MAX_ID, extra_json_schema={"pattern": r"^[^\u0000-\u001f\u007f-\u009f]*$"}),
]
Text = Annotated[str, Meta(max_length=MAX_TEXT)]
# The amount's own text decides: a float in between would lose digits.
Amount = Annotated[
    msgspec.Raw,
    Meta(
        description="cardholder billing amount; 1 to 10^15 minor units of the currency, rounded half-even",
        extra_json_schema={
            "anyOf": [
                {"type": "number", "exclusiveMinimum": 0},
                {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?$"},
            ]
        },
    ),
]
Currency = Annotated[
    str,
    Meta(description="active ISO 4217 code with minor units", extra_json_schema={"enum": sorted(EXPONENTS)}),
]
EventTime = Annotated[
    Annotated[int, Meta(description="epoch milliseconds", extra_json_schema={"minimum": 0, "maximum": MAX_EVENT_MS})]
    | Annotated[
        str,
        Meta(
            description="RFC 3339; no zone is UTC",
            extra_json_schema={
                "pattern": r"^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})?$",
            },
        ),
    ],
    Meta(description="when the transaction happened, 1970 to 9999"),
]
Type = Annotated[str, Meta(extra_json_schema={"enum": [AUTHORIZATION, REVERSAL]})]


class WireTransaction(msgspec.Struct, gc=False):
    """A card transaction, as published to the topic `transactions`."""

    transaction_id: Annotated[Id, Meta(description="unique per card")]
    card_id: Annotated[Id, Meta(description="a token; a card number becomes one when it is decoded")]
    amount: Amount
    currency: Currency
    event_time: EventTime
    # None stands for absent: a null that was sent is a value of the wrong type.
    merchant_id: Text = None  # type: ignore[assignment]
    merchant_category: Annotated[Text, Meta(description="MCC")] = None  # type: ignore[assignment]
    country: Annotated[Text, Meta(description="ISO 3166 alpha-2")] = None  # type: ignore[assignment]
    channel: Text = None  # type: ignore[assignment]
    device_id: Text = None  # type: ignore[assignment]
    ip_address: Text = None  # type: ignore[assignment]
    email: Text = None  # type: ignore[assignment]
    type: Type = AUTHORIZATION
    original_transaction_id: Annotated[Id, Meta(description="what a reversal takes back")] = None  # type: ignore[assignment]


def fit_id(text: str) -> bool:
    """Whether a string can be an id: 1 to 128 code points, no control characters, no lone surrogates."""
    return 0 < len(text) <= MAX_ID and (text.isprintable() or _UNFIT(text) is None)  # printable is the quick yes


def transaction_schema() -> dict[str, Any]:
    """The JSON Schema of a transaction as producers must write it.

    The decoder is more lenient where the contract says so: an unfit optional field is left out, an authorization's
    `original_transaction_id` is not looked at.
    """
    (_,), definitions = msgspec.json.schema_components([WireTransaction])
    body = definitions["WireTransaction"]
    for name in (*OPTIONAL, "original_transaction_id"):
        del body["properties"][name]["default"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **body,
        "title": "Transaction",
        "if": {"properties": {"type": {"const": REVERSAL}}, "required": ["type"]},
        "then": {"required": ["original_transaction_id"]},
    }
