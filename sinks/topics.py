"""The topics of the contract: made where they are missing, brought up to the contract where they fall short of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import msgspec
import structlog
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # it re-exports them without saying so
    AdminClient,
    AlterConfigOpType,
    ClusterMetadata,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_exponential

from features.errors import ConfigError, ServerUnavailable
from features.windows import WEEK_MS
from sinks.kafka_refusals import Refusals, refusal_of

log = structlog.get_logger(__name__)

TRANSACTIONS: Final = "transactions"
PROCESSED: Final = "processed_transactions"
DEAD_LETTERS: Final = "transactions.dlq"
LABELS: Final = "fraud_labels"
AUDIT: Final = "review_audit"

MAX_MESSAGE_BYTES: Final = 4 * 1024 * 1024
"""Above every record that is accepted, so that an oversized one arrives and is dead-lettered."""
_DAY_MS: Final = 86_400_000
_FOR_EVER: Final = "-1"
_BOOTSTRAP: Final = "FRAUD_KAFKA_BOOTSTRAP"

AWAY: Final = frozenset(
    {
        KafkaError._TRANSPORT,  # noqa: SLF001 - librdkafka's own codes are public under these names only
        KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001
        KafkaError._TIMED_OUT,  # noqa: SLF001
        KafkaError._RESOLVE,  # noqa: SLF001
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.BROKER_NOT_AVAILABLE,
        KafkaError.NOT_CONTROLLER,
    }
)


class TopicChange(msgspec.Struct, frozen=True):
    """What became of one topic.

    Attributes:
        topic: full name.
        created: whether it was missing.
        configured: settings of an existing topic that fell short of the contract, with their new values.
        grown_from: how many partitions it had, where it was given more; else 0.
    """

    topic: str
    created: bool
    configured: dict[str, str]
    grown_from: int = 0


def retention_ms(grace_ms: int) -> int:
    """How long transactions stay, whole days above two windows plus the grace: Redis is rebuilt from them.

    >>> retention_ms(86_400_000) // 86_400_000
    16
    """
    return (-(-(2 * WEEK_MS + grace_ms) // _DAY_MS) + 1) * _DAY_MS


def topic_configs(grace_ms: int) -> dict[str, dict[str, str]]:
    """The topics of the contract, without prefix, and what each of them needs."""
    kept = str(retention_ms(grace_ms))
    roomy = str(MAX_MESSAGE_BYTES)
    return {
        # The broker's clock, not the producer's: the effective time of an event rests on it.
        TRANSACTIONS: {
            "message.timestamp.type": "LogAppendTime",
            "max.message.bytes": roomy,
            "retention.ms": kept,
            "cleanup.policy": "delete",
        },
        PROCESSED: {"retention.ms": kept, "cleanup.policy": "delete"},
        DEAD_LETTERS: {"max.message.bytes": roomy, "retention.ms": kept, "cleanup.policy": "delete"},
        # Labels arrive weeks after their transactions and are what the next model learns from.
        LABELS: {"retention.ms": _FOR_EVER, "cleanup.policy": "delete"},
        # Who did what in the console: whoever asks does so years later.
        AUDIT: {"retention.ms": _FOR_EVER, "cleanup.policy": "delete"},
    }


def ensure_topics(
    kafka: Mapping[str, str],
    *,
    prefix: str,
    partitions: int,
    replication_factor: int,
    grace_ms: int,
    grow: bool = False,
    timeout_s: float = 15.0,
) -> list[TopicChange]:
    """Make the topics that are missing; called again, it changes nothing.

    Args:
        kafka: librdkafka's settings that reach the brokers.
        prefix: put before every topic name.
        partitions: of every topic: in and out must have the same number.
        replication_factor: of the topics that are made.
        grace_ms: lateness up to which windows are exact; transactions are kept longer than two windows plus this.
        grow: give topics with fewer partitions more, which moves cards; else they are refused.
        timeout_s: longest wait for each answer.

    Raises:
        ConfigError: a topic exists with another number of partitions, or a setting or the user's rights forbid it.
        ServerUnavailable: Kafka does not answer.
    """
    wanted = {f"{prefix}{name}": config for name, config in topic_configs(grace_ms).items()}
    with mapped_errors():
        refusals = Refusals()
        # librdkafka tells of refused credentials here alone; to the caller it only times out.
        config: dict[str, Any] = {**kafka, "error_cb": refusals, "log_level": "0"}
        admin = AdminClient(config)
        metadata = _metadata(admin, refusals, timeout_s)
        grown = _to_grow(metadata, wanted, partitions) if grow else {}
        for topic in wanted:
            if topic not in grown:
                _check_partitions(metadata, topic, prefix, partitions)
        missing = [topic for topic in wanted if topic not in metadata.topics]
        created = _create(admin, {topic: wanted[topic] for topic in missing}, partitions, replication_factor, timeout_s)
        _grow(admin, grown, partitions, timeout_s)
        if missing or grown:
            # Made is not yet known everywhere: who comes next must find them. And another setup may have made some.
            metadata = _known_everywhere(admin, wanted, grown, partitions, timeout_s)
            for topic in wanted:
                _check_partitions(metadata, topic, prefix, partitions)
        changes = [TopicChange(topic, created=True, configured={}) for topic in created]
        for topic, config in wanted.items():
            if topic not in created:
                configured = _reconfigure(admin, topic, config, timeout_s)
                changes.append(TopicChange(topic, created=False, configured=configured, grown_from=grown.get(topic, 0)))
    return changes


@contextmanager
def mapped_errors() -> Iterator[None]:
    """Let only our errors out of calls to the admin client."""
    try:
        yield
    except KafkaException as exc:
        error = exc.args[0]
        code, text = error.code(), error.str()
        if code in AWAY:
            raise ServerUnavailable(f"{_BOOTSTRAP}: Kafka does not answer there ({text}); is it running?") from exc
        if refusal := refusal_of(error):
            raise refusal from exc
        if code == KafkaError.INVALID_REPLICATION_FACTOR:
            raise ConfigError(f"FRAUD_REPLICATION_FACTOR: more than there are brokers ({text})") from exc
        raise ConfigError(f"FRAUD_KAFKA_*: {text}") from exc


def _metadata(admin: AdminClient, refusals: Refusals, timeout_s: float) -> ClusterMetadata:
    try:
        return admin.list_topics(timeout=timeout_s)
    except KafkaException:
        refusals.check(admin)
        raise


def _known_everywhere(
    admin: AdminClient, topics: Collection[str], grown: Collection[str], partitions: int, timeout_s: float
) -> ClusterMetadata:
    resources = [ConfigResource(ResourceType.TOPIC, topic) for topic in topics]
    for attempt in Retrying(
        retry=retry_if_exception(_is_unknown_topic),
        wait=wait_exponential(0.05, max=1.0),
        stop=stop_after_delay(timeout_s),
        reraise=True,
    ):
        with attempt:
            for described in admin.describe_configs(resources, request_timeout=timeout_s).values():
                described.result(timeout_s)
            metadata = admin.list_topics(timeout=timeout_s)
            short = [topic for topic in grown if len(metadata.topics[topic].partitions) < partitions]
            if short or not metadata.topics.keys() >= set(topics):
                raise KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))
    return metadata


def _is_unknown_topic(error: BaseException) -> bool:
    return isinstance(error, KafkaException) and error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART


def _check_partitions(metadata: ClusterMetadata, topic: str, prefix: str, partitions: int) -> None:
    """Cards live where their id's hash modulo the partitions says: another number would move every one of them."""
    found = metadata.topics.get(topic)
    if found is not None and len(found.partitions) != partitions:
        there = len(found.partitions)
        more = there < partitions
        raise ConfigError(
            f"FRAUD_PARTITIONS is {partitions}, but the topic {topic} has {there}"
            f"{'' if more else ', and a topic cannot shrink'}; set FRAUD_PARTITIONS={there}, or use other topics by "
            f"FRAUD_TOPIC_PREFIX (now {prefix!r}){', or give it more: fraudstream setup --grow' if more else ''}"
        )


