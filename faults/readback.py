"""Read back what a row has left behind: topics, Redis, OpenSearch."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from opensearchpy import OpenSearch
from redis import Redis

from faults.site import PARTITIONS, Site
from sinks.topics import DEAD_LETTERS, PROCESSED, TRANSACTIONS

Place = tuple[int, int]
"""Partition and offset."""

_READ_S: Final = 60.0
_PAGE: Final = 5_000


class Stored(msgspec.Struct, frozen=True):
    """A record as it lies in a topic."""

    place: Place
    ts_ms: int
    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes]


class Indexed(msgspec.Struct, frozen=True):
    """A document as it lies in OpenSearch."""

    index: str
    id: str
    source: dict[str, Any]


class Left(msgspec.Struct, frozen=True):
    """All that a row left behind; records in order of partition and offset.

    Attributes:
        histories: packed, by partition and card.
        applied: by partition.
    """

    transactions: list[Stored]
    outcomes: list[Stored]
    letters: list[Stored]
    documents: list[Indexed]
    histories: dict[tuple[int, str], bytes]
    applied: dict[int, int]


def read_back(site: Site) -> Left:
    """Read everything of a row."""
    return Left(
        transactions=read_topic(site.kafka, site.topic(TRANSACTIONS)),
        outcomes=read_topic(site.kafka, site.topic(PROCESSED)),
        letters=read_topic(site.kafka, site.topic(DEAD_LETTERS)),
        documents=list(_documents(site.opensearch, site.indices)),
        histories=_histories(site.redis, site.key_prefix),
        applied=_applied(site.redis, site.key_prefix),
    )


def read_topic(kafka: Mapping[str, str | int | float | bool], name: str) -> list[Stored]:
    """Everything that a topic holds; raises TimeoutError where it cannot be read to its end."""
    consumer = Consumer(
        {**kafka, "group.id": "faults", "enable.auto.commit": False, "enable.partition.eof": True, "log_level": 0}
    )
    partitions = consumer.list_topics(name, 10).topics[name].partitions
    consumer.assign([TopicPartition(name, p, 0) for p in partitions])
    found: list[Stored] = []
    ended: set[int | None] = set()
    deadline_s = time.monotonic() + _READ_S
    while len(ended) < len(partitions):
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"{name} cannot be read to its end")
        for message in consumer.consume(5_000, 0.1):
            error = message.error()
            if error is None:
                place = (message.partition() or 0, message.offset() or 0)
                headers = {header[0]: header[1] for header in message.headers() or ()}
                found.append(Stored(place, message.timestamp()[1], message.key(), message.value(), headers))  # type: ignore[arg-type]  # ours are bytes
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's own code
                ended.add(message.partition())
            else:
                raise KafkaException(error)
    consumer.close()
    return sorted(found, key=lambda stored: stored.place)


def _documents(client: OpenSearch, indices: str) -> Iterator[Indexed]:
    client.indices.refresh(index=indices)
    page = client.search(index=indices, body={"size": _PAGE, "sort": ["_doc"]}, params={"scroll": "1m"})
    while hits := page["hits"]["hits"]:
        for hit in hits:
            yield Indexed(hit["_index"], hit["_id"], hit["_source"])
        page = client.scroll(body={"scroll_id": page["_scroll_id"], "scroll": "1m"})
    if "_scroll_id" in page:  # none where there is no index
        client.clear_scroll(body={"scroll_id": page["_scroll_id"]})


def _histories(redis: Redis, prefix: str) -> dict[tuple[int, str], bytes]:
    keys: list[bytes] = list(redis.scan_iter(f"{prefix}hist:*", count=2_000))
    values = redis.mget(keys) if keys else []
    found = {}
    for key, value in zip(keys, values, strict=True):
        _, partition, card = key.decode().removeprefix(prefix).split(":", 2)
        assert isinstance(value, bytes), "nothing expires within a row"
        found[int(partition.strip("{}")), card] = value
    return found


def _applied(redis: Redis, prefix: str) -> dict[int, int]:
    found = {p: redis.get(f"{prefix}applied:{{{p}}}") for p in range(PARTITIONS)}
    return {p: int(value) for p, value in found.items() if value is not None}
