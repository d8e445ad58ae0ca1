"""Delivery to the agent, and the turn that a batch waits for before its first effect."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from features.errors import BatchRevoked
from streams import delivery
from streams import poller as poller_module
from streams.delivery import BatchConsumer
from streams.poller import Poller
from streams.role import Chunk, Turn
from streams.turns import Again, InHand


class Queue(list[Any]):
    """As much of Faust's queue as delivery uses."""

    force_put_nowait = list.append


class Asked:
    """What of the poll thread is used here."""

    def __init__(self) -> None:
        self.wanted: list[int] = []
        self.from_s = -1.0
        self.offsets: list[dict[int, int]] = []

    def want(self, records: int, from_s: float) -> None:
        self.wanted.append(records)
        self.from_s = from_s

    def done(self, offsets: dict[int, int]) -> None:
        self.offsets.append(offsets)


class Record:
    """A record at an offset."""

    def __init__(self, offset: int) -> None:
        self._offset = offset

    def __len__(self) -> int:
        return 1

    def offset(self) -> int:
        return self._offset

    def partition(self) -> int:
        return 0

    def error(self) -> None:
        return None


def a_consumer(index: dict[TP, Any], failures: list[BaseException]) -> BatchConsumer:
    """A consumer with as much of Faust around it as delivery to the agent needs."""
    kind = type("Consumer", (BatchConsumer,), {"failed_hook": staticmethod(failures.append)})
    consumer = kind.__new__(kind)
    consumer._generation = 3
    consumer._poller, consumer._wanted = Asked(), 500
    consumer._is_quiet, consumer._taken_s = True, 0.0
    consumer.app = SimpleNamespace(topics=SimpleNamespace(_tp_index=index))
    return consumer


def taking(loop: asyncio.AbstractEventLoop) -> BatchConsumer:
    """A consumer that batches can be taken from and given back to."""
    consumer = a_consumer({}, [])
    consumer.topic, consumer.loop = "t", loop
    consumer.app.monitor = SimpleNamespace(stream_inbound_time={})
    consumer._in_hand, consumer._again, consumer._unacked_messages = InHand(), Again(), set()
    consumer._committed_offset, consumer._waiting_for_ack = {}, None
    consumer._draining = consumer._abandoned = False
    consumer._should_stop = lambda: True
    return consumer


async def take(consumer: BatchConsumer, offset: int, weight: int = 1, most: int = 500) -> tuple[list[Chunk], Turn]:
    queue: asyncio.Queue[Any] = asyncio.Queue()
    queue.put_nowait((consumer._generation, Chunk("t", 0, [Record(offset)], weight)))
    return await consumer.next_batch(SimpleNamespace(channel=queue), most)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_a_batch_has_its_turn_once_the_offsets_of_the_one_before_are_committed() -> None:
    async def work() -> None:
        consumer = taking(asyncio.get_running_loop())
        first, at_once = await take(consumer, 7)
        await at_once()  # nothing is before it
        _, second_turn = await take(consumer, 8)
        second = asyncio.ensure_future(second_turn())
        await settle()
        assert not second.done(), "the one before is not published"
        consumer.done(first)
        assert consumer._poller.offsets == [{0: 8}]
        await settle()
        assert not second.done(), "its offsets are not committed"
        consumer.on_settled()
        _, third_turn = await take(consumer, 9)  # taken ahead
        await settle()
        assert second.done()
        second.result()
        third = asyncio.ensure_future(third_turn())
        await settle()
        assert not third.done(), "the second is in hand"
        assert not consumer._in_hand.idle.is_set()

    asyncio.run(work())


def test_batches_whose_partitions_go_before_their_turn_are_dropped() -> None:
    async def work() -> None:
        consumer = taking(asyncio.get_running_loop())
        first, _ = await take(consumer, 7)
        later = [(await take(consumer, offset))[1] for offset in (8, 9)]
        turns = [asyncio.ensure_future(turn()) for turn in later]
        await settle()
        consumer._abandoned = True  # there is no app that could end the assignment
        consumer.on_revoked(frozenset({0}), lost=False)
        await settle()
        for turn in turns:
            with pytest.raises(BatchRevoked):
                turn.result()
            consumer.dropped()
        assert len(consumer._unacked_messages) == 1, "the first is still in hand"
        consumer.done(first)
        assert consumer._in_hand.idle.is_set()
        assert not consumer._unacked_messages

    asyncio.run(work())


