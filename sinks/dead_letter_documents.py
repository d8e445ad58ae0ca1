"""What OpenSearch keeps of a dead letter: nothing of the record itself."""

from __future__ import annotations

from typing import Any, Final, get_args

import msgspec

from features.times import format_rfc3339
from sinks.deadletter import Reason, Source
from sinks.documents import Document, day_of
from sinks.side_indices import DEAD_LETTERS_ALIAS

UNREADABLE: Final = "unreadable"
"""Reason of what stands among the dead letters and is none."""

_REASONS: Final = frozenset(get_args(Reason))
_MAX_TOPIC: Final = 249  # Kafka's own limit


class _Letter(msgspec.Struct):
    reason: str
    source: Source


def dead_letter_document(
    value: bytes | None, *, place: tuple[int, int], written_ms: int, index_prefix: str
) -> Document:
    """Make the document of a dead letter; its `_id` is its place in the topic.

    Args:
        value: the dead letter, as in the topic.
        place: its partition and offset there.
        written_ms: its broker timestamp, epoch milliseconds.
        index_prefix: put before the index name.
    """
    where = "{}:{}".format(*place)
    fields: dict[str, Any] = {"at": format_rfc3339(max(written_ms, 0)), "place": where, "reason": UNREADABLE}
    letter = _read(value)
    if letter is not None:
        source = letter.source
        fields["reason"] = letter.reason
        fields["source"] = {"topic": source.topic, "partition": source.partition, "offset": source.offset}
        if source.timestamp >= 0:
            fields["source"]["at"] = format_rfc3339(source.timestamp)
    return Document(
        f"{index_prefix}{DEAD_LETTERS_ALIAS}-{day_of(max(written_ms, 0))}", where, msgspec.json.encode(fields)
    )


def _read(value: bytes | None) -> _Letter | None:
    try:
        letter = msgspec.json.decode(value or b"", type=_Letter)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return letter if letter.reason in _REASONS and len(letter.source.topic) <= _MAX_TOPIC else None
