"""Send the records of dead letters again, once what was wrong has been mended.

The record itself is read from its topic, where it still lies as it was sent; a dead letter's payload is scrubbed and
may be cut. What is sent again goes to the partition where it was, with the headers `resent_from` = `partition:offset`
of its dead letter and `resent_source` = `partition:offset` of the refused record. By the latter, and by its value, a
record that was sent again is known the next time: the partition is read from the refused record on.
"""

from __future__ import annotations

import base64
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import msgspec
from confluent_kafka import Message

from sinks.publisher import Headers, Publisher, Record
from streams.headers import headers_of
from streams.intake import REROUTED_FROM, offset_of
from streams.repair.dlq import Letter, Place
from streams.repair.refused import header_of
from streams.repair.topic_reader import Span, TopicReader, reading

RESENT_FROM: Final = "resent_from"
RESENT_SOURCE: Final = "resent_source"
_OURS: Final = frozenset({RESENT_FROM, RESENT_SOURCE, REROUTED_FROM})
_ADDRESS: Final = re.compile(rb"([0-9]{1,10}):([0-9]{1,19})").fullmatch
# A scrubbed card number leaves at least so many stars.
_SCRUBBED: Final = 13

ALREADY: Final = "sent again before"
REPEATED: Final = "of a record that another letter is about too"
GONE: Final = "no longer in its topic, and its payload is cut or scrubbed"
FOREIGN: Final = "of a topic that is not ours"

Show = Callable[[int, int | None], None]


class Outline(msgspec.Struct, frozen=True):
    """What a letter says about its record, without the payload."""

    place: Place
    reason: str
    source: Place
    timestamp_ms: int
    payload: bytes | None
    whole: bool


class Ready(msgspec.Struct):
    """What can be sent to one topic.

    Attributes:
        there: place of a record that the topic still holds -> place of its dead letter.
        payloads: the others, made of their payloads.
    """

    there: dict[Place, Place] = msgspec.field(default_factory=dict)
    payloads: list[Record] = msgspec.field(default_factory=list)


class Plan(msgspec.Struct):
    """What would be sent.

    Attributes:
        ready: topic -> records that can be sent.
        reasons: how many of each reason.
        skipped: why others are not sent, and how many.
    """

    ready: dict[str, Ready] = msgspec.field(default_factory=dict)
    reasons: Counter[str] = msgspec.field(default_factory=Counter)
    skipped: Counter[str] = msgspec.field(default_factory=Counter)

    def count(self) -> int:
        """Records that can be sent."""
        return sum(len(ready.there) + len(ready.payloads) for ready in self.ready.values())


class Resender:
    """Plans and sends.

    Args:
        kafka: librdkafka settings that reach the brokers.
        topics: full names of the topics to which records may be sent again.
    """

    def __init__(self, kafka: Mapping[str, str], topics: tuple[str, ...]) -> None:
        self._kafka, self._topics = kafka, topics

    def plan(self, letters: Iterator[Letter], progress: Show) -> Plan:
        """Find out what can be sent; blocks."""
        plan = Plan()
        by_topic: dict[str, list[Outline]] = defaultdict(list)
        for letter in letters:
            if letter.body.source.topic in self._topics:
                by_topic[letter.body.source.topic].append(_outline(letter))
            else:
                plan.skipped[FOREIGN] += 1
        for topic, outlines in by_topic.items():
            with reading(self._kafka, topic) as reader:
                plan.ready[topic] = _sendable(reader, outlines, plan, progress)
        return plan

    async def send(self, plan: Plan, publisher: Publisher, progress: Show) -> int:
        """Send what the plan holds, every record confirmed; returns how many."""
        sent, total = 0, plan.count()
        publisher.start()
        for topic, ready in plan.ready.items():
            await publisher.publish(ready.payloads)
            sent += len(ready.payloads)
            with reading(self._kafka, topic) as reader:
                reader.begin(_spans(ready.there))
                while not reader.done():
                    messages = await reader.run(reader.take)
                    records = [_record(topic, m, ready.there[p]) for m in messages if (p := _place(m)) in ready.there]
                    await publisher.publish(records)
                    sent += len(records)
                    progress(sent, total)
        return sent


