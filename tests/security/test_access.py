"""Every command over TLS, logged in, with exactly the rights that `docs/security.md` names; and what a refusal says."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaException, Producer
from opensearchpy import OpenSearch
from redis import Redis

from features.errors import ConfigError
from local.ports import free_port
from local.stack import Stack
from sinks.topics import ensure_topics
from streams.brokers import wait_for_topics
from streams.pan_scan.finder import Finder
from streams.pan_scan.kafka_source import TopicScanner
from streams.pan_scan.report import Report
from streams.settings import Settings
from tests.security.conftest import CLIENT_KEY_PASSWORD, OPENSEARCH_LOGIN, PASSWORDS, kafka_rights
from tests.security.servers import Certificates, SecureKafka, TlsDoor
from tests.streams.pipeline import Pipeline, RoleProcess
from tests.streams.records import read_all, value_of, wait_acknowledged
from tests.support import wait_until

VISA = "4111111111111111"
OLD_KEY = "pan-key-of-before-0123456789abcdef0123"


@pytest.fixture
def secure(
    servers: Stack, secure_kafka: SecureKafka, redis_door: TlsDoor, redis_user: Mapping[str, str],
    opensearch_door: str, certificates: Certificates, unique: str, model_dir: Path, tmp_path: Path,
) -> Iterator[Pipeline]:  # fmt: skip
    """A pipeline that reaches every server over TLS; whoever it acts for is set by `act_as`."""
    plain = {**servers.env(), "FRAUD_KAFKA_BOOTSTRAP": secure_kafka.address}
    made = Pipeline(
        plain,
        unique,
        model_dir,
        tmp_path,
        FRAUD_KAFKA_BOOTSTRAP=secure_kafka.sasl,
        FRAUD_KAFKA_SECURITY_PROTOCOL="SASL_SSL",
        FRAUD_KAFKA_SASL_MECHANISM="SCRAM-SHA-512",
        FRAUD_KAFKA_SSL_CA=str(certificates.ca),
        FRAUD_REDIS_SSL_CA=str(certificates.ca),
        FRAUD_OPENSEARCH_URL=opensearch_door,
        FRAUD_OPENSEARCH_SSL_CA=str(certificates.ca),
        FRAUD_OPENSEARCH_USERNAME=OPENSEARCH_LOGIN[0],
        FRAUD_OPENSEARCH_PASSWORD=OPENSEARCH_LOGIN[1],
        FRAUD_PAN_KEYS_OLD=OLD_KEY,
        FRAUD_PARTITIONS="2",
        FRAUD_STARTUP_WAIT_S="20",
        FRAUD_LOG_LEVEL="debug",
    )
    for user in ("setup", "producer", "score", "index", "alert", "scan"):
        secure_kafka.allow(user, kafka_rights(user, unique, f"{unique}g"))
    act_as(made, "setup", redis_door, redis_user["score"])
    yield made
    made.stop_all()


def act_as(pipeline: Pipeline, user: str, door: TlsDoor, redis_name: str) -> None:
    """Log in at Kafka and Redis as somebody from here on."""
    redis_password = PASSWORDS["scan" if user == "scan" else "score"]
    pipeline.variables.update(
        FRAUD_KAFKA_SASL_USERNAME=user,
        FRAUD_KAFKA_SASL_PASSWORD=PASSWORDS[user],
        FRAUD_REDIS_URL=f"rediss://{redis_name}:{redis_password}@127.0.0.1:{door.port}/0",
    )


def test_everything_works_with_the_documented_rights_and_leaks_no_secret(
    secure: Pipeline, redis_door: TlsDoor, redis_user: Mapping[str, str], redis_client: Redis,
    opensearch_client: OpenSearch, certificates: Certificates, tmp_path: Path,
) -> None:  # fmt: skip
    said = [run(secure, "setup"), again := run(secure, "setup"), run(secure, "config")]
    assert again.stdout.count("as it should be") == 6

    act_as(secure, "producer", redis_door, redis_user["score"])
    produce(secure, certificates, [(f"card-{i}", f"t{i}") for i in range(50)] + [(VISA, "pan"), ("stray", "s")])
    act_as(secure, "score", redis_door, redis_user["score"])
    score = secure.start("score").wait_ready()
    wait_acknowledged(secure)
    act_as(secure, "index", redis_door, redis_user["score"])
    index = secure.start("index").wait_ready()
    wait_acknowledged(secure, "index", "processed_transactions")
    outcomes = read_all(secure, "processed_transactions")
    assert len(outcomes) == 52
    assert len(list(redis_client.scan_iter(f"{secure.prefix}hist:*"))) == 52

    def indexed() -> bool:
        opensearch_client.indices.refresh(index=f"{secure.prefix}*")
        return bool(opensearch_client.count(index=f"{secure.prefix}processed_transactions")["count"] == 52)

    wait_until(indexed)
    alert = tell(secure, redis_door, redis_user["score"], tmp_path)
    roles = (score, index, alert)
    shown = [role.get(path)[1] for role in roles for path in ("/health", "/metrics")]
    processes = [command_line(role.process.pid) for role in roles]
    assert [role.stop() for role in roles] == [0, 0, 0]

    act_as(secure, "score", redis_door, redis_user["score"])
    said.append(run(secure, "replay"))
    act_as(secure, "scan", redis_door, redis_user["scan"])
    said.append(scanned := run(secure, "pan-scan", "--json", "--logs", str(tmp_path / "score-0.log")))
    looked_at = json.loads(scanned.stdout)["looked_at"]
    assert looked_at["kafka records"] == 52
    assert looked_at["opensearch documents"] >= 52  # and samples of the lag
    assert looked_at["redis keys"] > 52
    assert looked_at["alerts"] >= 52

    texts = [*shown, *processes, *(role.log() for role in roles)]
    texts += [text for run in said for text in (run.stdout, run.stderr)]
    assert_no_secret(secure, texts)


def tell(pipeline: Pipeline, door: TlsDoor, redis_name: str, folder: Path) -> RoleProcess:
    """The alert role as its own user; every outcome has been taken in, and none could be delivered."""
    routes = folder / "routes.yaml"
    routes.write_text(
        f'channels:\n  cases: {{webhook: "http://127.0.0.1:{free_port()}/", secret: "{CLIENT_KEY_PASSWORD * 3}"}}\n'
        "routes:\n  - {name: all, outcomes: [approve, review, block], channels: [cases]}\n"
    )
    pipeline.variables.update(FRAUD_ALERTS=str(routes), FRAUD_ALERTS_DIR=str(folder / "alerts"))
    act_as(pipeline, "alert", door, redis_name)
    role = pipeline.start("alert").wait_ready()
    wait_acknowledged(pipeline, "alert", "processed_transactions")
    return role


def produce(pipeline: Pipeline, certificates: Certificates, records: list[tuple[str, str]]) -> None:
    """Publish as the producers' user; the partition is whichever comes, so some records are strays."""
    settings = {
        "bootstrap.servers": pipeline.variables["FRAUD_KAFKA_BOOTSTRAP"],
        "security.protocol": "sasl_ssl",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "producer",
        "sasl.password": PASSWORDS["producer"],
        "ssl.ca.location": str(certificates.ca),
    }
    producer = Producer(settings)
    for number, (card, name) in enumerate(records):
        value = value_of(card_id=card, transaction_id=name)
        producer.produce(f"{pipeline.prefix}transactions", value, partition=number % pipeline.partitions)
    assert producer.flush(30) == 0
    with pytest.raises(KafkaException, match="authorization"):
        raise KafkaException(refused_write(settings, f"{pipeline.prefix}processed_transactions"))


