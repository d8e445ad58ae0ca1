"""The handler of the alert role with real receivers: who hears what, when, and how often."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from features.errors import BatchRevoked
from features.outage import Outage
from streams.alert.courier import Courier
from streams.alert.desk import Desk
from streams.alert.letters import FILE as LETTERS
from streams.alert.message import decode_outcome
from streams.alert.plan import Plan, QuietHours, Throttle
from streams.alert.role import AlertHandler, make_senders, offers_of
from streams.alert.spool import Spool
from streams.role import at_once
from streams.watch.metrics import AlertMetrics
from tests.streams.alert_records import DAY_MS, NOW_MS, alert, chunk, outcome, plan, record, route, webhook
from tests.streams.receivers import HttpReceiver
from tests.support import wait_until


class Clock:
    """The time that the role believes it is."""

    def __init__(self) -> None:
        self.now_ms = NOW_MS

    def __call__(self) -> int:
        return self.now_ms


class Role:
    """A handler on a folder, and what it counts."""

    def __init__(self, of: Plan, folder: Path, clock: Clock, *, dry_run: bool = False) -> None:
        self.registry, self.clock = CollectorRegistry(), clock
        self.desk = Desk(Spool(folder, of), Outage("spool", "FRAUD_ALERTS_DIR"))
        self.handler = AlertHandler(
            of, make_senders(of, dry_run=dry_run), self.desk, clock,
            metrics=AlertMetrics(self.registry, list(of.channels)), startup_wait_s=5, most_wait_s=0.2,
        )  # fmt: skip

    async def handle(self, *records) -> None:
        await self.handler.process(chunk(*records), at_once)

    def count(self, result: str, channel: str = "cases") -> float:
        return self.registry.get_sample_value("fraud_alerts_total", {"channel": channel, "result": result})

    def value(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def receivers():
    made = [HttpReceiver(), HttpReceiver()]
    yield made
    for one in made:
        one.close()


@pytest.fixture
def first(receivers):
    return receivers[0]


def run(
    of: Plan, folder: Path, clock: Clock, work: Callable[[Role], Awaitable[None]], *, dry_run: bool = False
) -> Role:
    async def main() -> Role:
        role = Role(of, folder, clock, dry_run=dry_run)
        try:
            await role.handler.start()
            await role.handler.assigned({0: None})
            await work(role)
        finally:
            await role.handler.stop()
        return role

    return asyncio.run(main())


async def until(predicate: Callable[[], bool], timeout_s: float = 10) -> None:
    await asyncio.to_thread(wait_until, predicate, timeout_s)


def ids(receiver: HttpReceiver) -> list[str]:
    return [post.headers["webhook-id"] for post in receiver.posts]


def test_who_must_hear_of_it_does_and_only_once(tmp_path, clock, first):
    of = plan(webhook(url=first.url()))

    async def work(role):
        block = record(0, outcome(0))
        others = [
            record(1, outcome(1, fraud={"outcome": "approve"}), "approve"),
            record(2, outcome(2, fraud={"outcome": "approve"}), None),
            record(3, outcome(3, fraud={"outcome": "review"}), "review"),
        ]
        await role.handle(block, *others)
        await role.handle(block, *others)
        await until(lambda: role.count("sent") == 2)

    role = run(of, tmp_path, clock, work)
    assert ids(first) == [alert(0).id, alert(3).id]
    assert (role.count("queued"), role.count("repeated")) == (2, 2)
    again = run(of, tmp_path, clock, lambda role: role.handle(record(0, outcome(0))))
    assert again.count("repeated") == 1
    assert len(first.posts) == 2


def test_an_outage_of_one_channel_delays_no_other(tmp_path, clock, receivers):
    good, bad = receivers
    bad.hanging.clear()
    of = plan(webhook("bad", bad.url(), timeout_s=0.5), webhook("good", good.url()))

    async def work(role):
        for number in range(20):
            await role.handle(record(number, outcome(number)))
        await until(lambda: len(good.posts) == 20, timeout_s=5)
        await until(lambda: role.value("fraud_alert_channel_away", channel="bad") == 1)
        assert role.count("sent", "bad") == 0
        assert role.value("fraud_alerts_waiting", channel="bad") == 20
        bad.hanging.set()
        await until(lambda: role.count("sent", "bad") == 20)
        assert role.value("fraud_alert_channel_away", channel="bad") == 0

    run(of, tmp_path, clock, work)
    assert set(ids(bad)) == set(ids(good)) == {alert(n).id for n in range(20)}


def test_what_was_not_sent_is_sent_after_a_restart(tmp_path, clock, first):
    first.answer = lambda _: 503
    of = plan(webhook(url=first.url()))

    async def fails(role):
        await role.handle(record(0, outcome(0)))
        await until(lambda: role.value("fraud_alert_attempts_failed_total", channel="cases") >= 2)

    run(of, tmp_path, clock, fails)
    first.answer = lambda _: 204
    run(of, tmp_path, clock, lambda role: until(lambda: role.count("sent") == 1))
    assert len({post.body for post in first.posts}) == 1
    assert set(ids(first)) == {alert(0).id}


def test_what_is_refused_stops_nothing_and_is_kept(tmp_path, clock, first):
    first.answer = lambda number: 400 if number == 1 else 204

    async def work(role):
        await role.handle(record(0, outcome(0)), record(1, outcome(1)))
        await until(lambda: role.count("sent") == 1)
        assert role.count("given_up") == 1

    run(plan(webhook(url=first.url())), tmp_path, clock, work)
    (letter,) = [json.loads(line) for line in (tmp_path / LETTERS).read_text().splitlines()]
    assert (letter["id"], letter["reason"], letter["detail"]) == (alert(0).id, "refused", "the receiver answers 400")


def test_a_message_that_fails_does_not_stand_before_the_others(tmp_path, clock, first):
    first.answer = lambda _: 503 if first.posts[-1].headers["webhook-id"] == alert(0).id else 204

    async def work(role):
        await role.handle(record(0, outcome(0)), record(1, outcome(1)), record(2, outcome(2)))
        await until(lambda: role.count("sent") == 2)
        clock.now_ms += DAY_MS
        await until(lambda: role.count("given_up") == 1)

    run(plan(webhook(url=first.url())), tmp_path, clock, work)
    assert json.loads((tmp_path / LETTERS).read_text())["reason"] == "gave_up"


def test_the_throttle_says_how_many_it_kept_back(tmp_path, clock, first):
    of = plan(webhook(url=first.url()), routes=[route("cases", per_card=Throttle(1, 60_000))])

    async def work(role):
        await role.handle(*(record(n, outcome(n)) for n in range(3)), record(9, outcome(9, card_id="tok_b")))
        clock.now_ms += 60_000
        await role.handle(record(3, outcome(3)))
        await until(lambda: role.count("sent") == 3)

    role = run(of, tmp_path, clock, work)
    assert role.count("throttled") == 2
    assert [json.loads(post.body)["alert"].get("held_back", 0) for post in first.posts] == [0, 0, 2]


def test_a_digest_goes_out_when_its_time_has_come(tmp_path, clock, first):
    async def work(role):
        await role.handle(*(record(n, outcome(n)) for n in range(3)))
        assert first.posts == []
        clock.now_ms += 60_000
        await until(lambda: role.count("sent") == 3)
        assert role.count("digested") == 3

    run(plan(webhook(url=first.url(), digest_ms=60_000)), tmp_path, clock, work)
    (post,) = first.posts
    assert [one["transaction_id"] for one in json.loads(post.body)["alerts"]] == ["tx-0", "tx-1", "tx-2"]


def test_quiet_hours_hold_back_what_is_not_urgent(tmp_path, clock, first):
    minute = NOW_MS // 60_000 % 1440
    quiet = QuietHours(minute, (minute + 10) % 1440, "UTC", frozenset({"block"}))

    async def work(role):
        review = outcome(1, fraud={"outcome": "review"})
        await role.handle(record(0, outcome(0)), record(1, review, "review"))
        await until(lambda: role.count("sent") == 1)
        clock.now_ms += 9 * 60_000
        await role.handle(record(2, outcome(2)))
        await until(lambda: role.count("sent") == 2)
        assert role.value("fraud_alerts_waiting", channel="cases") == 1
        clock.now_ms += 2 * 60_000
        await until(lambda: role.count("sent") == 3)

    run(plan(webhook(url=first.url(), quiet=quiet)), tmp_path, clock, work)
    assert ids(first) == [alert(0).id, alert(2).id, alert(1).id]


def test_what_an_outage_has_kept_until_quiet_hours_waits_for_their_end(tmp_path, clock, first):
    minute = NOW_MS // 60_000 % 1440
    quiet = QuietHours((minute + 5) % 1440, (minute + 10) % 1440, "UTC", frozenset({"block"}))
    first.answer = lambda _: 503

    async def work(role):
        await role.handle(record(0, outcome(0, fraud={"outcome": "review"}), "review"))
        await until(lambda: len(first.posts) >= 2)
        clock.now_ms += 6 * 60_000
        await role.handle(record(1, outcome(1)))
        await until(lambda: first.posts[-1].headers["webhook-id"] == alert(1).id)
        first.answer = lambda _: 204
        await until(lambda: role.count("sent") == 1)
        await role.handle(record(2, outcome(2)))
        await until(lambda: role.count("sent") == 2)
        assert role.value("fraud_alerts_waiting", channel="cases") == 1
        clock.now_ms += 5 * 60_000
        await until(lambda: role.count("sent") == 3)

    run(plan(webhook(url=first.url(), quiet=quiet)), tmp_path, clock, work)
    assert ids(first)[-2:] == [alert(2).id, alert(0).id]


def test_what_is_no_outcome_is_counted_and_stops_nothing(tmp_path, clock, first):
    bad = [
        None, b"", b"{", b"[]", b"1", b"[" * 100_000, b"\xff", outcome(0, amount="many"), outcome(0, amount=[1]),
        outcome(0, amount=-1), outcome(0, card_id=7), outcome(0, card_id="\ud800"), outcome(0, fraud={"score": "x"}),
        outcome(0, fraud={"reasons": 3}), b"{}",
    ]  # fmt: skip

    async def work(role):
        await role.handle(*(record(n, value) for n, value in enumerate(bad)), record(99, outcome(99)))
        await until(lambda: role.count("sent") == 1)

    with capture_logs() as logs:
        role = run(plan(webhook(url=first.url())), tmp_path, clock, work)
    rejected = [line for line in logs if line["event"] == "outcome_rejected"]
    assert [line["offset"] for line in rejected] == list(range(len(bad)))
    assert role.value("fraud_alert_outcomes_rejected_total", reason="empty") == 2
    assert ids(first) == [alert(99).id]


def test_what_is_too_old_is_not_told(tmp_path, clock, first):
    async def work(role):
        await role.handle(
            record(0, outcome(0), at_ms=NOW_MS - DAY_MS - 1), record(1, outcome(1), at_ms=NOW_MS - DAY_MS)
        )
        await until(lambda: role.count("sent") == 1)

    role = run(plan(webhook(url=first.url())), tmp_path, clock, work)
    assert ids(first) == [alert(1).id]
    assert role.value("fraud_alert_outcomes_stale_total") == 1


def test_a_batch_whose_partitions_are_gone_tells_nothing(tmp_path, clock, first):
    async def gone():
        raise BatchRevoked("gone")

    async def work(role):
        with pytest.raises(BatchRevoked):
            await role.handler.process(chunk(record(0, outcome(0))), gone)
        assert role.desk.waiting("cases") == 0

    run(plan(webhook(url=first.url())), tmp_path, clock, work)
    assert first.posts == []


def test_a_folder_that_cannot_be_written_is_waited_for(tmp_path, clock, first):
    of = plan(webhook(url=first.url()), most_waiting=1)
    first.answer = lambda _: 503

    async def work(role):
        (tmp_path / LETTERS).mkdir()
        put = asyncio.ensure_future(role.handle(record(0, outcome(0)), record(1, outcome(1))))
        await until(lambda: role.desk._outage.since_s is not None)
        assert not put.done()
        (tmp_path / LETTERS).rmdir()
        await put
        assert role.desk._outage.since_s is None

    role = run(of, tmp_path, clock, work)
    assert (role.count("queued"), role.count("given_up")) == (1, 1)


def test_a_fault_of_ours_in_one_channel_stops_no_other(tmp_path, clock, receivers, monkeypatch):
    good, bad = receivers
    of = plan(webhook("bad", bad.url()), webhook("good", good.url()))
    real = Courier.carry

    async def carry(self, message, now_ms):
        if message.channel == "bad":
            raise KeyError("a bug")
        await real(self, message, now_ms)

    monkeypatch.setattr(Courier, "carry", carry)

    async def work(role):
        await role.handle(record(0, outcome(0)))
        await until(
            lambda: role.count("sent", "good") == 1 and role.value("fraud_alert_channel_away", channel="bad") == 1
        )

    with capture_logs() as logs:
        run(of, tmp_path, clock, work)
    assert [line["channel"] for line in logs if line["event"] == "channel_failed"] == ["bad"]


def test_a_dry_run_only_says_it(tmp_path, clock, first):
    with capture_logs() as logs:
        run(
            plan(webhook(url=first.url())), tmp_path, clock,
            lambda role: asyncio.gather(role.handle(record(0, outcome(0))), until(lambda: role.count("sent") == 1)),
            dry_run=True,
        )  # fmt: skip

    assert [line["alert"] for line in logs if line["event"] == "alert_not_sent"] == [alert(0).id]
    assert first.posts == []


def test_a_stop_waits_for_no_hanging_channel(tmp_path, clock, first):
    first.hanging.clear()

    async def work(role):
        await role.handle(record(0, outcome(0)))
        await until(lambda: bool(first.posts))

    began_s = time.monotonic()
    run(plan(webhook(url=first.url(), timeout_s=60.0)), tmp_path, clock, work)
    assert time.monotonic() - began_s < 20


@pytest.mark.parametrize(
    ("asked", "matches"),
    [
        ({}, True),
        ({"outcomes": frozenset({"review"})}, False),
        ({"rules": frozenset({"geo"})}, True),
        ({"rules": frozenset({"other"})}, False),
        ({"min_score": 900}, True),
        ({"min_score": 901}, False),
        ({"currencies": frozenset({"USD"})}, False),
    ],
)
def test_a_route_asks_for_what_it_says(asked, matches):
    of = plan(webhook(), routes=[route("cases", **asked)])
    found = offers_of(of, decode_outcome(outcome(1, fraud={"rule": "geo"})), "x", NOW_MS)

    assert bool(found) == matches


def test_of_two_routes_to_one_channel_the_first_counts():
    of = plan(webhook(), webhook("desk"), routes=[route("cases", name="a"), route("desk", "cases", name="b")])
    found = offers_of(of, decode_outcome(outcome(1)), "x", NOW_MS)

    assert {offer.channel: offer.alert.route for offer in found} == {"cases": "a", "desk": "b"}
