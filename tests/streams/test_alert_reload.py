"""Routes that change while the role runs: what can be used takes effect, what cannot changes nothing, none is lost."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from features.hidden import hidden
from features.outage import Outage
from scoring.stamp import Watched
from streams.alert.desk import Desk
from streams.alert.letters import FILE as LETTERS
from streams.alert.load import load_plan
from streams.alert.role import AlertHandler, make_senders
from streams.alert.spool import Spool
from streams.alert.watch import RoutesWatch
from streams.role import at_once
from streams.watch.metrics import AlertMetrics
from tests.streams.alert_records import KEY, NOW_MS, alert, chunk, outcome, record
from tests.streams.receivers import HttpReceiver
from tests.streams.records import Sent, send
from tests.support import wait_until

TOPIC = "processed_transactions"


@pytest.fixture
def receivers():
    made = [HttpReceiver(), HttpReceiver()]
    yield made
    for one in made:
        one.close()


def routes(*, outcomes: str = "[block]", digest: str = "", **urls: str) -> str:
    more = f", digest: {digest}" if digest else ""
    channels = "".join(f'  {name}: {{webhook: "{url}", secret: "{KEY}"{more}}}\n' for name, url in urls.items())
    return f"channels:\n{channels}routes:\n  - {{name: all, outcomes: {outcomes}, channels: [{', '.join(urls)}]}}\n"


class Role:
    """A handler whose routes file is looked at often."""

    def __init__(self, file: Path, folder: Path) -> None:
        self.file, self.registry = file, CollectorRegistry()

        def load():
            of = load_plan(file, {})
            return of, make_senders(of, dry_run=False)

        of, senders = load()
        metrics = AlertMetrics(self.registry, list(of.channels))
        desk = Desk(Spool(folder, of), Outage("spool", "FRAUD_ALERTS_DIR"))
        self.handler = AlertHandler(
            of, senders, desk, lambda: NOW_MS, metrics=metrics, startup_wait_s=5, most_wait_s=0.2,
            watch=RoutesWatch(file, load, lambda: NOW_MS, metrics, look_s=0.02),
        )  # fmt: skip

    async def handle(self, number: int, verdict: str = "block") -> None:
        await self.handler.process(chunk(record(number, outcome(number, fraud={"outcome": verdict}), verdict)), at_once)

    def value(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"fraud_alert_{name}", labels)

    async def put(self, text: str) -> None:
        """Write a file, and wait until it is in force or refused."""
        before = self.value("routes_changes_total")
        self.file.write_text(text)
        await until(
            lambda: self.value("routes_changes_total") > before or self.value("routes_refused") == 1
        )  # fmt: skip


async def until(predicate: Callable[[], bool]) -> None:
    await asyncio.to_thread(wait_until, predicate, 10)


def run(tmp_path: Path, text: str, work: Callable[[Role], Awaitable[None]]) -> None:
    file = tmp_path / "alerts.yaml"
    file.write_text(text)

    async def main() -> None:
        role = Role(file, tmp_path / "spool")
        try:
            await role.handler.start()
            await work(role)
        finally:
            await role.handler.stop()

    asyncio.run(main())


def ids(receiver: HttpReceiver) -> list[str]:
    return [post.headers["webhook-id"] for post in receiver.posts]


def test_other_routes_and_channels_take_effect(tmp_path, receivers):
    cases, desk = receivers

    async def work(role: Role) -> None:
        await role.handle(0)
        await role.handle(1, "review")
        await role.put(routes(outcomes="[block, review]", cases=cases.url(), desk=desk.url("/secret-of-the-desk")))
        await role.handle(2, "review")
        await until(lambda: len(cases.posts) == 2 and len(desk.posts) == 1)
        role.handler.hurry()
        await role.handle(3)
        await until(lambda: len(cases.posts) == 3 and len(desk.posts) == 2)
        assert role.value("routes_changes_total") == 1

    with capture_logs() as logs:
        run(tmp_path, routes(cases=cases.url()), work)
    assert ids(cases) == [alert(n).id for n in (0, 2, 3)]
    assert ids(desk) == [alert(n).id for n in (2, 3)]
    assert [line["channels"] for line in logs if line["event"] == "routes_changed"] == [["cases", "desk"]]
    assert desk.url("/secret-of-the-desk") in hidden()


def test_a_file_that_cannot_be_used_changes_nothing(tmp_path, receivers):
    cases, _ = receivers
    good = routes(cases=cases.url())
    spoils = (lambda file: file.write_text(good[:40]), lambda file: file.write_text("channels: {}"), Path.unlink)

    def refused() -> list[str]:
        return [line["problem"] for line in logs if line["event"] == "routes_refused"]

    async def work(role: Role) -> None:
        for number, spoil in enumerate(spoils):
            spoil(role.file)
            await until(lambda number=number: len(refused()) == number + 1)
            await role.handle(number)
        await until(lambda: len(cases.posts) == len(spoils))
        assert role.value("routes_refused") == 1
        role.file.write_text(good)
        await until(lambda: role.value("routes_refused") == 0)
        assert role.value("routes_changes_total") == 0

    with capture_logs() as logs:
        run(tmp_path, good, work)
    assert all("FRAUD_ALERTS cannot be used" in problem for problem in refused())


def test_what_waits_for_a_channel_goes_where_the_channel_leads_now(tmp_path, receivers):
    """Also what waited for a digest that there is no more."""
    wrong, right = receivers
    wrong.answer = lambda _: 503

    async def work(role: Role) -> None:
        await role.handle(0)
        await until(lambda: len(wrong.posts) >= 1)
        await role.put(routes(digest="1h", cases=wrong.url()))
        await role.handle(1)
        await role.put(routes(cases=right.url()))
        await until(lambda: len(right.posts) == 2)
        assert role.registry.get_sample_value("fraud_alerts_waiting", {"channel": "cases"}) == 0
        assert role.value("channel_away", channel="cases") == 0

    run(tmp_path, routes(cases=wrong.url()), work)
    assert set(ids(right)) == {alert(0).id, alert(1).id}


def test_what_waits_for_a_channel_that_is_gone_becomes_a_dead_letter(tmp_path, receivers):
    cases, desk = receivers
    cases.answer = lambda _: 503

    async def work(role: Role) -> None:
        await role.handle(0)
        await until(lambda: len(cases.posts) >= 1)
        await role.put(routes(desk=desk.url()))
        await role.handle(1)
        await until(lambda: len(desk.posts) == 1)

    run(tmp_path, routes(cases=cases.url()), work)
    [letter] = [json.loads(line) for line in (tmp_path / "spool" / LETTERS).read_text().splitlines()]
    assert (letter["id"], letter["reason"]) == (alert(0).id, "no_channel")


def test_changes_while_alerts_come_lose_none(tmp_path, receivers):
    """The channel moves to and fro while batches are taken in."""
    one, other = receivers
    total = 60

    async def work(role: Role) -> None:
        for number in range(total):
            await role.handle(number)
            if number % 10 == 5:
                role.file.write_text(routes(cases=(other if number % 20 == 5 else one).url()))
            await asyncio.sleep(0.01)
        await until(lambda: {*ids(one), *ids(other)} == {alert(number).id for number in range(total)})
        assert role.value("routes_changes_total") >= 3

    run(tmp_path, routes(cases=one.url()), work)


def test_a_file_is_loaded_once_it_has_stood_still():
    watched = Watched("a")
    assert [watched.is_due(stamp, 0) for stamp in ("a", "b", "c", "c")] == [False, False, False, True]
    watched.refused("c", "broken", 0)
    assert not watched.is_due("c", 1)
    assert watched.is_due("c", 10**9), "what a file asks for may come later"
    watched.loaded("c")
    assert not watched.is_due("c", 10**9)


def test_a_running_role_takes_a_new_file_on_sighup(make_pipeline, receivers, tmp_path):
    first, second = receivers
    file = tmp_path / "routes.yaml"
    file.write_text(routes(cases=first.url()))
    pipeline = make_pipeline(FRAUD_ALERTS=str(file), FRAUD_ALERTS_DIR=str(tmp_path / "spool"))
    role = pipeline.start("alert").wait_ready()

    def block(number: int) -> None:
        send(pipeline, [Sent(outcome(number), 0, b"tok_a", (("outcome", b"block"),))], TOPIC)

    block(0)
    wait_until(lambda: ids(first) == [alert(0).id], 30)
    file.write_text("channels: [")
    role.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "fraud_alert_routes_refused 1.0" in role.get("/metrics")[1], 20)
    block(1)
    wait_until(lambda: ids(first)[1:] == [alert(1).id], 20)
    file.write_text(routes(cases=second.url("/very-secret-path")))
    role.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "fraud_alert_routes_changes_total 1.0" in role.get("/metrics")[1], 20)
    block(2)
    wait_until(lambda: ids(second) == [alert(2).id], 20)
    assert role.stop() == 0, role.log()
    assert "routes_refused" in role.log()
    assert "very-secret-path" not in role.log()
