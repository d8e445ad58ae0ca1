"""The command line as a user meets it: help, settings, and one clear line where something is wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import polars as pl
import pytest
import typer

from fraudstream.cli import app
from fraudstream.in_force import MASK, lines, mask_url
from local.ports import HOST, free_port
from streams.settings import Settings
from tests import forked
from tests.topics import read_messages

COMMAND = [sys.executable, "-m", "fraudstream"]


def clean_environment(**variables: str) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("FRAUD_")}
    return {**ours, "COLUMNS": "200", **variables}


def run(folder, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, forked from one that has imported what it needs."""
    return forked.run(words, clean_environment(**variables), folder, 120)


def run_afresh(folder, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """As a user starts it, imports and all."""
    environment = clean_environment(**variables)
    return subprocess.run(
        [*COMMAND, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


def one_line(text: str) -> str:
    """The error line, which may stand among log lines but not beside a traceback."""
    (line,) = [line for line in text.splitlines() if line.startswith("fraudstream: ")]
    assert "Traceback" not in text
    return line


def all_commands() -> list[tuple[str, ...]]:
    """Every command, as the words that call it, found by asking the app."""
    top = typer.main.get_command(app)
    found = []
    for name, command in top.commands.items():
        found.extend([(name, sub) for sub in command.commands] if hasattr(command, "commands") else [(name,)])
    return found


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    """A small history, made by the command."""
    folder = tmp_path_factory.mktemp("history")
    words = ("generate", "--transactions", "2000", "--cards", "20", "--seed", "3", "--out", "history")
    done = run_afresh(folder, *words)
    assert done.returncode == 0, done.stderr
    return folder / "history"


@pytest.mark.parametrize("words", all_commands(), ids=" ".join)
def test_every_command_explains_itself_with_an_example(words, tmp_path):
    done = run(tmp_path, *words, "--help")

    assert done.returncode == 0
    assert f"fraudstream {' '.join(words)}" in done.stdout


def test_a_wrong_option_is_a_usage_error(tmp_path):
    assert run(tmp_path, "generate", "--transactions", "many", "--out", "x").returncode == 2


def test_config_prints_every_setting_and_says_which_are_defaults(tmp_path):
    done = run_afresh(tmp_path, "config", FRAUD_PARTITIONS="8")

    printed = done.stdout.splitlines()
    assert [line.split("=")[0] for line in printed] == [f"FRAUD_{name.upper()}" for name in Settings.model_fields]
    assert "FRAUD_PARTITIONS=8" in printed
    assert "FRAUD_KAFKA_BOOTSTRAP=localhost:9092  # default" in printed


def test_config_masks_every_secret(tmp_path):
    secret = "s3cr3t-s3cr3t-s3cr3t-s3cr3t-s3cr3t"
    # A key may look like anything, also like a URL.
    variables = {
        f"FRAUD_{name.upper()}": f"a://{secret}"
        for name, field in Settings.model_fields.items()
        if "Secret" in str(field)
    }
    variables |= {"FRAUD_DASHBOARDS_URL": f"http://me:{secret}@h:1"}
    variables |= {"FRAUD_REDIS_URL": f"redis://me:{secret}@h:1/0", "FRAUD_OPENSEARCH_URL": f"http://me:{secret}@h:1"}
    variables |= {"FRAUD_MODEL": f"s3://key:{secret}@bucket/model"}

    done = run(tmp_path, "config", **variables)

    assert done.returncode == 0
    assert secret not in done.stdout + done.stderr
    assert f"FRAUD_REDIS_URL='redis://me:{MASK}@h:1/0'" in done.stdout.splitlines()
    assert f"FRAUD_PAN_KEY={MASK}" in done.stdout.splitlines()


def test_what_config_prints_is_an_env_file_that_gives_the_same_settings(tmp_path):
    before = Settings(_env_file=None, topic_prefix="a.", model="/a folder/model", partitions=7)
    (tmp_path / ".env").write_text("\n".join(lines(before)))

    after = Settings(_env_file=tmp_path / ".env")

    assert after == before


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:p@ss/w:rd@h:6379/0", f"redis://:{MASK}@h:6379/0"),
        ("redis://h:6379/0?password=hidden&db=1", f"redis://h:6379/0?password={MASK}&db=1"),
        ("http://localhost:9200", "http://localhost:9200"),
        ("localhost:9092,other:9092", "localhost:9092,other:9092"),
    ],
)
def test_passwords_in_urls_are_masked(url, shown):
    assert mask_url(url) == shown


def test_a_wrong_setting_is_named(tmp_path):
    done = run(tmp_path, "config", FRAUD_PARTITIONS="many", FRAUD_PAN_KEY="short")

    assert done.returncode == 78
    assert "FRAUD_PARTITIONS" in one_line(done.stderr)
    assert "short" not in done.stderr


@pytest.fixture(scope="module")
def without_kafka(tmp_path_factory):
    """What commands end with that wait for a broker in vain; side by side, for they wait long."""
    variables = {"FRAUD_KAFKA_BOOTSTRAP": f"{HOST}:{free_port()}", "FRAUD_STARTUP_WAIT_S": "1"}
    waiting = (("setup",), ("simulate", "--transactions", "1"), ("index",))
    folder = tmp_path_factory.mktemp("without")
    with ThreadPoolExecutor() as together:
        ended = together.map(lambda words: run_afresh(folder, *words, **variables), waiting)
        return dict(zip((words[0] for words in waiting), ended, strict=True))


@pytest.mark.parametrize("command", ["setup", "simulate", "index"])
def test_a_server_that_is_away_is_named_by_its_variable(without_kafka, command):
    done = without_kafka[command]

    assert done.returncode == 69
    assert "FRAUD_KAFKA_BOOTSTRAP" in one_line(done.stderr)


@pytest.mark.parametrize("words", [("score",), ("evaluate", "--model", "nowhere", "--history", "nothing")])
def test_a_missing_model_says_what_to_do(tmp_path, words):
    done = run_afresh(tmp_path, *words, FRAUD_MODEL="nowhere", FRAUD_STARTUP_WAIT_S="1")

    line = one_line(done.stderr)
    assert done.returncode == 66
    assert "FRAUD_MODEL" in line
    assert "fraudstream train" in line


@pytest.mark.parametrize("words", [("features", "--out", "f.parquet"), ("train", "--out", "m")])
def test_a_missing_history_is_one_line(tmp_path, words):
    done = run(tmp_path, *words, "--history", "nothing")

    assert done.returncode == 65
    assert "nothing" in one_line(done.stderr)


def test_a_history_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").touch()

    done = run(tmp_path, "generate", "--transactions", "100", "--out", "file")

    assert done.returncode == 64
    assert "file" in one_line(done.stderr)


def test_features_has_a_row_per_transaction(history, tmp_path):
    done = run(tmp_path, "features", "--history", str(history), "--out", "table.parquet")

    assert done.returncode == 0, done.stderr
    assert len(pl.read_parquet(tmp_path / "table.parquet")) == 2000


def test_stack_status_of_nothing_ends_with_1(tmp_path):
    assert run(tmp_path, "stack", "status").returncode == 1
    assert run(tmp_path, "stack", "env").returncode == 69
    assert run(tmp_path, "stack", "down").returncode == 0


@pytest.fixture
def variables(servers, unique):
    """The variables of the run's servers, with names of this test alone."""
    return {
        **servers.env(),
        "FRAUD_TOPIC_PREFIX": unique,
        "FRAUD_INDEX_PREFIX": unique,
        "FRAUD_GROUP_PREFIX": unique,
        "FRAUD_KEY_PREFIX": unique,
        "FRAUD_PARTITIONS": "2",
    }


def records(bootstrap: str, topic: str, count: int) -> list[tuple[bytes, dict[str, str]]]:
    """Keys and values of a topic, once there are so many."""
    found = read_messages({"bootstrap.servers": bootstrap}, topic, lambda found: len(found) >= count)
    return [(message.key(), json.loads(message.value())) for message in found]


def test_setup_can_be_repeated(variables, tmp_path):
    first, second = run(tmp_path, "setup", **variables), run(tmp_path, "setup", **variables)

    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert first.stdout.count("created") == 5
    assert "created" not in second.stdout


def test_setup_without_opensearch_names_it(variables, tmp_path):
    done = run(tmp_path, "setup", **{**variables, "FRAUD_OPENSEARCH_URL": f"http://{HOST}:{free_port()}"})

    assert done.returncode == 69
    assert "FRAUD_OPENSEARCH_URL" in one_line(done.stderr)


def test_simulate_publishes_what_it_says_keyed_by_card(variables, unique, tmp_path):
    run(tmp_path, "setup", **variables)
    words = ("--rate", "400", "--transactions", "300", "--attack-share", "0.3", "--labels", "labels.jsonl")
    done = run(tmp_path, "simulate", *words, **variables)

    assert done.returncode == 0, done.stderr
    assert "300 transactions confirmed" in done.stdout
    published = records(variables["FRAUD_KAFKA_BOOTSTRAP"], f"{unique}transactions", 300)
    assert len({value["transaction_id"] for _, value in published}) == 300
    assert all(key.decode() == value["card_id"] for key, value in published)
    labelled = [json.loads(line) for line in (tmp_path / "labels.jsonl").read_text().splitlines()]
    assert labelled
    assert {one["transaction_id"] for one in labelled} < {value["transaction_id"] for _, value in published}


def test_simulate_without_topics_says_how_to_make_them(variables, tmp_path):
    done = run(tmp_path, "simulate", "--transactions", "1", **variables)

    assert done.returncode == 69
    assert "fraudstream setup" in one_line(done.stderr)


def test_simulate_ends_in_good_order_when_asked(variables, unique, tmp_path):
    run(tmp_path, "setup", **variables)
    process = subprocess.Popen(
        [*COMMAND, "simulate", "--rate", "100"],
        cwd=tmp_path,
        env=clean_environment(**variables),
        stdout=subprocess.PIPE,
        text=True,
    )
    records(variables["FRAUD_KAFKA_BOOTSTRAP"], f"{unique}transactions", 10)

    process.send_signal(signal.SIGTERM)

    output, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "transactions confirmed" in output