def _to_grow(metadata: ClusterMetadata, topics: Collection[str], partitions: int) -> dict[str, int]:
    """Topics with fewer partitions than wanted, and how many they have."""
    there = {topic: len(metadata.topics[topic].partitions) for topic in topics if topic in metadata.topics}
    return {topic: count for topic, count in there.items() if count < partitions}


def _grow(admin: AdminClient, grown: Mapping[str, int], partitions: int, timeout_s: float) -> None:
    if not grown:
        return
    wanted = [NewPartitions(topic, partitions) for topic in grown]
    for topic, done in admin.create_partitions(wanted, request_timeout=timeout_s).items():
        done.result(timeout_s)
        log.warning("topic_grown", topic=topic, partitions=partitions, before=grown[topic])


def _create(
    admin: AdminClient, missing: dict[str, dict[str, str]], partitions: int, replicas: int, timeout_s: float
) -> list[str]:
    if not missing:
        return []
    new = [NewTopic(topic, partitions, replicas, config=config) for topic, config in missing.items()]
    created = []
    for topic, done in admin.create_topics(new, operation_timeout=timeout_s, request_timeout=timeout_s).items():
        try:
            done.result(timeout_s)
        except KafkaException as exc:
            # Another setup made it in this moment.
            if exc.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
        else:
            created.append(topic)
            log.info("topic_created", topic=topic, partitions=partitions, **missing[topic])
    return created


def _reconfigure(admin: AdminClient, topic: str, wanted: dict[str, str], timeout_s: float) -> dict[str, str]:
    resource = ConfigResource(ResourceType.TOPIC, topic)
    current = admin.describe_configs([resource], request_timeout=timeout_s)[resource].result(timeout_s)
    short = {name: value for name, value in wanted.items() if _falls_short(name, current[name].value, value)}
    if short:
        entries = [
            ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in short.items()
        ]
        change = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
        admin.incremental_alter_configs([change], request_timeout=timeout_s)[change].result(timeout_s)
        log.warning("topic_brought_up_to_contract", topic=topic, **short)
    return short


def _falls_short(name: str, has: str, wanted: str) -> bool:
    """Whether a value is less than the contract needs; an operator may always give more."""
    if name == "retention.ms":
        return has != _FOR_EVER and (wanted == _FOR_EVER or int(has) < int(wanted))
    if name == "max.message.bytes":
        return int(has) < int(wanted)
    return has != wanted