def test_while_there_is_little_the_next_is_asked_for_when_this_one_is_done_and_at_a_pace() -> None:
    async def work() -> None:
        consumer = taking(asyncio.get_running_loop())
        began_s = time.monotonic()
        chunks, _ = await take(consumer, 7)
        following = asyncio.ensure_future(consumer.next_batch(SimpleNamespace(channel=asyncio.Queue()), 500))
        await settle()
        assert consumer._poller.wanted == [], "what is taken now would wait for its turn"
        consumer.done(chunks)
        await settle()
        assert consumer._poller.wanted == [500]
        assert began_s + delivery._PACE_S <= consumer._poller.from_s <= time.monotonic() + delivery._PACE_S
        following.cancel()

    asyncio.run(work())


@pytest.mark.parametrize(("weight", "most"), [(delivery._FEW, 500), (20, 20)])
def test_while_there_is_much_the_next_is_asked_for_at_once(weight: int, most: int) -> None:
    async def work() -> None:
        consumer = taking(asyncio.get_running_loop())
        await take(consumer, 7, weight, most)
        following = asyncio.ensure_future(consumer.next_batch(SimpleNamespace(channel=asyncio.Queue()), 500))
        await settle()
        assert (consumer._poller.wanted, consumer._poller.from_s) == ([500], 0.0)
        following.cancel()

    asyncio.run(work())


def chunk(first: int, last: int, partition: int = 0) -> Chunk:
    return Chunk("t", partition, [Record(first), Record(last)])


def test_what_comes_again_is_acknowledged_when_all_of_it_is_done() -> None:
    again = Again()
    again.begin({0: 10, 1: 3})
    assert again.acknowledged([chunk(3, 6), chunk(0, 3, 1)]) == {0: 3, 1: 4}
    assert again.acknowledged([chunk(7, 9), chunk(4, 5, 1)]) == {0: 3, 1: 6}
    assert again.acknowledged([chunk(10, 10), chunk(11, 15)]) == {0: 16}
    again.begin({})
    assert again.acknowledged([chunk(16, 17)]) == {0: 18}


def test_offsets_that_somebody_set_back_are_acknowledged_as_they_come() -> None:
    again = Again()
    again.begin({0: 1_000_000})
    assert again.acknowledged([chunk(3, 6)]) == {0: 7}
    again.begin({0: 100_003})
    assert again.acknowledged([chunk(3, 6)]) == {0: 3}


class Fetched:
    """As much of librdkafka's consumer as handing records over needs: some records are there."""

    def __init__(self, *offsets: int) -> None:
        self.records = [Record(offset) for offset in offsets]

    def poll(self, _wait_s: float) -> Record | None:
        return self.records.pop(0) if self.records else None

    def consume(self, records: int, _wait_s: float) -> list[Record]:
        some, self.records = self.records[:records], self.records[records:]
        return some


def test_records_are_handed_over_at_the_moment_they_are_wanted_from(monkeypatch: pytest.MonkeyPatch) -> None:
    got: list[list[Chunk]] = []
    poller = Poller({"group.id": "g"}, "t", SimpleNamespace(on_chunks=got.append))
    poller._consumer = Fetched(1, 2, 3)
    now_s = 100.0
    monkeypatch.setattr(poller_module, "monotonic", lambda: now_s)
    poller.want(2, 100.005)
    poller._step()
    assert (got, len(poller._consumer.records)) == ([], 3)
    poller._committing = True  # its answer is polled for, and a record may come with it
    poller._step()
    assert (got, len(poller._consumer.records)) == ([], 2)
    now_s = 100.006
    poller._step()
    assert [[record.offset() for record in chunk.records] for chunk in got[0]] == [[1, 2]]


def test_records_reach_the_channel_with_their_assignment() -> None:
    queue, failures = Queue(), []
    chunk = Chunk("t", 1, [])
    a_consumer({TP("t", 1): [SimpleNamespace(queue=queue)]}, failures)._deliver(3, [chunk])
    assert queue == [(3, chunk)]
    assert not failures


def test_records_without_a_channel_end_the_process() -> None:
    failures: list[BaseException] = []
    a_consumer({}, failures)._deliver(3, [Chunk("t", 1, [])])
    assert "partition 1" in str(failures[0])


def test_records_of_an_ended_assignment_are_dropped_and_others_asked_for() -> None:
    queue, failures = Queue(), []
    consumer = a_consumer({TP("t", 1): [SimpleNamespace(queue=queue)]}, failures)
    consumer._deliver(2, [Chunk("t", 1, [])])
    assert (queue, failures) == ([], [])
    assert consumer._poller.wanted == [500]
