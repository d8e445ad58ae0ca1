"""Records that were sent on: the copy counts, wherever it was sent on once more, and nobody can forge one."""

from __future__ import annotations

from typing import Any, cast

import pytest
from confluent_kafka import Message

from streams.repair.copies import Copies
from streams.repair.merge import Merge
from streams.repair.topic_reader import Span, TopicReader


def record(partition: int, offset: int, value: bytes = b"v", origin: bytes | None = None, time_ms: int = 1) -> Message:
    headers = [] if origin is None else [("rerouted_from", origin)]
    return Message(topic="t", partition=partition, offset=offset, value=value, headers=headers, timestamp=(2, time_ms))


def gathered(*messages: Message) -> Copies:
    copies = Copies()
    for message in messages:
        copies.gather(message)
    copies.close()
    return copies


def test_of_a_record_and_its_copy_the_copy_counts() -> None:
    original, copy = record(0, 7), record(3, 2, origin=b"0:7:1000")
    copies = gathered(original, copy)
    assert copies.sent_on(original, 3)
    assert not copies.sent_on(copy, 3)
    assert not copies.sent_on(record(0, 8), 0)


def test_a_copy_that_lies_where_its_home_was_counts_there_until_it_is_sent_on() -> None:
    original, first = record(0, 7), record(1, 2, origin=b"0:7:1000")
    assert not gathered(original, first).sent_on(first, 4), "scored in partition 1, which was its home then"
    second = record(4, 9, origin=b"0:7:1000")
    copies = gathered(original, first, second)
    assert copies.sent_on(original, 4)
    assert copies.sent_on(first, 4)
    assert not copies.sent_on(second, 4)


@pytest.mark.parametrize("origin", [b"0:07:1000", b"00:7:1000", b"0:7:0"])
def test_however_the_numbers_are_spelt_they_are_one_address(origin: bytes) -> None:
    assert gathered(record(3, 2, origin=origin)).sent_on(record(0, 7), 3)


def test_a_header_without_the_value_hides_nothing() -> None:
    forged = record(3, 2, value=b"another", origin=b"0:7:1000")
    assert not gathered(forged).sent_on(record(0, 7), 3)
    assert not Copies().sent_on(record(0, 7), 3)


class Tape:
    """Hands over records as a reader does: in any interleaving, each partition's in order; pauses are obeyed."""

    def __init__(self, records: dict[int, list[Message]], at_once: int) -> None:
        self._records, self._at_once = records, at_once
        self.paused: set[int] = set()

    def begin(self, spans: list[Span]) -> None:
        assert {span.partition for span in spans} == self._records.keys()

    def left(self) -> list[int]:
        return [partition for partition, records in self._records.items() if records]

    def take(self) -> list[Message]:
        partition = next(p for p in reversed(self.left()) if p not in self.paused)
        records = self._records[partition]
        taken, self._records[partition] = records[: self._at_once], records[self._at_once :]
        return taken

    def pause(self, partition: int) -> None:
        self.paused.add(partition)

    def resume(self, partition: int) -> None:
        self.paused.discard(partition)


@pytest.mark.parametrize("at_once", [1, 7, 2000])
def test_records_come_in_order_of_time_and_keep_their_partitions_order(at_once: int) -> None:
    times = {0: range(0, 30_000, 3), 1: [5, 4, 100, 90_000], 2: range(1, 30_000, 5)}
    records = {p: [record(p, o, time_ms=t) for o, t in enumerate(own)] for p, own in times.items()}
    tape = Tape(dict(records), at_once)
    merge = Merge(cast("TopicReader", cast("Any", tape)), [Span(p, 0, len(own)) for p, own in times.items()])
    found: list[Message] = []
    while batch := merge.batch():
        found += batch
    for partition, own in records.items():
        assert [m.offset() for m in found if m.partition() == partition] == list(range(len(own)))
    assert len(found) == sum(map(len, times.values()))
    seen = [m.timestamp()[1] for m in found if m.offset() != 1 or m.partition() != 1]
    assert seen == sorted(seen)
