"""How a role begins and ends: signals under load, other workers, a Redis that hangs or holds garbage, bad settings."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from redis import Redis

from local.stack import Stack
from scoring.manifest import MANIFEST_FILE, MODEL_FILE
from tests.forked import Forked
from tests.oracles.naive import Event
from tests.oracles.traffic import awkward, wire
from tests.streams.pipeline import Got, Pipeline, RoleProcess
from tests.streams.records import (
    Place,
    Raw,
    Sent,
    cards_of,
    committed,
    read_all,
    send,
    value_of,
    wait_acknowledged,
)
from tests.streams.test_score_exact import assert_answered, base_ms, oracle
from tests.support import wait_until
from tests.topics import asked

NOWHERE = "127.0.0.1:1"


class Load:
    """Awkward traffic, published in the background in small portions."""

    def __init__(self, pipeline: Pipeline, seed: int, records: int) -> None:
        self.pipeline = pipeline
        self.events = awkward(seed, records, 150, base_ms())
        self.sent = 0
        self._wanted = 0
        self._more = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        rng = random.Random(1)
        while self.sent < len(self.events):
            portion = self.events[self.sent : self.sent + 25]
            self.pipeline.publish((e.card, wire(e, rng)) for e in portion)
            self.sent += len(portion)

    def wait(self, records: int) -> None:
        """Until so many are published; the rest is still to come."""
        wait_until(lambda: self.sent >= records, 60)

    def wait_all(self) -> None:
        self._thread.join(60)
        assert self.sent == len(self.events)


def answers(pipeline: Pipeline) -> dict[Place, list[Raw]]:
    found: dict[Place, list[Raw]] = defaultdict(list)
    for raw in read_all(pipeline, "processed_transactions"):
        source = raw.json()["fraud"]["source"]
        found[source["partition"], source["offset"]].append(raw)
    return found


def assert_right(found: Mapping[Place, list[Raw]], events: list[Event]) -> None:
    """Every record is answered as the oracle says, repeats included."""
    wanted = oracle(events, 4)
    assert found.keys() == wanted.keys()
    for place, (event, answer) in wanted.items():
        for raw in found[place]:
            headers = {name: value or b"" for name, value in raw.headers}
            assert_answered(Got(*raw.place, raw.key, raw.json(), headers), event, answer)


def test_sigterm_under_load_loses_and_repeats_nothing(pipeline: Pipeline) -> None:
    role = pipeline.start().wait_ready()
    load = Load(pipeline, 41, 6_000)
    for stop_at in (1_500, 3_500):
        load.wait(stop_at)
        assert role.stop(timeout_s=20) == 0, role.log()
        # What it has acknowledged is answered, nothing else is.
        done = sum(committed(pipeline, "score", "transactions").values())
        assert done == len(read_all(pipeline, "processed_transactions"))
        role = pipeline.start().wait_ready()
    load.wait_all()
    wait_acknowledged(pipeline)
    found = answers(pipeline)
    assert_right(found, load.events)
    assert [place for place, raws in found.items() if len(raws) > 1] == []
    assert role.stop(signal.SIGINT) == 0
    for one in pipeline.roles:
        assert '"level": "critical"' not in one.log()
        assert "Traceback" not in one.log()


def test_workers_join_and_leave_and_redis_hangs_meanwhile(pipeline: Pipeline, servers: Stack) -> None:
    first = pipeline.start().wait_ready()
    load = Load(pipeline, 42, 6_000)
    load.wait(1_000)
    second = pipeline.start().wait_ready()
    load.wait(2_500)
    servers.suspend("redis")
    try:
        hung = threading.Event()
        hung.wait(5)
    finally:
        servers.resume("redis")
    load.wait(4_000)
    assert first.stop() == 0, first.log()
    third = pipeline.start()
    load.wait_all()
    wait_acknowledged(pipeline)
    assert_right(answers(pipeline), load.events)
    for role in (second, third.wait_ready()):
        assert role.process.poll() is None, role.log()
        assert role.stop() == 0, role.log()


def critical(role: RoleProcess) -> list[dict[str, str]]:
    lines = [line for line in role.log().splitlines() if line.startswith("{")]
    return [entry for line in lines if (entry := json.loads(line))["level"] == "critical"]


def assert_ends(role: RoleProcess) -> str:
    """The role ends by itself, with an exit code that is not 0 and one clear line, which is returned."""
    wait_until(lambda: role.process.poll() is not None, 60)
    assert role.process.poll() not in {0, None}
    (entry,) = critical(role)
    assert "Traceback" not in role.log(), role.log()
    assert entry["exit_code"] == role.process.poll()
    return entry["problem"]


def test_garbage_in_redis_is_made_anew_or_ends_the_role(pipeline: Pipeline, redis_client: Redis) -> None:
    card = next(cards_of(2, 4, "damaged"))
    others = [next(cards_of(partition, 4, "whole")) for partition in range(4)]
    history, applied, epoch = (
        f"{pipeline.prefix}{name}" for name in (f"hist:{{2}}:{card}", "applied:{2}", "epoch:{2}")
    )
    role = pipeline.start().wait_ready()
    places = send(pipeline, [Sent(value_of(card_id=card), 2, card.encode())])
    wait_acknowledged(pipeline)

    redis_client.set(history, b"\xffgarbage\x00")
    records = [Sent(value_of(card_id=card, transaction_id="t2"), 2, card.encode())]
    places += send(pipeline, records + [Sent(value_of(card_id=c), p, c.encode()) for p, c in enumerate(others)])
    wait_acknowledged(pipeline)
    assert "store_corrupt" in role.log()
    assert role.stop() == 0

    kept = redis_client.get(applied)
    redis_client.set(applied, b"garbage")
    assert applied in assert_ends(pipeline.start())
    redis_client.set(applied, kept)
    # A fencing token is made anew at every assignment, so a spoilt one needs no hand.
    redis_client.set(epoch, b"garbage")
    pipeline.roles.clear()
    pipeline.start().wait_ready()
    wait_acknowledged(pipeline)
    assert answers(pipeline).keys() == set(places)


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    output: str


def run_role(role: str, variables: Mapping[str, str], folder: Path, timeout_s: float = 40) -> Ended:
    """Start a role that should end by itself; one that does not is killed, and ends with -9."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("FRAUD_")}
    with tempfile.TemporaryFile("w+") as said:
        process = Forked([role], {**clean, **variables}, folder, said.fileno(), said.fileno())
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        said.seek(0)
        return Ended(code, said.read())


