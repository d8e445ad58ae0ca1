"""Look through the dead letters."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping

import msgspec
from confluent_kafka import Message

from features.errors import ConfigError
from sinks.deadletter import DeadLetter
from streams.intake import offset_of
from streams.repair.topic_reader import Span, TopicReader, reading

Show = Callable[[int, int | None], None]
Place = tuple[int, int]
"""Partition and offset."""


class Letter(msgspec.Struct, frozen=True):
    """A dead letter and where it lies.

    Attributes:
        place: in the topic of the dead letters.
        time_ms: when it was written, epoch milliseconds.
        body: what it says.
    """

    place: Place
    time_ms: int
    body: DeadLetter


class Wanted(msgspec.Struct, frozen=True):
    """Which letters are meant: all conditions hold, and an empty one always does.

    Attributes:
        reasons: one of these.
        since_ms: written no earlier.
        partitions: of the record that was refused.
        places: of the letter itself.
        source: place of the record that was refused.
    """

    reasons: Collection[str] = ()
    since_ms: int = 0
    partitions: Collection[int] = ()
    places: Collection[Place] = ()
    source: Place | None = None

    def meets(self, letter: Letter) -> bool:
        """Whether a letter is meant."""
        source = letter.body.source
        return (
            (not self.reasons or letter.body.reason in self.reasons)
            and letter.time_ms >= self.since_ms
            and (not self.partitions or source.partition in self.partitions)
            and (not self.places or letter.place in self.places)
            and (self.source is None or self.source == (source.partition, source.offset))
        )


class Listing(msgspec.Struct):
    """What is there: how many of each reason, the newest ones, and records that are no dead letters."""

    counts: Counter[str] = msgspec.field(default_factory=Counter)
    newest: list[Letter] = msgspec.field(default_factory=list)
    unreadable: int = 0


class DeadLetters:
    """Reads the topic of the dead letters. Every method blocks.

    Args:
        kafka: librdkafka settings that reach the brokers.
        topic: full name.
    """

    def __init__(self, kafka: Mapping[str, str], topic: str) -> None:
        self._kafka, self._topic = kafka, topic

    def listing(self, wanted: Wanted, newest: int, progress: Show) -> Listing:
        """Count the letters that are meant, and keep the newest of them, newest first."""
        found = Listing()
        heap: list[tuple[int, Place, Letter]] = []
        for letter in self.letters(wanted, progress, found):
            found.counts[letter.body.reason] += 1
            heapq.heappush(heap, (letter.time_ms, letter.place, letter))
            if len(heap) > newest:
                heapq.heappop(heap)
        found.newest = [letter for _, _, letter in sorted(heap, reverse=True)]
        return found

    def letters(self, wanted: Wanted, progress: Show, listing: Listing | None = None) -> Iterator[Letter]:
        """The letters that are meant, in order per partition."""
        with reading(self._kafka, self._topic) as reader:
            spans = self._spans(reader, wanted)
            total, done = sum(len(span) for span in spans), 0
            reader.begin(spans)
            while not reader.done():
                messages = reader.take()
                done += len(messages)
                progress(done, total)
                for message in messages:
                    letter = _letter(message)
                    if letter is None and listing is not None:
                        listing.unreadable += 1
                    elif letter is not None and wanted.meets(letter):
                        yield letter

    def _spans(self, reader: TopicReader, wanted: Wanted) -> list[Span]:
        count = reader.partitions()
        if places := sorted(wanted.places):
            if places[-1][0] >= count:
                raise ConfigError(f"{places[-1][0]}:{places[-1][1]}: {self._topic} has {count} partitions")
            by_partition = {p: [o for q, o in places if q == p] for p, _ in places}
            return [
                Span(p, max(offsets[0], reader.bounds(p)[0]), min(offsets[-1] + 1, reader.bounds(p)[1]))
                for p, offsets in by_partition.items()
            ]
        return [Span(p, reader.offset_at(p, wanted.since_ms), reader.bounds(p)[1]) for p in range(count)]


def place_of(text: str) -> Place:
    """A place written `partition:offset`; raises ConfigError.

    >>> place_of("2:1045")
    (2, 1045)
    """
    partition, _, offset = text.partition(":")
    if not (partition.isdecimal() and offset.isdecimal()):
        raise ConfigError(f"{text}: a place is written partition:offset, such as 2:1045")
    return int(partition), int(offset)


def _letter(message: Message) -> Letter | None:
    try:
        body = msgspec.json.decode(message.value() or b"", type=DeadLetter)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return Letter((message.partition() or 0, offset_of(message)), message.timestamp()[1], body)
