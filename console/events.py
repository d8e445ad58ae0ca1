"""The audit trail: one record of `review_audit` for everything that somebody did."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from features.pan import scrub

Action = Literal["login", "login_refused", "logout", "claim", "release", "take_over", "answer", "undo"]


class ReviewEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Who did what, when; published under the case's id, or the user's name where there is no case."""

    event_id: Annotated[str, Meta(description="unique; an event that comes again counts once", max_length=128)]
    at: Annotated[str, Meta(description="RFC 3339, UTC, milliseconds, Z")]
    actor: Annotated[str, Meta(description="name in the users file", max_length=128)]
    action: Action
    via: Annotated[str, Meta(description="password, proxy or token")] = ""
    address: Annotated[str, Meta(description="where the request came from")] = ""
    card_id: str | UnsetType = UNSET
    transaction_id: str | UnsetType = UNSET
    label: str | UnsetType = UNSET
    label_id: str | UnsetType = UNSET
    note: str | UnsetType = UNSET
    other: Annotated[str, Meta(description="whose claim was taken over, or whose answer was undone")] | UnsetType = (
        UNSET
    )


_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(ReviewEvent)


def encode_event(event: ReviewEvent) -> bytes:
    """The record's value; names and notes without card numbers."""
    note = event.note if event.note is UNSET else scrub(event.note)
    return _ENCODER.encode(msgspec.structs.replace(event, note=note, actor=scrub(event.actor)))


def decode_event(value: bytes) -> ReviewEvent | None:
    """Read one; None where it is none."""
    try:
        return _DECODER.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def event_schema() -> dict[str, Any]:
    """The JSON Schema of an event's value."""
    (_,), definitions = msgspec.json.schema_components([ReviewEvent])
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **definitions["ReviewEvent"]}
