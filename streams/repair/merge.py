"""The records of several partitions in the order of their times, in bounded memory."""

from __future__ import annotations

import heapq
from collections import deque
from typing import Final

from confluent_kafka import Message

from streams.intake import offset_of
from streams.repair.topic_reader import BATCH, Span, TopicReader

_BUFFERED: Final = 20_000
_LEAST_BUFFERED: Final = 200


class Merge:
    """Reads ranges of several partitions; each partition's records keep their order, whatever their times say.

    Args:
        reader: of the topic; this takes it over.
        spans: what to read, at most one range of a partition.
    """

    def __init__(self, reader: TopicReader, spans: list[Span]) -> None:
        self._reader = reader
        self._queues: dict[int, deque[tuple[int, int, Message]]] = {
            span.partition: deque() for span in spans if len(span)
        }
        self._latest = dict.fromkeys(self._queues, -1)
        self._heads: list[tuple[int, int]] = []
        self._paused: set[int] = set()
        self._most = max(_LEAST_BUFFERED, _BUFFERED // max(len(self._queues), 1))
        reader.begin(spans)

    def batch(self) -> list[Message]:
        """The next records, at most `BATCH`; none when everything has been read. Blocks."""
        batch: list[Message] = []
        while len(batch) < BATCH:
            if any(not self._queues[partition] for partition in self._reader.left()):
                self._fill()
            elif self._heads:
                batch.append(self._pop())
            else:
                break
        return batch

    def _fill(self) -> None:
        for partition in list(self._paused):
            if len(self._queues[partition]) < self._most // 2:
                self._paused.remove(partition)
                self._reader.resume(partition)
        for message in self._reader.take():
            partition = message.partition() or 0
            queue = self._queues[partition]
            # A broker's clock may step back; the order within a partition stands.
            self._latest[partition] = time_ms = max(self._latest[partition], message.timestamp()[1])
            queue.append((time_ms, offset_of(message), message))
            if len(queue) == 1:
                heapq.heappush(self._heads, (time_ms, partition))
        unread = set(self._reader.left())
        for partition, queue in self._queues.items():
            if len(queue) > self._most and partition in unread and partition not in self._paused:
                self._paused.add(partition)
                self._reader.pause(partition)

    def _pop(self) -> Message:
        _, partition = heapq.heappop(self._heads)
        queue = self._queues[partition]
        _, _, message = queue.popleft()
        if queue:
            heapq.heappush(self._heads, (queue[0][0], partition))
        return message
