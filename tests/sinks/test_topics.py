"""The topics of the contract on a real broker."""

from __future__ import annotations

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType, TopicMetadata

from features.errors import ConfigError, ServerUnavailable
from local.ports import HOST, free_port
from sinks.topics import MAX_MESSAGE_BYTES, ensure_topics, retention_ms, topic_configs
from tests.support import wait_until
from tests.topics import asked

DAY_MS = 86_400_000


@pytest.fixture
def ensure(servers, unique):
    """`ensure_topics` on the run's broker, under a prefix of its own."""
    kafka = {"bootstrap.servers": servers.env()["FRAUD_KAFKA_BOOTSTRAP"]}

    def call(partitions=3, replication_factor=1, grace_ms=DAY_MS, grow=False):
        return ensure_topics(
            kafka,
            prefix=unique,
            partitions=partitions,
            replication_factor=replication_factor,
            grace_ms=grace_ms,
            grow=grow,
        )

    return call


@pytest.fixture
def existing(kafka_admin):
    """Make a topic as somebody else did before, known to the broker when this returns."""

    def make(topic, partitions, **config):
        settings = {name.replace("_", "."): value for name, value in config.items()}
        kafka_admin.create_topics([NewTopic(topic, partitions, 1, config=settings)])[topic].result(10)
        wait_until(lambda: topic in topics_of(kafka_admin))

    return make


def topics_of(admin: AdminClient) -> dict[str, TopicMetadata]:
    return asked(lambda: admin.list_topics(timeout=10)).topics


def described(admin: AdminClient, topic: str) -> dict[str, str]:
    resource = ConfigResource(ResourceType.TOPIC, topic)
    return {name: entry.value for name, entry in admin.describe_configs([resource])[resource].result(10).items()}


def test_makes_every_topic_of_the_contract_with_one_partition_count(ensure, kafka_admin, unique):
    changes = ensure(partitions=3)

    names = {f"{unique}{name}" for name in topic_configs(DAY_MS)}
    found = topics_of(kafka_admin)
    assert {change.topic for change in changes if change.created} == names
    assert {len(found[name].partitions) for name in names} == {3}


def test_transactions_carry_the_brokers_time_take_large_records_and_outlive_two_windows(ensure, kafka_admin, unique):
    ensure()

    config = described(kafka_admin, f"{unique}transactions")
    assert config["message.timestamp.type"] == "LogAppendTime"
    assert int(config["max.message.bytes"]) == MAX_MESSAGE_BYTES
    assert int(config["retention.ms"]) == 16 * DAY_MS


def test_labels_are_kept_for_ever(ensure, kafka_admin, unique):
    ensure()

    assert described(kafka_admin, f"{unique}fraud_labels")["retention.ms"] == "-1"


def test_a_second_call_changes_nothing(ensure):
    ensure()

    assert not any(change.created or change.configured for change in ensure())


def test_a_topic_that_was_there_is_brought_up_to_the_contract(ensure, existing, kafka_admin, unique):
    topic = f"{unique}transactions"
    existing(topic, 3, message_timestamp_type="CreateTime", retention_ms="3600000")

    (change,) = [change for change in ensure() if change.topic == topic]

    assert not change.created
    assert set(change.configured) == {"message.timestamp.type", "retention.ms", "max.message.bytes"}
    # The broker that answers hears of a change a moment after it was accepted.
    wait_until(lambda: change.configured.items() <= described(kafka_admin, topic).items())


@pytest.mark.parametrize("retention", ["-1", str(400 * DAY_MS)])
def test_an_operator_may_keep_transactions_longer(ensure, existing, unique, retention):
    topic = f"{unique}transactions"
    existing(topic, 3, retention_ms=retention)

    (change,) = [change for change in ensure() if change.topic == topic]

    assert "retention.ms" not in change.configured


def test_another_partition_count_is_refused_and_nothing_is_made(ensure, existing, kafka_admin, unique):
    topic = f"{unique}processed_transactions"
    existing(topic, 2)

    with pytest.raises(ConfigError, match=f"FRAUD_PARTITIONS is 3, but the topic {topic} has 2") as refused:
        ensure(partitions=3)

    assert "FRAUD_PARTITIONS=2" in str(refused.value)
    assert f"{unique}transactions" not in topics_of(kafka_admin)


def test_more_replicas_than_brokers_name_their_variable(ensure):
    with pytest.raises(ConfigError, match="FRAUD_REPLICATION_FACTOR"):
        ensure(replication_factor=3)


def test_a_broker_that_is_away_is_named_by_its_variable():
    nobody = {"bootstrap.servers": f"{HOST}:{free_port()}"}

    with pytest.raises(ServerUnavailable, match="FRAUD_KAFKA_BOOTSTRAP"):
        ensure_topics(nobody, prefix="", partitions=1, replication_factor=1, grace_ms=0, timeout_s=1)


def test_a_setting_that_librdkafka_cannot_use_is_a_config_error():
    broken = {"bootstrap.servers": f"{HOST}:1", "security.protocol": "ssl", "ssl.ca.location": "/no/such.pem"}

    with pytest.raises(ConfigError, match="FRAUD_KAFKA"):
        ensure_topics(broken, prefix="", partitions=1, replication_factor=1, grace_ms=0, timeout_s=1)


@pytest.mark.parametrize(("grace_ms", "days"), [(0, 15), (1, 16), (DAY_MS, 16), (3 * DAY_MS, 18)])
def test_retention_grows_with_the_grace_in_whole_days(grace_ms, days):
    assert retention_ms(grace_ms) == days * DAY_MS


def test_topics_grow_when_they_are_told_to_and_never_shrink(ensure, existing, kafka_admin, unique):
    existing(f"{unique}transactions", 2)
    with pytest.raises(ConfigError, match="setup --grow"):
        ensure()

    changes = {change.topic: change for change in ensure(grow=True)}

    assert changes[f"{unique}transactions"].grown_from == 2
    found = topics_of(kafka_admin)
    assert {len(found[topic].partitions) for topic in changes} == {3}
    assert not any(change.grown_from for change in ensure(grow=True))
    with pytest.raises(ConfigError, match="cannot shrink"):
        ensure(partitions=2, grow=True)
