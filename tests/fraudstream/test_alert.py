"""`fraudstream alert`: what it says of a routes file, and how it tries the channels."""

from __future__ import annotations

import json

import pytest

from tests.fraudstream.test_cli import run
from tests.streams.receivers import HttpReceiver

KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def receiver():
    made = HttpReceiver()
    yield made
    made.close()


@pytest.fixture
def routes(tmp_path, receiver):
    text = f"""\
channels:
  cases: {{webhook: "{receiver.url("/secret-token")}", secret: "${{CASES_KEY}}", digest: 10m}}
routes:
  - {{name: large, outcomes: [block], min_score: 700, min_amount: 500, channels: [cases]}}
"""
    (tmp_path / "alerts.yaml").write_text(text)


@pytest.mark.usefixtures("routes")
def test_check_shows_what_it_says_without_secrets(tmp_path):
    done = run(tmp_path, "alert", "--check", CASES_KEY=KEY)

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "large: block, score from 700, amount from 500 -> cases",
        "cases: signed webhook, a digest every 600 s",
    ]


@pytest.mark.usefixtures("routes")
def test_what_is_wrong_ends_with_78_and_the_line(tmp_path):
    done = run(tmp_path, "alert")

    assert done.returncode == 78
    assert "alerts.yaml:2: secret: the environment variable CASES_KEY is not set" in done.stderr


def test_a_missing_file_is_named(tmp_path):
    done = run(tmp_path, "alert", FRAUD_ALERTS="nowhere.yaml")

    assert done.returncode == 78
    assert "FRAUD_ALERTS cannot be used: nowhere.yaml" in done.stderr


@pytest.mark.usefixtures("routes")
def test_test_reaches_every_channel(tmp_path, receiver):
    done = run(tmp_path, "alert", "--test", CASES_KEY=KEY)

    assert (done.returncode, done.stdout) == (0, "cases: delivered\n"), done.stderr
    assert json.loads(receiver.posts[0].body)["alert"]["route"] == "test"


@pytest.mark.usefixtures("routes")
def test_test_says_what_fails(tmp_path, receiver):
    receiver.answer = lambda _: 403
    done = run(tmp_path, "alert", "--test", CASES_KEY=KEY)

    assert done.returncode == 69
    assert done.stderr == "cases: failed: the receiver answers 403\n"
    assert "secret-token" not in done.stdout + done.stderr