def refused_write(settings: Mapping[str, Any], topic: str) -> Any:
    """What Kafka says to a producer that writes where it must not."""
    errors: list[Any] = []
    producer = Producer({**settings, "message.timeout.ms": 5000})
    producer.produce(topic, b"{}", on_delivery=lambda error, _: errors.append(error))
    producer.flush(10)
    return errors[0]


def run(pipeline: Pipeline, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command that must succeed."""
    ended = pipeline.run(*words, check=False)
    assert ended.returncode == 0, (words, ended.stderr[-3000:])
    return ended


def command_line(process_id: int) -> str:
    return Path(f"/proc/{process_id}/cmdline").read_bytes().decode()


def secrets_of(pipeline: Pipeline) -> set[str]:
    named = ("FRAUD_PAN_KEY", "FRAUD_PAN_KEYS_OLD")
    return {*PASSWORDS.values(), OPENSEARCH_LOGIN[1], CLIENT_KEY_PASSWORD, *(pipeline.variables[n] for n in named)}


def assert_no_secret(pipeline: Pipeline, texts: list[str]) -> None:
    for text in texts:
        assert not [secret for secret in secrets_of(pipeline) if secret in text], text[-2000:]


def meetings(settings: Settings) -> dict[str, Callable[[], object]]:
    """Every way in which our commands meet Kafka: `setup`, the roles and `replay`, `pan-scan`."""
    kafka = settings.kafka()
    topic = settings.topic("transactions")
    return {
        "setup": lambda: ensure_topics(
            kafka, prefix=settings.topic_prefix, partitions=2, replication_factor=1, grace_ms=0, timeout_s=15
        ),
        "roles": lambda: asyncio.run(wait_for_topics(settings, [topic])),
        "pan-scan": lambda: TopicScanner(kafka, "g").scan(topic, Finder(), Report(), lambda *_: None),
    }


def met(meet: Callable[[], object]) -> str:
    """What is said of a refusal."""
    with pytest.raises(ConfigError) as refused:
        meet()
    return str(refused.value)


def test_whoever_meets_kafka_names_the_variable_that_is_refused(
    secure: Pipeline, secure_kafka: SecureKafka, certificates: Certificates, strangers: Certificates
) -> None:
    certificate, key = strangers.client("setup", CLIENT_KEY_PASSWORD)
    mutual = {
        "FRAUD_KAFKA_BOOTSTRAP": secure_kafka.mutual,
        "FRAUD_KAFKA_SECURITY_PROTOCOL": "SSL",
        "FRAUD_KAFKA_SASL_MECHANISM": "",
    }
    own = certificates.client("worker", CLIENT_KEY_PASSWORD)
    wrong = {
        "FRAUD_KAFKA_SASL_PASSWORD": {"FRAUD_KAFKA_SASL_PASSWORD": "wrong-pw-Kq"},
        "FRAUD_KAFKA_SASL_MECHANISM": {"FRAUD_KAFKA_SASL_MECHANISM": "PLAIN"},
        "FRAUD_KAFKA_SSL_CA": {"FRAUD_KAFKA_SSL_CA": str(strangers.ca)},
        "FRAUD_KAFKA_SSL_CERTIFICATE": mutual,
        "FRAUD_KAFKA_SSL_CERTIFICATE of a stranger": {
            **mutual,
            "FRAUD_KAFKA_SSL_CERTIFICATE": str(certificate),
            "FRAUD_KAFKA_SSL_KEY": str(key),
            "FRAUD_KAFKA_SSL_KEY_PASSWORD": CLIENT_KEY_PASSWORD,
        },
        "FRAUD_KAFKA_": {
            **mutual,
            "FRAUD_KAFKA_SSL_CERTIFICATE": str(own[0]),
            "FRAUD_KAFKA_SSL_KEY": str(own[1]),
            "FRAUD_KAFKA_SSL_KEY_PASSWORD": "wrong-pw-Kq",
        },
    }
    with ThreadPoolExecutor(8) as pool:
        said = {
            (variable, who): pool.submit(met, meet)
            for variable, changed in wrong.items()
            for who, meet in meetings(settings_of({**secure.variables, **changed})).items()
        }
    for (variable, who), future in said.items():
        assert variable.partition(" ")[0] in future.result(), (variable, who)
    assert_no_secret(secure, [future.result() for future in said.values()])
    assert not [future for future in said.values() if "wrong-pw-Kq" in future.result()]


def settings_of(variables: Mapping[str, str]) -> Settings:
    """The settings that a process with these variables would have."""
    fields = {name.removeprefix("FRAUD_").lower(): value for name, value in variables.items()}
    return Settings(_env_file=None, **fields)


def test_a_client_certificate_is_a_login(
    secure: Pipeline, secure_kafka: SecureKafka, certificates: Certificates
) -> None:
    certificate, key = certificates.client("setup", CLIENT_KEY_PASSWORD)
    settings = settings_of(
        {
            **secure.variables,
            "FRAUD_KAFKA_BOOTSTRAP": secure_kafka.mutual,
            "FRAUD_KAFKA_SECURITY_PROTOCOL": "SSL",
            "FRAUD_KAFKA_SASL_MECHANISM": "",
            "FRAUD_KAFKA_SSL_CERTIFICATE": str(certificate),
            "FRAUD_KAFKA_SSL_KEY": str(key),
            "FRAUD_KAFKA_SSL_KEY_PASSWORD": CLIENT_KEY_PASSWORD,
        }
    )
    changes = ensure_topics(
        settings.kafka(), prefix=settings.topic_prefix, partitions=2, replication_factor=1, grace_ms=0
    )

    assert all(change.created for change in changes)


def test_refusals_end_a_command_with_78_and_one_line(
    secure: Pipeline, strangers: Certificates, redis_door: TlsDoor, redis_user: Mapping[str, str],
    redis_client: Redis, certificates: Certificates,
) -> None:  # fmt: skip
    run(secure, "setup")
    redis_client.set(f"{secure.prefix}something", b"to look at")
    produce(secure, certificates, [("card", "t")])
    stranger, at = str(strangers.ca), f"127.0.0.1:{redis_door.port}/0"
    wrong = {
        "setup FRAUD_KAFKA_SASL_PASSWORD": {"FRAUD_KAFKA_SASL_PASSWORD": "wrong-pw-Kq"},
        "setup FRAUD_OPENSEARCH_SSL_CA": {"FRAUD_OPENSEARCH_SSL_CA": stranger},
        "score FRAUD_REDIS_URL": {"FRAUD_REDIS_URL": f"rediss://nobody:wrong-pw-Kq@{at}"},
        "replay FRAUD_REDIS_SSL_CA": {"FRAUD_REDIS_SSL_CA": stranger},
        "index FRAUD_OPENSEARCH_PASSWORD": {"FRAUD_OPENSEARCH_PASSWORD": "wrong-pw-Kq"},
        # A user who may not read the transactions, and one who may not write histories.
        "score FRAUD_KAFKA_SASL_USERNAME": as_user("index"),
        "pan-scan FRAUD_REDIS_URL": {"FRAUD_REDIS_URL": f"rediss://{redis_user['score']}:{PASSWORDS['score']}@{at}"},
    }
    with ThreadPoolExecutor(3) as pool:
        ended = {
            name: pool.submit(attempt, secure, command, {**as_user(command), **changed})
            for name, changed in wrong.items()
            for command in [name.split()[0]]
        }
    for name, future in ended.items():
        process = future.result()
        assert process.returncode == 78, (name, process.returncode, process.stderr[-2000:])
        assert name.split()[1] in process.stderr.splitlines()[-1], (name, process.stderr[-2000:])
        assert "Traceback" not in process.stderr, (name, process.stderr[-3000:])
        assert_no_secret(secure, [process.stdout, process.stderr])
        assert "wrong-pw-Kq" not in process.stdout + process.stderr


def attempt(pipeline: Pipeline, command: str, changed: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command with variables of its own."""
    other = Pipeline.__new__(Pipeline)
    other.variables, other.folder = {**pipeline.variables, **changed}, pipeline.folder
    return other.run(command, check=False)


def as_user(command: str) -> dict[str, str]:
    """Whom a command acts for."""
    user = {"pan-scan": "scan", "replay": "score"}.get(command, command)
    return {"FRAUD_KAFKA_SASL_USERNAME": user, "FRAUD_KAFKA_SASL_PASSWORD": PASSWORDS[user]}
