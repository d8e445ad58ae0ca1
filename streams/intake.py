"""From a batch of Kafka records to decoded transactions, dead letters and records that belong to another partition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from confluent_kafka import Message

from features.decode import Decoder
from features.errors import DecodeError
from features.partition import home_partition
from features.transaction import Transaction
from sinks.deadletter import dead_letter
from sinks.publisher import Record
from streams.headers import headers_of
from streams.role import Chunk

REROUTED_FROM: Final = "rerouted_from"
_MAX_HEADER_BYTES: Final = 64
MAX_KEY_BYTES: Final = 262_144


class Incoming(msgspec.Struct, frozen=True, gc=False):
    """A transaction in its home partition.

    Attributes:
        transaction: as decoded.
        partition: its home.
        offset: there.
        broker_ms: the record's timestamp; of a rerouted record the original's, never later than its own.
    """

    transaction: Transaction
    partition: int
    offset: int
    broker_ms: int


class Reach(msgspec.Struct, frozen=True):
    """Offsets of a batch in one partition.

    Attributes:
        first: of its first record; of a part of a batch, of the whole batch's.
        last: of its last record.
    """

    first: int
    last: int


class Intake(msgspec.Struct, frozen=True):
    """What a batch of records became."""

    incoming: list[Incoming]
    dead: dict[str, int]
    rerouted: int
    records: list[Record]


class Reader:
    """Decodes records and finds their home.

    Args:
        decoder: knows the card-number key.
        topic: the topic read, to which strays are published again.
        dead_letters: topic of the dead letters.
        partitions: of the topic.
    """

    def __init__(self, decoder: Decoder, *, topic: str, dead_letters: str, partitions: int) -> None:
        self._decoder = decoder
        self._topic = topic
        self._dead_letters = dead_letters
        self._partitions = partitions

    def read(self, chunks: Sequence[Chunk]) -> Intake:
        """Sort the records of a batch into what is scored here and what is published elsewhere."""
        incoming: list[Incoming] = []
        dead: dict[str, int] = {}
        elsewhere: list[Record] = []
        rerouted = 0
        for chunk in chunks:
            for message in chunk.records:
                try:
                    transaction = self._decode(message)
                except DecodeError as exc:
                    dead[exc.reason] = dead.get(exc.reason, 0) + 1
                    elsewhere.append(self.dead(message, chunk.partition, exc))
                    continue
                home = home_partition(transaction.home_id, self._partitions)
                if home == chunk.partition:
                    incoming.append(Incoming(transaction, home, offset_of(message), _broker_ms(message, transaction)))
                else:
                    rerouted += 1
                    elsewhere.append(self._stray(message, chunk.partition, home))
        return Intake(incoming, dead, rerouted, elsewhere)

    def decoded(self, message: Message) -> Incoming:
        """A record as its home takes it, wherever it lies; raises DecodeError."""
        transaction = self._decode(message)
        home = home_partition(transaction.home_id, self._partitions)
        return Incoming(transaction, home, offset_of(message), _broker_ms(message, transaction))

    def _decode(self, message: Message) -> Transaction:
        key = message.key()
        if key is not None and len(key) > MAX_KEY_BYTES:
            # It could not be published again, here or anywhere, within the topic's message size.
            raise DecodeError("too_large", f"the record's key is over {MAX_KEY_BYTES} bytes")
        return self._decoder.decode(message.value())

    def dead(self, message: Message, partition: int, error: DecodeError) -> Record:
        """The dead letter of a record."""
        value = dead_letter(
            error.reason,
            error.detail,
            topic=self._topic,
            partition=partition,
            offset=offset_of(message),
            timestamp_ms=message.timestamp()[1],
            key=message.key(),
            value=message.value(),
        )
        # The record's own key may be a card number: a dead letter has none.
        return Record(self._dead_letters, None, value, [("reason", error.reason.encode())])

    def _stray(self, message: Message, partition: int, home: int) -> Record:
        """The record again, addressed to its home; a record that strays twice keeps its first address."""
        origin, timestamp_ms = rerouted_from(message), message.timestamp()[1]
        if origin is not None and origin[1] <= timestamp_ms:
            came_from = origin[0]
        else:
            came_from = f"{partition}:{offset_of(message)}:{timestamp_ms}".encode()
        return Record(self._topic, message.key(), message.value(), [(REROUTED_FROM, came_from)], home)


def offset_of(message: Message) -> int:
    """A delivered record's offset; librdkafka's types allow for records that were never delivered."""
    offset = message.offset()
    assert offset is not None
    return offset


def reach_of(messages: Sequence[Message]) -> Reach:
    """Of records of one partition, by themselves a batch."""
    return Reach(offset_of(messages[0]), offset_of(messages[-1]))


def reaches_of(chunks: Sequence[Chunk]) -> dict[int, Reach]:
    """By partition, of a batch."""
    reaches: dict[int, Reach] = {}
    for chunk in chunks:
        own = reach_of(chunk.records)
        before = reaches.get(chunk.partition, own)
        reaches[chunk.partition] = Reach(before.first, own.last)
    return reaches


def _broker_ms(message: Message, transaction: Transaction) -> int:
    kind, timestamp_ms = message.timestamp()
    if kind == 0 or timestamp_ms < 0:
        return transaction.event_ms  # a broker without timestamps: nothing to hold the event's time against
    origin = rerouted_from(message)
    return timestamp_ms if origin is None else min(timestamp_ms, origin[1])


def rerouted_from(message: Message) -> tuple[bytes, int] | None:
    """The header and the original timestamp in it; None where there is none that we could have written."""
    for name, value in headers_of(message) or ():
        if name != REROUTED_FROM or not isinstance(value, bytes) or len(value) > _MAX_HEADER_BYTES:
            continue
        parts = value.split(b":")
        if len(parts) == 3 and all(part.isdigit() for part in parts):
            return value, int(parts[2])
    return None
