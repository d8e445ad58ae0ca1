"""The alert role on a real Kafka, killed again and again: nobody misses an alert, and a repeat is known by its id."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from tests.alerts import alerts, uses
from tests.streams.alert_records import KEY, alert, outcome
from tests.streams.receivers import HttpReceiver
from tests.streams.records import Sent, committed, ends, send, wait_acknowledged
from tests.support import wait_until

ROUTES = """\
channels:
  cases: {{webhook: "{cases}", secret: "${{CASES_KEY}}", timeout: 2s}}
  desk: {{url: "{desk}", timeout: 2s}}
  dead: {{webhook: "{dead}", secret: "${{CASES_KEY}}", timeout: 1s}}
routes:
  - {{name: all, channels: [cases, desk, dead]}}
"""
TOPIC = "processed_transactions"


@pytest.fixture
def receivers():
    made = [HttpReceiver(), HttpReceiver(), HttpReceiver()]
    yield made
    for one in made:
        one.close()


def outcomes(first: int, count: int) -> list[Sent]:
    """One of three is approved; the last of each ten is no outcome at all."""
    made = []
    for number in range(first, first + count):
        verdict = ("block", "approve", "review")[number % 3]
        value = b"{" if number % 10 == 9 else outcome(number, fraud={"outcome": verdict})
        made.append(Sent(value, number % 4, b"tok_a", (("outcome", verdict.encode()),)))
    return made


def wanted(count: int) -> set[str]:
    return {alert(number).id for number in range(count) if number % 3 != 1 and number % 10 != 9}


def test_killed_again_and_again_nothing_is_lost(make_pipeline, receivers, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("CASES_KEY", KEY)
    cases, desk, dead = receivers
    dead.hanging.clear()
    routes = tmp_path / "routes.yaml"
    apprise_url = desk.url().replace("http://", "json://user:pass-word-1@")
    routes.write_text(ROUTES.format(cases=cases.url(), desk=apprise_url, dead=dead.url("/secret-token")))
    pipeline = make_pipeline(
        FRAUD_ALERTS=str(routes), FRAUD_ALERTS_DIR=str(tmp_path / "spool"), FRAUD_LOG_LEVEL="debug"
    )
    sent = 0
    for _ in range(3):
        role = pipeline.start("alert")
        send(pipeline, outcomes(sent, 100), TOPIC)
        sent += 100
        heard = len(cases.posts)
        wait_until(lambda heard=heard: len(cases.posts) >= heard + 15, 60)
        assert role.stop(signal.SIGKILL) == -signal.SIGKILL
    role = pipeline.start("alert").wait_ready()
    wait_acknowledged(pipeline, "alert", TOPIC)
    wait_until(lambda: {post.headers["webhook-id"] for post in cases.posts} == wanted(sent))
    wait_until(lambda: len(desk.posts) >= len(wanted(sent)))
    dead.hanging.set()
    wait_until(lambda: {post.headers["webhook-id"] for post in dead.posts} == wanted(sent), 60)
    bodies = {(post.headers["webhook-id"], post.body) for one in (cases, dead) for post in one.posts}
    assert len(bodies) == len(wanted(sent))
    # At most what was under way at each kill comes again.
    assert len(cases.posts) <= len(wanted(sent)) + 3

    status, report = role.get("/health")
    assert (status, '"state":"ready"' in report) == (200, True)
    metrics = role.get("/metrics")[1]
    asked = {use.metric for alert in alerts() for use in uses(alert.expr) if use.metric.startswith("fraud_alert")}
    assert asked
    assert all(re.search(rf"^{name}[{{ ]", metrics, re.MULTILINE) for name in asked)
    # What was received a moment ago may not have been answered yet.
    wait_until(lambda: 'fraud_alerts_waiting{channel="dead"} 0.0' in role.get("/metrics")[1])
    assert role.stop() == 0, role.log()
    assert committed(pipeline, "alert", TOPIC) == ends(pipeline, TOPIC)
    for one in pipeline.roles:
        assert "Traceback" not in one.log()
        for secret in (KEY, "pass-word-1", "secret-token"):
            assert secret not in one.log()
