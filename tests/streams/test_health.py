"""The state of a role in one word, and what follows from it for probes."""

from __future__ import annotations

import json

import pytest

from streams.watch.health import Health
from streams.watch.lag import Progress
from tests.features.test_outage import Clock


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def health(clock):
    return Health("score", clock_s=clock)


def ready(health: Health) -> Health:
    health.assigned([1, 0])
    health.ready()
    return health


def statuses(health: Health) -> tuple[int, int, int]:
    return tuple(health.answer(path, "").status for path in ("/health", "/health/ready", "/health/live"))


def test_it_starts_live_and_not_ready(health):
    assert health.state() == "starting"
    assert statuses(health) == (503, 503, 200)


def test_it_is_ready_once_its_assignment_is_taken_over(health):
    health.assigned([1, 0])
    assert statuses(health) == (503, 503, 200)
    health.ready()
    assert health.state() == "ready"
    assert statuses(health) == (200, 200, 200)


def test_a_worker_without_partitions_is_ready(health):
    health.assigned([])
    health.ready()
    assert statuses(health) == (200, 200, 200)


def test_what_is_waited_for_is_named(health, clock):
    ready(health).outages["redis"].failed("connection refused")
    clock.now_s += 30
    report = json.loads(health.answer("/health", "").body)

    assert report["state"] == "waiting"
    assert statuses(health) == (503, 503, 200)
    (waited,) = report["waits_for"]
    assert (waited["server"], waited["variable"], waited["for_s"]) == ("redis", "FRAUD_REDIS_URL", 30)
    assert waited["since"].endswith("Z")

    health.outages["redis"].answered()
    assert health.state() == "ready"
    assert statuses(health) == (200, 200, 200)


def test_a_hiccup_is_no_reason_to_be_not_ready(health, clock):
    ready(health).outages["kafka"].failed("x")
    clock.now_s += 5
    assert (health.state(), health.is_ready()) == ("waiting", True)
    clock.now_s += 6
    assert (health.state(), health.is_ready()) == ("waiting", False)


def test_a_role_that_may_degrade_stays_ready_without_redis_and_not_without_kafka(clock):
    health = ready(Health("score", degrades=True, clock_s=clock))
    health.outages["redis"].failed("x")
    clock.now_s += 100
    assert (health.state(), health.is_ready()) == ("degraded", True)
    health.outages["kafka"].failed("x")
    clock.now_s += 100
    assert (health.state(), health.is_ready()) == ("waiting", False)


def test_a_rebuild_is_told_with_its_records(health):
    ready(health)
    health.rebuilding[0] = 0
    assert health.state() == "ready"
    health.rebuilding[0] = 700
    assert (health.state(), health.is_ready()) == ("rebuilding", False)
    assert health.report()["rebuilding"] == {"0": 700}
    del health.rebuilding[0]
    assert health.is_ready()


def test_a_batch_that_does_not_end_is_stuck(health, clock):
    ready(health).batch_begins()
    clock.now_s += 119
    assert health.state() == "ready"
    clock.now_s += 2
    assert (health.state(), statuses(health)) == ("stuck", (503, 503, 200))
    health.batch_done([])
    assert health.state() == "ready"


def test_draining_comes_before_everything(health):
    ready(health).outages["redis"].failed("x")
    health.draining()
    assert (health.state(), statuses(health)) == ("draining", (503, 503, 200))


def test_a_loop_that_has_stopped_is_not_live(health, clock):
    ready(health).turned()
    clock.now_s += 59
    assert statuses(health) == (200, 200, 200)
    clock.now_s += 2
    assert statuses(health) == (503, 503, 503)
    health.turned()
    assert statuses(health) == (200, 200, 200)


def test_the_brokers_connection_is_an_outage_as_any(health):
    ready(health).progressed({0: Progress(3, 5, 10)}, connected=False)
    assert health.state() == "waiting"
    health.progressed({0: Progress(3, 5, 10), 1: Progress(9, 9, 9)}, connected=True)
    assert health.state() == "ready"
    assert health.report()["lag"] == 7


def test_other_paths_are_not_there(health):
    assert health.answer("/", "").status == 404
    assert b"/health/ready" in health.answer("/nope", "").body


def test_metrics_come_in_the_format_that_is_asked_for(health):
    plain, open_metrics = health.answer("/metrics", ""), health.answer("/metrics", "application/openmetrics-text")

    assert plain.content_type.startswith("text/plain")
    assert open_metrics.content_type.startswith("application/openmetrics-text")
    assert open_metrics.body.endswith(b"# EOF\n")
