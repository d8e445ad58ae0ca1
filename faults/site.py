"""Where a row runs: its own topics, keys, indices and workers on the shared servers."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # it re-exports them without saying so
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from opensearchpy import OpenSearch
from redis import Redis

from faults.events import PAN_KEY
from faults.fleet import Fleet
from faults.oracle import GRACE_MS
from local.stack import Stack
from sinks.index_template import setup_index
from sinks.topics import DEAD_LETTERS, LABELS, PROCESSED, TRANSACTIONS, ensure_topics

PARTITIONS: Final = 4
_ANSWER_S: Final = 20.0
_CHECK_S: Final = 0.2
_SOURCES: Final = {"score": TRANSACTIONS, "index": PROCESSED, "alert": PROCESSED}


class Site:
    """One row's surroundings; as a context, its workers end with the block.

    Attributes:
        stack: the servers.
        folder: of this row alone.
        variables: FRAUD_* settings of the workers.
        fleet: the workers.
        kafka: how librdkafka reaches the brokers.
        models: every model folder that may have decided.
        also: roles that run besides `score` and `index`.
    """

    def __init__(self, stack: Stack, model: Path, folder: Path, prefix: str, **variables: str) -> None:
        folder.mkdir(parents=True)
        self.stack, self.folder, self._prefix = stack, folder, prefix
        self.variables = {
            **stack.env(),
            "FRAUD_TOPIC_PREFIX": prefix,
            "FRAUD_GROUP_PREFIX": f"{prefix}g",
            "FRAUD_KEY_PREFIX": prefix,
            "FRAUD_INDEX_PREFIX": prefix,
            "FRAUD_MODEL": str(model),
            "FRAUD_PAN_KEY": PAN_KEY,
            **variables,
        }
        self.models = [model]
        self.also: list[str] = []
        self.fleet = Fleet(self.variables, folder)
        self.kafka: dict[str, str | int | float | bool] = {"bootstrap.servers": stack.env()["FRAUD_KAFKA_BOOTSTRAP"]}
        self.redis = Redis.from_url(stack.env()["FRAUD_REDIS_URL"])
        self.opensearch = OpenSearch(stack.env()["FRAUD_OPENSEARCH_URL"], timeout=60, max_retries=0)
        self._groups: dict[str, Consumer] = {}

    def __enter__(self) -> Self:
        self.fleet.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.fleet.__exit__(kind, error, trace)
        for consumer in self._groups.values():
            consumer.close()
        self.redis.close()
        self.opensearch.close()

    def topic(self, name: str) -> str:
        """A topic's full name."""
        return f"{self._prefix}{name}"

    @property
    def key_prefix(self) -> str:
        """What every Redis key of the row begins with."""
        return self._prefix

    @property
    def indices(self) -> str:
        """Pattern of the row's indices."""
        return f"{self._prefix}processed_transactions-*"

    def setup(self) -> None:
        """Make topics and the index template; whatever is published is stamped by the broker's clock."""
        bootstrap = {"bootstrap.servers": self.variables["FRAUD_KAFKA_BOOTSTRAP"]}
        ensure_topics(bootstrap, prefix=self._prefix, partitions=PARTITIONS, replication_factor=1, grace_ms=GRACE_MS)
        stamped = [
            ConfigResource(
                ResourceType.TOPIC,
                self.topic(name),
                incremental_configs=[
                    ConfigEntry("message.timestamp.type", "LogAppendTime", incremental_operation=AlterConfigOpType.SET)
                ],
            )
            for name in (PROCESSED, DEAD_LETTERS)
        ]
        admin = AdminClient(self.kafka)
        for answer in admin.incremental_alter_configs(stamped).values():
            answer.result(_ANSWER_S)
        setup_index(self.opensearch, self._prefix)

    def lag(self, role: str) -> int:
        """Records that a role has not acknowledged yet; -1 while Kafka does not say."""
        name = self.topic(_SOURCES[role])
        consumer = self._groups.get(role)
        if consumer is None:
            group = f"{self.variables['FRAUD_GROUP_PREFIX']}-{role}"
            consumer = self._groups[role] = Consumer({**self.kafka, "group.id": group, "log_level": 0})
        places = [TopicPartition(name, p) for p in range(PARTITIONS)]
        try:
            ends = [consumer.get_watermark_offsets(place, _ANSWER_S)[1] for place in places]
            done = [max(place.offset, 0) for place in consumer.committed(places, timeout=_ANSWER_S)]
        except KafkaException:
            return -1
        return sum(ends) - sum(done)

    def wait_answered(self, timeout_s: float) -> bool:
        """Wait until every role has acknowledged everything; False where that takes too long."""
        deadline_s = time.monotonic() + timeout_s
        while any(self.lag(role) != 0 for role in ("score", "index", *self.also, "score")):
            if time.monotonic() > deadline_s:
                return False
            time.sleep(_CHECK_S)
        return True

    def clean(self) -> None:
        """Remove topics, keys and indices."""
        topics = [self.topic(name) for name in (TRANSACTIONS, PROCESSED, DEAD_LETTERS, LABELS)]
        admin = AdminClient(self.kafka)
        for answer in admin.delete_topics(topics).values():
            answer.result(_ANSWER_S)
        keys = list(self.redis.scan_iter(f"{self._prefix}*", count=2000))
        if keys:
            self.redis.unlink(*keys)
        self.opensearch.indices.delete(index=self.indices)