def _sendable(reader: TopicReader, outlines: list[Outline], plan: Plan, progress: Show) -> Ready:
    """Those that were not sent before and can be had."""
    found = _Found(reader, outlines, progress)
    ready = Ready()
    seen: set[Place] = set()
    for outline in outlines:
        if outline.source in seen:
            plan.skipped[REPEATED] += 1
            continue
        seen.add(outline.source)
        if outline.source in found.resent:
            plan.skipped[ALREADY] += 1
            continue
        if outline.source in found.there:
            ready.there[outline.source] = outline.place
        elif outline.whole:
            ready.payloads.append(_of_payload(reader.topic, outline))
        else:
            plan.skipped[GONE] += 1
            continue
        plan.reasons[outline.reason] += 1
    return ready


def _spans(there: Mapping[Place, Place]) -> list[Span]:
    """From the first to the last of these places, in each partition."""
    offsets: dict[int, list[int]] = defaultdict(list)
    for partition, offset in there:
        offsets[partition].append(offset)
    return [Span(partition, min(own), max(own) + 1) for partition, own in offsets.items()]


class _Found:
    """What one pass over the topic tells: which letters' records are there, and which were sent again.

    Args:
        reader: of the topic.
        outlines: letters about its records.
        progress: takes records read and records in all.
    """

    def __init__(self, reader: TopicReader, outlines: list[Outline], progress: Show) -> None:
        self.resent: set[Place] = set()
        self.there: set[Place] = set()
        self._values: dict[Place, int] = {}
        self._wanted = {outline.source: outline.timestamp_ms for outline in outlines}
        spans = [span for p in range(reader.partitions()) if len(span := self._span(reader, p))]
        total, done = sum(len(span) for span in spans), 0
        reader.begin(spans)
        while not reader.done():
            messages = reader.take()
            done += len(messages)
            progress(done, total)
            for message in messages:
                self._look_at(message)

    def _span(self, reader: TopicReader, partition: int) -> Span:
        first = min((offset for p, offset in self._wanted if p == partition), default=None)
        low, high = reader.bounds(partition)
        return Span(partition, high if first is None else max(first, low), high)

    def _look_at(self, message: Message) -> None:
        place, value = _place(message), hash(message.value())
        # Another time: the topic was made anew, and another record has the offset.
        if place in self._wanted and self._wanted[place] == message.timestamp()[1]:
            self.there.add(place)
            self._values[place] = value
        source = _source_of_resent(message)
        # With another value it is no copy of ours: a producer may write any header.
        if source in self._wanted and self._values.get(source, value) == value:
            self.resent.add(source)


def _record(topic: str, message: Message, letter: Place) -> Record:
    """The record as it was sent, on its way again."""
    place = _place(message)
    headers = [*_headers_of(message), *_resent(letter, place)]
    return Record(topic, message.key(), message.value(), headers, place[0])


def _of_payload(topic: str, outline: Outline) -> Record:
    return Record(topic, None, outline.payload, _resent(outline.place, outline.source), outline.source[0])


def _resent(letter: Place, source: Place) -> Headers:
    return [(RESENT_FROM, b"%d:%d" % letter), (RESENT_SOURCE, b"%d:%d" % source)]


def _place(message: Message) -> Place:
    return message.partition() or 0, offset_of(message)


def _headers_of(message: Message) -> Headers:
    """The record's own headers; it arrives anew, so where it was before does not count."""
    return [(name, value) for name, value in headers_of(message) or () if name not in _OURS]


def _outline(letter: Letter) -> Outline:
    body, payload = letter.body, _payload(letter)
    whole = not body.truncated and (payload or b"").count(b"*") < _SCRUBBED
    source = (body.source.partition, body.source.offset)
    return Outline(letter.place, body.reason, source, body.source.timestamp, payload if whole else None, whole)


def _payload(letter: Letter) -> bytes | None:
    body = letter.body
    if body.payload is None:
        return None
    return base64.b64decode(body.payload) if body.encoding == "base64" else body.payload.encode()


def _source_of_resent(message: Message) -> Place | None:
    match = _ADDRESS(header_of(message, RESENT_SOURCE) or b"")
    return None if match is None else (int(match[1]), int(match[2]))
