"""A shortened fault matrix: the same code as `make faults`, lower and shorter load."""

from __future__ import annotations

import pytest

from faults.alert_faults import AlertsKilled
from faults.server_faults import SearchAway

# Longest of all with a busy machine; the matrix waits for what is slow, and says what never came.
pytestmark = pytest.mark.timeout(400)


def assert_good(result):
    assert result.good, (result.repeated, result.bound, result.notes)
    assert result.lost == result.wrong == result.differing == 0


@pytest.mark.slow
def test_a_worker_killed_in_the_middle_of_its_publish(run):
    result = run("kill -9 in the middle of the publish", load_s=8.0)
    assert_good(result)
    assert result.repeated > 0
    assert result.dead_letters > 0
    assert result.ends == [-9]


@pytest.mark.slow
def test_a_zombie_is_fenced(run):
    result = run("zombie: stopped past its session, then woken", load_s=18.0)
    assert_good(result)
    assert set(result.ends) <= {75}


@pytest.mark.slow
def test_the_broker_is_killed_and_restarted(run):
    assert_good(run("Kafka broker killed and restarted", load_s=8.0))


@pytest.mark.slow
def test_opensearch_is_away(run):
    result = run("OpenSearch: killed for 30 s", load_s=8.0, fault=lambda: SearchAway(3.0))
    assert_good(result)
    # Nobody waits for it but the index role.
    assert result.pause_s < result.index_pause_s


@pytest.mark.slow
def test_alerts_are_told_through_kills_of_their_role(run):
    result = run("alert worker: kill -9, 3 times", load_s=6.0, fault=lambda: AlertsKilled(2, 3))
    assert_good(result)
    assert result.ends == [-9, -9]
