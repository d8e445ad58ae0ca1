"""Which records were refused when they came, though their bytes alone would not say so today."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

import msgspec
from confluent_kafka import Message

from sinks.deadletter import Source
from streams.headers import headers_of
from streams.repair.topic_reader import Span, TopicReader, reading

HEADER: Final = "reason"
# What else is refused is refused again: those reasons depend on the record's bytes alone.
_BY_CIRCUMSTANCE: Final = frozenset({b"poison", b"pan_without_key"})

Refused = dict[int, set[int]]
"""Partition of the transactions -> offsets."""


class _Letter(msgspec.Struct):
    source: Source


def refused_since(kafka: Mapping[str, str], dead_letters: str, topic: str, since_ms: int) -> Refused:
    """Offsets of a topic's records that were dead-lettered for a reason outside of them; blocks.

    A record that was refused because `FRAUD_PAN_KEY` was missing must not enter the windows when histories are rebuilt
    with the key set: it was never scored. Sent again, it counts where it lies then.

    Args:
        kafka: librdkafka settings that reach the brokers.
        dead_letters: full name of the topic of the dead letters.
        topic: full name of the topic whose records are meant.
        since_ms: dead letters older than this are not looked at, epoch milliseconds.
    """
    found: Refused = {}
    with reading(kafka, dead_letters) as reader:
        reader.begin(_spans(reader, since_ms))
        while not reader.done():
            for message in reader.take():
                if header_of(message, HEADER) not in _BY_CIRCUMSTANCE:
                    continue
                source = _source(message)
                if source is not None and source.topic == topic:
                    found.setdefault(source.partition, set()).add(source.offset)
    return found


def is_refused(refused: Mapping[int, Collection[int]], partition: int, offset: int) -> bool:
    """Whether the record at this place was refused."""
    return offset in refused.get(partition, ())


def _spans(reader: TopicReader, since_ms: int) -> list[Span]:
    partitions = range(reader.partitions())
    return [Span(p, reader.offset_at(p, since_ms), reader.bounds(p)[1]) for p in partitions]


def _source(message: Message) -> Source | None:
    try:
        return msgspec.json.decode(message.value() or b"", type=_Letter).source
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None  # somebody else wrote into the topic


def header_of(message: Message, name: str) -> bytes | None:
    """A header's value as bytes; None where there is none that can be read."""
    value = next((value for named, value in headers_of(message) or () if named == name), None)
    return value if isinstance(value, bytes) else None