class Wrong(NamedTuple):
    """Settings with which a role cannot start, and what its one line must say."""

    says: tuple[str, ...]
    variables: dict[str, str]
    role: str = "score"
    never_says: str = "\0"


@contextmanager
def taken_port() -> Iterator[int]:

    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        yield held.getsockname()[1]


def damaged_models(model_dir: Path, folder: Path) -> dict[str, Path]:
    """Copies of the model folder, each broken in its own way."""

    def copy(name: str, damage: Callable[[Path], object]) -> None:
        made[name] = folder / name
        shutil.copytree(model_dir, made[name])
        damage(made[name])

    def edit(path: Path, old: bytes, new: bytes) -> None:
        raw = path.read_bytes()
        assert old in raw
        path.write_bytes(raw.replace(old, new))

    made: dict[str, Path] = {"nowhere": folder / "nowhere"}
    copy("no trees", lambda path: (path / MODEL_FILE).unlink())
    copy("a byte flipped", lambda path: edit(path / MODEL_FILE, b"learner", b"learnes"))
    copy("trees cut short", lambda path: (path / MODEL_FILE).write_bytes((path / MODEL_FILE).read_bytes()[:1000]))
    copy("manifest is no JSON", lambda path: (path / MANIFEST_FILE).write_bytes(b"\xff{"))
    copy("other features", lambda path: edit(path / MANIFEST_FILE, b'"amt_ratio1"', b'"amt_ratio9"'))
    return made


