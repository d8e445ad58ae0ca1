"""What is said of a server that goes away and comes back: each change once, however many attempts there are."""

from __future__ import annotations

from structlog.testing import capture_logs

from features.outage import Outage


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_a_server_that_answers_is_not_spoken_of():
    outage = Outage("redis", "FRAUD_REDIS_URL")
    with capture_logs() as logged:
        outage.answered()
        outage.answered()

    assert logged == []
    assert (outage.since_s, outage.away_s, outage.total_s, outage.failures) == (None, 0, 0, 0)


def test_an_outage_is_two_lines_with_its_duration():
    clock = Clock()
    outage = Outage("redis", "FRAUD_REDIS_URL", clock, lambda: 1_800_000_000.0)
    with capture_logs() as logged:
        for _ in range(20):
            outage.failed("connection refused")
            clock.now_s += 2
        assert outage.since_s == 1_800_000_000.0
        assert outage.away_s == 40
        outage.answered()
        outage.answered()

    away, back = logged
    assert away == {
        "event": "redis_away",
        "log_level": "warning",
        "variable": "FRAUD_REDIS_URL",
        "problem": "connection refused",
    }
    assert (back["event"], back["after_s"], back["attempts"]) == ("redis_back", 40, 20)
    assert (outage.since_s, outage.away_s, outage.total_s, outage.failures) == (None, 0, 40, 20)


def test_a_long_outage_is_said_again_once_a_minute():
    clock = Clock()
    outage = Outage("kafka", "FRAUD_KAFKA_BOOTSTRAP", clock)
    with capture_logs() as logged:
        for _ in range(301):
            outage.failed("down")
            clock.now_s += 1

    assert [entry["event"] for entry in logged] == ["kafka_away", *["kafka_still_away"] * 5]
    assert [entry["away_s"] for entry in logged[1:]] == [60, 120, 180, 240, 300]


def test_each_outage_is_counted_from_its_own_begin():
    clock = Clock()
    outage = Outage("redis", "FRAUD_REDIS_URL", clock)
    with capture_logs() as logged:
        for _ in range(3):
            outage.failed("away")
            clock.now_s += 5
            outage.answered()
            clock.now_s += 100

    assert [entry["event"] for entry in logged] == ["redis_away", "redis_back"] * 3
    assert [entry["attempts"] for entry in logged if "attempts" in entry] == [1, 1, 1]
    assert outage.total_s == 15
