"""The example consumers act on what is blocked, and on nothing else, on a real Kafka."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import requests
from confluent_kafka import Producer

from local.jars import _fetch, _repositories, class_path
from local.java import java_command
from local.kafka import COORDINATES
from local.servers import _default_cache
from scoring.outcome import outcome_headers
from tests.scoring.test_outcome import REVERSAL, made
from tests.support import wait_until

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
CONSOLE = "org.apache.kafka.tools.consumer.ConsoleConsumer"
IDS = ("t-1", "an id, with: commas", "ä ö")


@pytest.fixture
def outcomes(servers, unique, make_topic) -> dict[str, str]:
    """A topic with some of every verdict; the variables that lead to it."""
    topic = make_topic(f"{unique}processed_transactions")
    kafka = servers.env()["FRAUD_KAFKA_BOOTSTRAP"]
    producer = Producer({"bootstrap.servers": kafka})
    for number, verdict in enumerate(("approve", "block", "review") * len(IDS)):
        headers = dict(outcome_headers(made(outcome=verdict, score=900 + number))) | {
            "transaction_id": IDS[number // 3].encode()
        }
        producer.produce(topic, b"not even JSON", b"card", headers=list(headers.items()), partition=number % 4)
    producer.produce(topic, b"{}", b"card", headers=outcome_headers(REVERSAL))
    producer.produce(topic, b"{}", b"card")
    assert producer.flush(30) == 0
    return {"FRAUD_KAFKA_BOOTSTRAP": kafka, "FRAUD_TOPIC_PREFIX": unique}


EXPECTED = {f"hold the goods: {IDS[place]} score {901 + 3 * place}" for place in range(len(IDS))}


def said(command: list[str], variables: dict[str, str]) -> list[str]:
    """What an example prints until it has said as much as is expected, and a moment longer."""
    lines: list[str] = []
    with subprocess.Popen(
        command, env={**os.environ, **variables}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    ) as process:  # fmt: skip
        reader = threading.Thread(target=lambda: lines.extend(line.rstrip("\n") for line in process.stdout))
        errors: list[str] = []
        gather = threading.Thread(target=lambda: errors.append(process.stderr.read()))
        reader.start()
        gather.start()
        try:
            wait_until(lambda: len(lines) >= len(EXPECTED) or process.poll() is not None, 60)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            reader.join()
            gather.join()
    assert len(lines) >= len(EXPECTED), errors
    return lines


def test_the_python_example_holds_what_is_blocked(outcomes):
    assert sorted(said([sys.executable, str(EXAMPLES / "act_on_block.py")], outcomes)) == sorted(EXPECTED)


@pytest.fixture
def console_client(tmp_path: Path) -> Path:
    """A folder with Kafka's console client as its distribution has it, made of the jars of the stack."""
    cache = _default_cache(tmp_path)
    jars = class_path(cache, "kafka", COORDINATES, lambda _: None, threading.Event())
    version = COORDINATES[0].rpartition(":")[2]
    place = f"org/apache/kafka/kafka-tools/{version}/kafka-tools-{version}.jar"
    tools = cache / "kafka" / place
    tools.parent.mkdir(parents=True, exist_ok=True)
    if not tools.is_file():
        with requests.Session() as session:
            assert any(_fetch(session, f"{url.rstrip('/')}/{place}", tools) for url in _repositories().values())
    (tmp_path / "java").mkdir()
    command = java_command(tmp_path / "java", [tools, *jars], CONSOLE)
    script = tmp_path / "bin" / "kafka-console-consumer.sh"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
    script.chmod(0o755)
    return script.parent


def test_the_console_example_holds_what_is_blocked(outcomes, console_client):
    variables = outcomes | {"PATH": f"{console_client}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}
    assert sorted(said([str(EXAMPLES / "act_on_block.sh")], variables)) == sorted(EXPECTED)


def test_the_examples_are_ten_lines_of_code():
    for file in EXAMPLES.iterdir():
        lines = [line for line in file.read_text().splitlines() if line.strip() and not line.startswith(("#", '"""'))]
        assert len(lines) <= 12, file.name