def wrong_settings(servers: Mapping[str, str], folder: Path, port: int) -> dict[str, Wrong]:
    redis = servers["FRAUD_REDIS_URL"].split("//")[1].split("/")[0]
    http = servers["FRAUD_OPENSEARCH_URL"].split("//")[1]
    nope = str(folder / "nope.pem")
    return {
        "partitions no number": Wrong(("FRAUD_PARTITIONS",), {"FRAUD_PARTITIONS": "four"}),
        "partitions others": Wrong(("FRAUD_PARTITIONS", "4"), {"FRAUD_PARTITIONS": "5"}),
        "two at once": Wrong(("FRAUD_GRACE_S", "FRAUD_MAX_BATCH"), {"FRAUD_GRACE_S": "-1", "FRAUD_MAX_BATCH": ""}),
        "short key": Wrong(("FRAUD_PAN_KEY", "32"), {"FRAUD_PAN_KEY": "sesame"}, never_says="sesame"),
        "rules": Wrong(("FRAUD_RULES",), {"FRAUD_RULES": "rules.yaml"}),
        "no topics": Wrong(("FRAUD_TOPIC_PREFIX", "fraudstream setup"), {"FRAUD_TOPIC_PREFIX": "none-"}),
        "Kafka away": Wrong(("FRAUD_KAFKA_BOOTSTRAP",), {"FRAUD_KAFKA_BOOTSTRAP": NOWHERE}),
        "Kafka is Redis": Wrong(("FRAUD_KAFKA_BOOTSTRAP",), {"FRAUD_KAFKA_BOOTSTRAP": redis}),
        "Kafka SASL": Wrong(
            ("FRAUD_KAFKA_SASL_MECHANISM",),
            {"FRAUD_KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT", "FRAUD_KAFKA_SASL_MECHANISM": "BOGUS"},
        ),
        "Kafka CA": Wrong(
            ("FRAUD_KAFKA_SSL_CA",), {"FRAUD_KAFKA_SECURITY_PROTOCOL": "SSL", "FRAUD_KAFKA_SSL_CA": nope}
        ),
        "Redis away": Wrong(
            ("FRAUD_REDIS_URL",), {"FRAUD_REDIS_URL": f"redis://:sesame@{NOWHERE}/0"}, never_says="sesame"
        ),
        "Redis no port": Wrong(("FRAUD_REDIS_URL",), {"FRAUD_REDIS_URL": "redis://localhost:port/0"}),
        "Redis no such database": Wrong(("FRAUD_REDIS_URL",), {"FRAUD_REDIS_URL": f"redis://{redis}/9999"}),
        "Redis user": Wrong(
            ("FRAUD_REDIS_URL",), {"FRAUD_REDIS_URL": f"redis://me:sesame@{redis}/0"}, never_says="sesame"
        ),
        "Redis is OpenSearch": Wrong(("FRAUD_REDIS_URL",), {"FRAUD_REDIS_URL": f"redis://{http}/0"}),
        "Redis CA without TLS": Wrong(("FRAUD_REDIS_SSL_CA",), {"FRAUD_REDIS_SSL_CA": nope}),
        "Redis CA": Wrong(
            ("FRAUD_REDIS_SSL_CA",), {"FRAUD_REDIS_SSL_CA": nope, "FRAUD_REDIS_URL": f"rediss://{redis}/0"}
        ),
        "OpenSearch away": Wrong(("FRAUD_OPENSEARCH_URL",), {"FRAUD_OPENSEARCH_URL": f"http://{NOWHERE}"}, "index"),
        "OpenSearch is Redis": Wrong(("FRAUD_OPENSEARCH_URL",), {"FRAUD_OPENSEARCH_URL": f"http://{redis}"}, "index"),
        "port taken": Wrong(("FRAUD_HTTP_PORT", str(port)), {"FRAUD_HTTP_PORT": str(port)}),
        "host": Wrong(("FRAUD_HTTP_",), {"FRAUD_HTTP_HOST": "no.such.host.invalid"}),
    }


