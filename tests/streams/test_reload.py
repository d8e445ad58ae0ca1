"""Hot change: what is new is in force within seconds, what is broken is refused, a batch is decided by one policy."""

from __future__ import annotations

import asyncio
import json
import math
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
from prometheus_client import CollectorRegistry

from features.redis_link import connect
from features.stored import Limits
from scoring.manifest import MANIFEST_FILE
from scoring.model import Model
from streams.decisions import Decisions
from streams.lists import ListBook, ListStore
from streams.policy.board import Board
from streams.policy.files import PolicyFiles
from streams.policy.reload import Reloader
from streams.watch.policy_metrics import PolicyMetrics
from tests.support import wait_until

LIMITS = Limits(retention_ms=1, grace_ms=1, clock_skew_ms=1, hot_card_records=16)
RULE = "  - {{id: {id}, when: {when}, outcome: {outcome}, reason: why}}\n"


def rules_of(*rules: tuple[str, str, str], lists: str = "") -> str:
    return lists + "rules:\n" + "".join(RULE.format(id=i, when=w, outcome=o) for i, w, o in rules)


class Worker:
    """A reloader on real files and a real Redis, looked at step by step."""

    def __init__(self, folder: Path, model: Path, url: str, prefix: str) -> None:
        self.rules, self.model = folder / "rules.yaml", folder / "model"
        shutil.copytree(model, self.model)
        self.rules.write_text(rules_of(("one", "amount > 5", "review")))
        settings = SimpleNamespace(
            model=str(self.model),
            rules=str(self.rules),
            challenger="",
            shadow_share=1.0,
            canary_share=0.0,
            registry_dir=str(folder / "registry"),
        )
        files = PolicyFiles(settings)
        self.decisions = Decisions(files.load(), LIMITS, "transactions")
        self.client, self.now_ms, self.registry = connect(url), 1_000, CollectorRegistry()
        self.store, self.board = ListStore(self.client, prefix), Board(self.client, prefix)
        self.reloader = Reloader(
            files, self.decisions, book=ListBook(self.store), board=self.board, worker="w",
            now_ms=lambda: self.now_ms, metrics=PolicyMetrics(self.registry, "score"), look_s=3_600,
        )  # fmt: skip

    @property
    def rule_ids(self) -> list[str]:
        return [rule.id for rule in self.decisions.policy.rules.rules]

    def refused(self, part: str = "rules") -> float | None:
        return self.registry.get_sample_value("fraud_policy_refused", {"part": part})

    async def look(self, times: int = 2) -> None:
        """What is new stands still from the first look to the second."""
        for _ in range(times):
            await self.reloader._look()


@pytest.fixture
def drive(servers, unique, model_dir, tmp_path):
    def run(steps) -> None:
        async def all_steps() -> None:
            worker = Worker(tmp_path, model_dir, servers.env()["FRAUD_REDIS_URL"], unique)
            worker.reloader.assigned([0])
            await worker.reloader.start()
            try:
                await steps(worker)
                worker.reloader.check()
            finally:
                await worker.reloader.stop()
                await worker.client.aclose()

        asyncio.run(all_steps())

    return run


def test_new_rules_are_in_force_once_they_have_stood_still(drive):
    async def steps(worker: Worker) -> None:
        before = worker.decisions.policy
        worker.rules.write_text(rules_of(("one", "amount > 5", "review"), ("two", "amount > 9", "block")))
        await worker.look(1)
        assert worker.decisions.policy is before
        await worker.look(1)
        assert worker.rule_ids == ["one", "two"]
        assert worker.decisions.policy.model is before.model
        assert worker.registry.get_sample_value("fraud_policy_changes_total", {"part": "rules"}) == 1
        in_force = worker.decisions.policy
        await worker.look(3)
        assert worker.decisions.policy is in_force

    drive(steps)


