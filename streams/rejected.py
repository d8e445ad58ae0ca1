"""Records that a role cannot use: each becomes a dead letter, confirmed before the role goes on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import msgspec
from confluent_kafka import Message

from sinks.deadletter import dead_letter
from sinks.publisher import Publisher, Record
from streams.intake import offset_of


class Rejected(msgspec.Struct, frozen=True):
    """A record that cannot become a document, and why.

    Attributes:
        record: as it came from the topic.
        reason: code of the contract's dead letters; `poison` where OpenSearch refused the document.
        detail: one sentence for people, free of field values.
    """

    record: Message
    reason: str
    detail: str


OnRejected = Callable[[Sequence[Rejected]], Awaitable[None]]


def dead_letter_box(publisher: Publisher, topic: str) -> OnRejected:
    """What makes rejected records durable; the publisher connects when the first one comes.

    Args:
        publisher: not started yet, or started.
        topic: of the dead letters, its full name.
    """

    async def on_rejected(items: Sequence[Rejected]) -> None:
        publisher.start()
        await publisher.publish([_letter(topic, item) for item in items])

    return on_rejected


def _letter(topic: str, item: Rejected) -> Record:
    record = item.record
    value = dead_letter(
        item.reason,
        item.detail,
        topic=record.topic() or "",
        partition=record.partition() or 0,
        offset=offset_of(record),
        timestamp_ms=record.timestamp()[1],
        key=record.key(),
        value=record.value(),
    )
    return Record(topic, None, value, [("reason", item.reason.encode())])