@pytest.fixture(scope="module")
def starts(
    servers: Stack, model_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, tuple[Wrong, Ended]]]:
    """Every wrong start, four at a time: what it should say, and how it ended."""
    folder = tmp_path_factory.mktemp("starts")
    pipeline = Pipeline(servers.env(), "starts-", model_dir, folder, FRAUD_STARTUP_WAIT_S="2")
    pipeline.setup()
    (folder / "bad env").mkdir()
    (folder / "bad env" / ".env").write_bytes(b"FRAUD_RULES=\xff\xfe\n")
    with taken_port() as port, ThreadPoolExecutor(4) as pool:
        wrong = wrong_settings(servers.env(), folder, port)
        for name, path in damaged_models(model_dir, folder).items():
            wrong[f"model: {name}"] = Wrong(("FRAUD_MODEL", str(path), "fraudstream train"), {"FRAUD_MODEL": str(path)})
        wrong["bad .env"] = Wrong((".env",), {})
        ended = {
            name: pool.submit(
                run_role,
                one.role,
                {**pipeline.variables, **one.variables},
                folder / ("bad env" if name == "bad .env" else "."),
            )
            for name, one in wrong.items()
        }
        yield {name: (wrong[name], future.result()) for name, future in ended.items()}


def complaint(ended: Ended) -> list[str]:
    """The lines that say why a command ended."""
    lines = ended.output.splitlines()
    said = [line for line in lines if line.startswith("fraudstream: ")]
    return said + [json.loads(line)["problem"] for line in lines if '"role_failed"' in line]


def test_wrong_starts_end_with_one_clear_line(starts: Mapping[str, tuple[Wrong, Ended]]) -> None:
    faults = []
    for name, (wrong, ended) in starts.items():
        lines = complaint(ended)
        fault = (
            f"exit code {ended.code}" if ended.code <= 0
            else "a traceback" if "Traceback" in ended.output
            else f"{len(lines)} lines" if len(lines) != 1
            else f"does not name {wrong.says}" if not all(word in lines[0] for word in wrong.says)
            else "tells a secret" if wrong.never_says in ended.output
            else "librdkafka speaks" if any(line.startswith("%") for line in ended.output.splitlines())
            else ""
        )  # fmt: skip
        if fault:
            faults.append((name, fault, ended.output[-600:]))
    assert faults == [], "\n".join(map(str, faults))


def test_a_redis_that_may_evict_is_refused(pipeline: Pipeline, redis_client: Redis) -> None:
    redis_client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        ended = run_role("score", pipeline.variables, pipeline.folder)
    finally:
        redis_client.config_set("maxmemory-policy", "noeviction")
    (line,) = complaint(ended)
    assert "FRAUD_REDIS_URL" in line
    assert "maxmemory-policy" in line
    assert "noeviction" in line
    assert ended.code == 78
    assert "Traceback" not in ended.output


@pytest.mark.parametrize(
    ("role", "variable", "value"),
    [
        ("score", "FRAUD_KAFKA_BOOTSTRAP", NOWHERE),
        ("score", "FRAUD_REDIS_URL", f"redis://{NOWHERE}/0"),
        ("index", "FRAUD_OPENSEARCH_URL", f"http://{NOWHERE}"),
    ],
)
def test_sigterm_ends_a_role_that_waits_for_a_server(pipeline: Pipeline, role: str, variable: str, value: str) -> None:
    pipeline.variables[variable] = value
    started = pipeline.start(role)
    wait_until(lambda: variable in started.log(), 30)
    assert started.stop(timeout_s=10) == 0, started.log()
    assert "Traceback" not in started.log()


def test_a_missing_dead_letter_topic_is_noticed_at_the_start(pipeline: Pipeline, kafka_admin) -> None:
    topic = f"{pipeline.prefix}transactions.dlq"
    kafka_admin.delete_topics([topic])[topic].result(30)
    wait_until(lambda: topic not in asked(lambda: kafka_admin.list_topics(timeout=10)).topics)
    ended = run_role("score", {**pipeline.variables, "FRAUD_STARTUP_WAIT_S": "2"}, pipeline.folder, 30)
    (line,) = complaint(ended)
    assert topic in line
    assert "fraudstream setup" in line
    assert ended.code > 0