def test_a_file_that_is_still_being_written_is_not_loaded(drive):
    async def steps(worker: Worker) -> None:
        whole = rules_of(("a", "amount > 1", "block"), ("b", "amount > 2", "block"), ("c", "amount > 3", "block"))
        for end in range(len(whole) // 2, len(whole) + 1, 7):
            worker.rules.write_text(whole[:end])
            await worker.look(1)
            assert worker.rule_ids == ["one"]
            assert worker.refused() == 0
        worker.rules.write_text(whole)
        await worker.look()
        assert worker.rule_ids == ["a", "b", "c"]

    drive(steps)


@pytest.mark.parametrize("broken", ["rules: [", rules_of(("x", "amuont > 5", "review")), ""])
def test_broken_rules_are_refused_and_the_old_ones_stay(drive, broken):
    async def steps(worker: Worker) -> None:
        before = worker.decisions.policy
        worker.rules.write_text(broken)
        await worker.look()
        assert worker.decisions.policy is before
        assert worker.refused() == 1
        (standing,) = await worker.board.standings(1)
        assert "rules.yaml" in standing.problems["rules"]
        worker.rules.write_text(rules_of(("good", "amount > 5", "review")))
        await worker.look()
        assert worker.rule_ids == ["good"]
        assert worker.refused() == 0
        (standing,) = await worker.board.standings(1)
        assert standing.problems == {}

    drive(steps)


def test_what_a_refused_version_lacked_may_come_later(drive):
    async def steps(worker: Worker) -> None:
        lists = "lists:\n  bad: {field: merchant_id, file: bad.txt}\n"
        worker.rules.write_text(rules_of(("listed", "\"IN_LIST(merchant_id, 'bad')\"", "block"), lists=lists))
        await worker.look()
        assert worker.refused() == 1
        (worker.rules.parent / "bad.txt").write_text("m-1\n")
        await worker.look()
        assert worker.rule_ids == ["one"]
        worker.now_ms += 30_000
        await worker.look()
        assert worker.rule_ids == ["listed"]

    drive(steps)


def test_a_model_is_swapped_and_a_damaged_one_refused(drive):
    async def steps(worker: Worker) -> None:
        old = worker.decisions.policy.model.version
        manifest = json.loads((worker.model / MANIFEST_FILE).read_text())
        manifest["thresholds"] |= {"review": 0.5, "block": 0.6}
        (worker.model / MANIFEST_FILE).write_text(json.dumps(manifest))
        await worker.look()
        new = worker.decisions.policy.model.version
        assert new != old
        assert new == Model.load(worker.model).version
        (worker.model / "model.ubj").write_bytes(b"{}")
        await worker.look()
        assert worker.decisions.policy.model.version == new
        assert worker.refused("model") == 1

    drive(steps)


def test_new_rules_wait_for_their_lists(drive):
    async def steps(worker: Worker) -> None:
        await worker.store.add("cards", "card_id", ["c1"], math.inf, 1_000)
        lists = "lists:\n  cards: {field: card_id, redis: true}\n"
        worker.rules.write_text(rules_of(("listed", "\"IN_LIST(card_id, 'cards')\"", "block"), lists=lists))
        await worker.look()
        assert worker.rule_ids == ["listed"]
        assert worker.decisions.members["cards"].has("c1")
        await worker.store.remove("cards", ["c1"])
        await worker.look(1)
        assert not worker.decisions.members["cards"].has("c1")

    drive(steps)


def test_a_reload_is_answered_once_everything_is_loaded(drive):
    async def steps(worker: Worker) -> None:
        before = worker.decisions.policy
        number = await worker.board.ask()
        (standing,) = await worker.board.standings(1)
        assert standing.answered < number
        # The first look hears of the request; the worker then looks by itself.
        await worker.look(1)
        async with asyncio.timeout(10):
            while standing.answered < number:
                await asyncio.sleep(0.02)
                (standing,) = await worker.board.standings(1)
        assert standing.versions == {"model": before.model.version, "rules": before.rules.version}
        assert worker.decisions.policy is not before

    drive(steps)


def test_a_card_on_a_list_is_blocked_within_seconds(make_pipeline, tmp_path):
    rules = tmp_path / "rules.yaml"
    lists = "lists:\n  stolen: {field: card_id, redis: true}\n"
    rules.write_text(rules_of(("listed", "\"IN_LIST(card_id, 'stolen')\"", "block"), lists=lists))
    pipeline = make_pipeline(FRAUD_RULES=str(rules))
    pipeline.start().wait_ready()
    sent = 0

    def answered() -> dict[str, object]:
        nonlocal sent
        value = b'{"transaction_id":"t%d","card_id":"c7","amount":5,"currency":"EUR","event_time":1700000000000}'
        pipeline.publish([("c7", value % sent)])
        sent += 1
        return pipeline.read("processed_transactions", sent)[-1].value["fraud"]

    assert answered()["rule"] is None
    pipeline.run("list", "add", "stolen", "c7", "--for", "1h")
    wait_until(lambda: answered()["rule"] == "listed", 10)
    blocked = answered()
    assert blocked["outcome"] == "block"
    assert blocked["reasons"][0]["code"] == "rule:listed"
    pipeline.run("list", "remove", "stolen", "c7")
    wait_until(lambda: answered()["rule"] is None, 10)


def test_rules_change_under_load_and_every_outcome_is_decided_by_the_version_that_it_names(make_pipeline, tmp_path):
    """By file, by `fraudstream reload` and by signal; a broken version is refused while records go on."""
    rules = tmp_path / "rules.yaml"
    texts = [rules_of((f"v{n}", f"amount > {n}", ("review", "block")[n % 2])) for n in range(4)]
    rules.write_text(texts[0])
    pipeline = make_pipeline(FRAUD_RULES=str(rules))
    role = pipeline.start().wait_ready()
    sent = 0

    def publish(count: int) -> None:
        nonlocal sent
        pipeline.publish(
            (f"c{i % 50}", b'{"transaction_id":"t%d","card_id":"c%d","amount":%d.5,"currency":"EUR",'
             b'"event_time":1700000000000}' % (i, i % 50, i % 6))
            for i in range(sent, sent + count)
        )  # fmt: skip
        sent += count

    def put(text: str) -> None:
        new = tmp_path / "new"
        new.write_text(text)
        new.replace(rules)

    publish(2_000)
    put(texts[1])
    publish(2_000)
    versions = pipeline.run("reload").stdout
    assert "rules rs-" in versions
    publish(2_000)
    put("rules: [")
    publish(1_000)
    refused = pipeline.run("reload", check=False)
    assert refused.returncode == 1
    assert "rules.yaml" in refused.stdout
    publish(1_000)
    put(texts[2])
    role.process.send_signal(signal.SIGHUP)
    wait_until(lambda: 'fraud_policy_refused{part="rules"} 0.0' in role.get("/metrics")[1], 30)
    publish(2_000)

    got = pipeline.read("processed_transactions", sent)

    assert len(got) == sent == len({record.value["transaction_id"] for record in got})
    seen: dict[str, set[str]] = {}
    for record in got:
        fraud, amount = record.value["fraud"], record.value["amount"]
        decided_by = {fraud["rule"]} - {None}
        seen.setdefault(fraud["ruleset"], set()).update(decided_by)
        if fraud["rule"] is not None:
            number = int(fraud["rule"].removeprefix("v"))
            assert amount > number
            assert fraud["outcome"] == ("review", "block")[number % 2]
    # Every version of the rules has one rule of its own, and every outcome names the version of its rule.
    assert sorted(seen.values(), key=sorted) == [{"v0"}, {"v1"}, {"v2"}]
    assert role.stop() == 0
