"""Real servers for the tests that ask for them: one set per run, started when the first one asks."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, NewTopic
from opensearchpy import OpenSearch
from redis import Redis

from features.offline import build_table
from local import kafka
from local.generator import generate
from local.stack import Stack
from scoring.training import train
from tests.search import PatientTransport
from tests.streams.pipeline import Pipeline

_TOPIC_TIMEOUT_S = 30.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that use the servers, and run them after all others: what needs no server tells first."""
    for item in items:
        if "servers" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.server)
    items.sort(key=lambda item: item.get_closest_marker("server") is not None)


@pytest.fixture(scope="session", autouse=True)
def brokers_of_minutes() -> Iterator[None]:
    """Half of a young broker's time goes into compiling what pays in hours; no broker of a test lives so long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kafka, "_LOGGING", (*kafka._LOGGING, "-XX:TieredStopAtLevel=1"))
        yield


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Stack]:
    """Kafka, Redis and OpenSearch; `env()` points at them. A test that stops one must start it again."""
    stack = Stack(tmp_path_factory.mktemp("stack"))
    terminal = request.config.pluginmanager.getplugin("terminalreporter")
    stack.start(terminal.write_line if terminal is not None else lambda _: None)
    yield stack
    stack.stop()


@pytest.fixture
def unique() -> str:
    """A short prefix, another one for each test, fit for topics, groups, keys and indices."""
    return f"t{uuid.uuid4().hex[:10]}-"


@pytest.fixture
def kafka_admin(servers: Stack) -> AdminClient:
    """An admin client of the run's Kafka."""
    return AdminClient({"bootstrap.servers": servers.env()["FRAUD_KAFKA_BOOTSTRAP"]})


@pytest.fixture
def make_topic(kafka_admin: AdminClient) -> Callable[..., str]:
    """Make topics: `make_topic(name, partitions=4, **config)` returns the name once the topic exists."""

    def make(name: str, partitions: int = 4, **config: str) -> str:
        topic = NewTopic(name, partitions, 1, config={key.replace("_", "."): value for key, value in config.items()})
        kafka_admin.create_topics([topic])[name].result(_TOPIC_TIMEOUT_S)
        return name

    return make


@pytest.fixture
def redis_client(servers: Stack) -> Iterator[Redis]:
    """A client of the run's Redis that returns bytes."""
    client = Redis.from_url(servers.env()["FRAUD_REDIS_URL"])
    yield client
    client.close()


@pytest.fixture
def opensearch_client(servers: Stack) -> Iterator[OpenSearch]:
    """A client of the run's OpenSearch."""
    client = OpenSearch(servers.env()["FRAUD_OPENSEARCH_URL"], timeout=30, transport_class=PatientTransport)
    yield client
    client.close()


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of 60,000 generated transactions: small, but it tells an attack from a purchase."""
    folder = tmp_path_factory.mktemp("model")
    generate(60_000, 120, 7, folder / "history")
    build_table(folder / "history", folder / "table.parquet")
    train(folder / "table.parquet", folder / "model", seed=7)
    return folder / "model"


@pytest.fixture
def pipeline(servers: Stack, unique: str, model_dir: Path, tmp_path: Path) -> Iterator[Pipeline]:
    """Topics of one test and the roles on them; whatever it started is stopped at the end."""
    made = Pipeline(servers.env(), unique, model_dir, tmp_path)
    made.setup()
    yield made
    made.stop_all()


@pytest.fixture
def make_pipeline(servers: Stack, unique: str, model_dir: Path, tmp_path: Path) -> Iterator[Callable[..., Pipeline]]:
    """As `pipeline`, with variables of the test's choice."""
    made: list[Pipeline] = []

    def make(**variables: str) -> Pipeline:
        made.append(Pipeline(servers.env(), unique, model_dir, tmp_path, **variables))
        made[-1].setup()
        return made[-1]

    yield make
    for one in made:
        one.stop_all()
