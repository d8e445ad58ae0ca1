"""Records that Faust has no channel for must end the process: passed over, later ones would acknowledge them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from faust.types import TP

from streams.delivery import BatchConsumer
from streams.role import Chunk


class Queue(list[Any]):
    """As much of Faust's queue as delivery uses."""

    force_put_nowait = list.append


def a_consumer(index: dict[TP, Any], failures: list[BaseException]) -> BatchConsumer:
    """A consumer with as much of Faust around it as delivery to the agent needs."""
    kind = type("Consumer", (BatchConsumer,), {"failed_hook": staticmethod(failures.append)})
    consumer = kind.__new__(kind)
    consumer._generation = 3
    consumer.app = SimpleNamespace(topics=SimpleNamespace(_tp_index=index))
    return consumer


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


def test_records_of_an_ended_assignment_are_dropped() -> None:
    queue, failures = Queue(), []
    a_consumer({TP("t", 1): [SimpleNamespace(queue=queue)]}, failures)._deliver(2, [Chunk("t", 1, [])])
    assert (queue, failures) == ([], [])
