"""Rebuild the feature store from the topic on an operator's word: nothing is scored and nothing published."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog
from confluent_kafka import Consumer, KafkaException, TopicPartition

from features.errors import ServerUnavailable
from features.store import OnlineStore
from streams.rebuild import Rebuilder
from streams.settings import Settings

log = structlog.get_logger(__name__)

_REQUEST_S = 30.0


async def rebuild_all(
    settings: Settings,
    *,
    topic: str,
    store: OnlineStore,
    rebuilder: Rebuilder,
    progress: Callable[[int, int | None], None],
) -> int:
    """Forget every partition's histories and rebuild them up to what the score role has committed.

    The partitions are claimed: a score role that runs meanwhile ends with exit code 75 and writes nothing.

    Args:
        settings: group and brokers.
        topic: the transactions.
        store: whose histories are forgotten and rebuilt.
        rebuilder: over the same store.
        progress: takes partitions done and partitions in all.

    Returns:
        Records up to which the store is rebuilt, over all partitions.
    """
    committed = await asyncio.to_thread(_committed, settings, topic)
    for done, (partition, offset) in enumerate(committed.items()):
        progress(done, len(committed))
        await store.claim(partition)
        forgotten = await store.forget(partition)
        log.info("histories_forgotten", partition=partition, cards=forgotten)
        await rebuilder.catch_up(partition, offset)
    progress(len(committed), len(committed))
    return sum(committed.values())


def _committed(settings: Settings, topic: str) -> dict[int, int]:
    """Partition -> first offset still to be scored, 0 where none was."""
    consumer = Consumer({**settings.kafka(), "group.id": settings.group("score"), "enable.auto.commit": False})
    try:
        wanted = [TopicPartition(topic, partition) for partition in range(settings.partitions)]
        return {p.partition: max(p.offset, 0) for p in consumer.committed(wanted, timeout=_REQUEST_S)}
    except KafkaException as exc:
        raise ServerUnavailable(f"FRAUD_KAFKA_BOOTSTRAP: {exc.args[0].str()}") from exc
    finally:
        consumer.close()
