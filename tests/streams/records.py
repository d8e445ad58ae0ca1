"""Records of any kind, sent to exact places and read back as raw bytes, for tests that look at roles from outside."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, Message, Producer

from features.partition import home_partition
from tests.streams.pipeline import Pipeline
from tests.support import wait_until
from tests.topics import committed_of, ends_of, read_messages, reader

Place = tuple[int, int]
"""Partition and offset."""

Header = tuple[str, bytes | None]


class Sent(NamedTuple):
    """A record to publish."""

    value: bytes | None
    partition: int
    key: bytes | None = None
    headers: tuple[Header, ...] = ()


class Raw(NamedTuple):
    """A record as it lies in a topic."""

    place: Place
    key: bytes | None
    value: bytes | None
    headers: list[Header]
    timestamp_ms: int

    def json(self) -> Any:
        assert self.value is not None
        return json.loads(self.value)

    def header(self, name: str) -> bytes | None:
        return dict(self.headers).get(name)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def fields(**changed: Any) -> dict[str, Any]:
    """The fields of a good transaction, some of them changed; `None` as a value stays JSON null."""
    base = {"transaction_id": "t1", "card_id": "c1", "amount": "12.34", "currency": "EUR", "event_time": now_ms()}
    return {**base, **changed}


def value_of(**changed: Any) -> bytes:
    return json.dumps(fields(**changed)).encode()


def without(name: str) -> bytes:
    return json.dumps({k: v for k, v in fields().items() if k != name}).encode()


def spelled(name: str, text: str, **changed: Any) -> bytes:
    """A transaction with the JSON text of one field as given: for what `json.dumps` would never write."""
    others = json.dumps({k: v for k, v in fields(**changed).items() if k != name})
    return f'{others[:-1]}, "{name}": {text}}}'.encode(errors="surrogatepass")


def cards_of(partition: int, partitions: int, stem: str) -> Iterator[str]:
    """Card ids whose home is the partition."""
    names = (f"{stem}-{number}" for number in count())
    return (name for name in names if home_partition(name.encode(), partitions) == partition)


def send(pipeline: Pipeline, records: Iterable[Sent], topic: str = "transactions") -> list[Place]:
    """Publish records one after the other, confirmed; where each of them lies."""
    producer = Producer(
        {**pipeline.bootstrap, "enable.idempotence": True, "message.max.bytes": 16 * 1024 * 1024, "linger.ms": 5}
    )
    places: dict[int, Place] = {}

    def confirmed(number: int, error: KafkaError | None, message: Message) -> None:
        assert error is None, error.str()
        places[number] = (message.partition() or 0, message.offset() or 0)

    number = -1
    for number, record in enumerate(records):
        producer.produce(
            f"{pipeline.prefix}{topic}",
            record.value,
            record.key,
            record.partition,
            headers=list(record.headers),
            on_delivery=lambda error, message, number=number: confirmed(number, error, message),
        )
        producer.poll(0)
    assert producer.flush(60) == 0
    assert len(places) == number + 1
    return [places[i] for i in range(number + 1)]


def read_all(pipeline: Pipeline, topic: str) -> list[Raw]:
    """Everything that a topic holds now, in order per partition."""
    return sorted(map(_raw, read_messages(pipeline.bootstrap, f"{pipeline.prefix}{topic}")), key=lambda raw: raw.place)


def _raw(message: Message) -> Raw:
    place = (message.partition() or 0, message.offset() or 0)
    return Raw(place, message.key(), message.value(), list(message.headers() or []), message.timestamp()[1])


def ends(pipeline: Pipeline, topic: str) -> dict[int, int]:
    """The offset after each partition's last record."""
    with reader(pipeline.bootstrap) as consumer:
        return ends_of(consumer, f"{pipeline.prefix}{topic}")


def committed(pipeline: Pipeline, role: str, topic: str) -> dict[int, int]:
    """The offset up to which a role has acknowledged each partition; 0 where it has not yet."""
    with reader(pipeline.bootstrap, _group(pipeline, role)) as consumer:
        return committed_of(consumer, f"{pipeline.prefix}{topic}")


def _group(pipeline: Pipeline, role: str) -> str:
    return f"{pipeline.variables['FRAUD_GROUP_PREFIX']}-{role}"


def wait_acknowledged(
    pipeline: Pipeline, role: str = "score", topic: str = "transactions", timeout_s: float = 60
) -> None:
    """Wait until a role has acknowledged everything that the topic holds; fails at once where a role has died."""
    name = f"{pipeline.prefix}{topic}"
    with reader(pipeline.bootstrap, _group(pipeline, role)) as consumer:

        def done() -> bool:
            for process in pipeline.roles:
                assert process.process.poll() in {None, 0, -9}, process.log()[-3000:]
            return committed_of(consumer, name) == ends_of(consumer, name)

        wait_until(done, timeout_s)


def by_source(records: Iterable[Raw]) -> dict[Place, Raw]:
    """Outcomes or dead letters by the place of the record that they answer; each must be there once."""
    found: dict[Place, Raw] = {}
    for raw in records:
        body = raw.json()
        source: Mapping[str, Any] = body["fraud"]["source"] if "fraud" in body else body["source"]
        place = (source["partition"], source["offset"])
        assert place not in found, f"{place} was answered twice"
        found[place] = raw
    return found
