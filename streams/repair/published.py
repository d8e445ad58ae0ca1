"""The outcomes that were published for a range of records, handed over in the order of the records."""

from __future__ import annotations

from collections import defaultdict

import msgspec
import numpy as np

from streams.repair.comparison import Body, lasting_digest, versions
from streams.repair.topic_reader import Span, TopicReader


class _Source(msgspec.Struct):
    topic: str
    partition: int
    offset: int


class _Fraud(msgspec.Struct):
    source: _Source


class _Where(msgspec.Struct):
    fraud: _Fraud


class Published:
    """Outcomes of one partition.

    First answers come in the order of their records; an answer that comes again may come any time later. So a window of
    first answers is held, and of every later one two hashes, 16 bytes a record of the range.

    Args:
        reader: of the topic of the outcomes.
        topic: full name of the transactions.
        span: the records that are asked about.
        outcomes: where in the topic of the outcomes their answers may lie.
    """

    def __init__(self, reader: TopicReader, topic: str, span: Span, outcomes: Span) -> None:
        self._reader, self._topic, self._span = reader, topic, span
        self._waiting: dict[int, list[Body]] = defaultdict(list)
        self._furthest = span.start - 1
        self._digests = np.zeros(len(span), np.uint64)
        self._versions = np.zeros(len(span), np.uint64)
        self.repeated = 0
        self.repeated_otherwise: list[int] = []
        reader.begin([outcomes])

    async def answer(self, offset: int) -> Body | None:
        """The first answer to the record at an offset; None where there is none before those to later records."""
        while offset not in self._waiting and self._furthest < offset and not self._reader.done():
            await self._read()
        if (answers := self._waiting.pop(offset, None)) is None:
            return None
        first, *again = answers
        place = offset - self._span.start
        self._digests[place], self._versions[place] = lasting_digest(first), _hash(first)
        for body in again:
            self._compare_again(offset, body)
        return first

    async def rest(self) -> dict[int, list[Body]]:
        """Read to the end of the topic; what is left over was answered out of turn, by offset."""
        while not self._reader.done():
            await self._read()
            self._settle()
        self._settle()
        return self._waiting

    async def _read(self) -> None:
        for message in await self._reader.run(self._reader.take):
            raw = message.value() or b""
            try:
                source = msgspec.json.decode(raw, type=_Where).fraud.source
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue  # no outcome: the index role says so in the dead letters
            if source.topic == self._topic and source.partition == self._span.partition:
                self._furthest = max(self._furthest, source.offset)
                if self._span.start <= source.offset < self._span.end:
                    self._waiting[source.offset].append(msgspec.json.decode(raw))

    def _settle(self) -> None:
        """Compare what repeats an answer that was taken already."""
        for offset in [o for o in self._waiting if self._digests[o - self._span.start]]:
            for body in self._waiting.pop(offset):
                self._compare_again(offset, body)

    def _compare_again(self, offset: int, body: Body) -> None:
        self.repeated += 1
        place = offset - self._span.start
        same_versions = self._versions[place] == np.uint64(_hash(body))
        if same_versions and self._digests[place] != np.uint64(lasting_digest(body)):
            self.repeated_otherwise.append(offset)


def _hash(body: Body) -> int:
    return hash(versions(body)) & (2**64 - 1)
