"""A batch that fails: the record at fault is found and put aside; a fault of our own is not taken for a record's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
import pytest
from redis import Redis

from features.catalogue import FEATURE_NAMES
from features.partition import home_partition
from scoring.model import Matrix, Model
from streams.role import Chunk, at_once
from streams.roles import make_handler
from streams.score import ScoreHandler
from streams.settings import load_settings
from streams.watch.health import Health
from tests.streams.pipeline import Pipeline
from tests.streams.records import now_ms, value_of
from tests.topics import read_messages

ALLERGEN = 666.66
AMOUNT = FEATURE_NAMES.index("amount")


@pytest.fixture
def handler(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> ScoreHandler:
    """The role's handler in this process."""
    for name, value in pipeline.variables.items():
        monkeypatch.setenv(name, value)
    made = make_handler("score", load_settings(None), Health("score"))
    assert isinstance(made, ScoreHandler)
    return made


def run(handler: ScoreHandler, pipeline: Pipeline, batches: list[list[bytes]]) -> None:
    """Publish each batch and let the handler process it."""

    async def work() -> None:
        await handler.start()
        await handler.assigned(dict.fromkeys(range(4)))
        try:
            done = 0
            for batch in batches:
                pipeline.publish((fields_card(value), value) for value in batch)
                done += len(batch)
                rest = await handler.process(taken(pipeline, done, len(batch)), at_once)
                if rest is not None:
                    await rest
        finally:
            await handler.stop()

    asyncio.run(work())


def fields_card(value: bytes) -> str:
    return value.decode().split('"card_id": "')[1].split('"')[0]


def taken(pipeline: Pipeline, count: int, newest: int) -> list[Chunk]:
    """The newest records of the transactions, as the delivery would hand them over."""
    topic = f"{pipeline.prefix}transactions"
    got = read_messages(pipeline.bootstrap, topic, lambda found: len(found) >= count)
    ordered = sorted(got, key=lambda m: m.timestamp()[1])[-newest:]
    return [Chunk(topic, p, part) for p in range(4) if (part := [m for m in ordered if m.partition() == p])]


def allergic(predict: Callable[[Model, Matrix], object], times: int | None = None) -> Callable[[Model, Matrix], object]:
    """A model that cannot stand one amount; with `times` it gets over it."""
    left = [times]

    def predict_or_not(model: Model, x: Matrix) -> object:
        if (np.asarray(x)[:, AMOUNT] == ALLERGEN).any() and left[0] != 0:
            left[0] = None if left[0] is None else left[0] - 1
            raise ValueError("a text that could quote 4111111111111111")
        return predict(model, x)

    return predict_or_not


def transactions(count: int, bad: set[int]) -> list[bytes]:
    return [
        value_of(
            transaction_id=f"t{i}", card_id=f"c{i % 7}", amount=str(ALLERGEN) if i in bad else "10.00",
            event_time=now_ms() - 60_000 + i,
        )
        for i in range(count)
    ]  # fmt: skip


def test_poison_is_found_among_the_others(
    handler: ScoreHandler, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Model, "predict", allergic(Model.predict))
    bad = {3, 17, 18}
    run(handler, pipeline, [transactions(40, bad), [value_of(transaction_id="next", card_id="c3", amount="1.00")]])
    outcomes = {o.value["transaction_id"]: o.value["fraud"] for o in pipeline.read("processed_transactions", 38)}
    assert outcomes.keys() == {f"t{i}" for i in range(40) if i not in bad} | {"next"}
    letters = pipeline.read("transactions.dlq", 3)
    assert [letter.value["reason"] for letter in letters] == ["poison"] * 3
    assert {letter.value["detail"] for letter in letters} == {"scoring it fails: ValueError"}
    assert all(letter.headers["reason"] == b"poison" for letter in letters)
    # Cards 3 and 4 have six each, and lost what was condemned (t3 and t17; t18), and nothing else.
    assert outcomes["t38"]["features"]["num_trans_last_10m"] == 4
    assert outcomes["t39"]["features"]["num_trans_last_10m"] == 5
    assert outcomes["next"]["features"]["num_trans_last_10m"] == 5
    assert "4111111111111111" not in caplog.text


def test_what_fails_once_is_not_condemned(
    handler: ScoreHandler, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Model, "predict", allergic(Model.predict, times=2))
    run(handler, pipeline, [transactions(2, {1})])
    outcomes = pipeline.read("processed_transactions", 2)
    assert {o.value["transaction_id"] for o in outcomes} == {"t0", "t1"}


def test_what_fails_always_is_our_own_fault(
    handler: ScoreHandler, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_model: Model, _x: Matrix) -> object:
        raise ZeroDivisionError

    monkeypatch.setattr(Model, "predict", fail)
    with pytest.raises(ZeroDivisionError):
        run(handler, pipeline, [transactions(5, set())])
    monkeypatch.undo()
    # Nothing was put aside: what comes next is the first record of both topics.
    role = pipeline.start("score").wait_ready()
    outcomes = pipeline.read("processed_transactions", 5)
    assert {o.value["transaction_id"] for o in outcomes} == {f"t{i}" for i in range(5)}
    pipeline.publish([("x", b"no json")])
    (letter,) = pipeline.read("transactions.dlq", 1)
    assert letter.value["reason"] == "not_json"
    assert role.stop() == 0


@pytest.mark.parametrize("damage", [b"garbage", b"", b"\x00" * 7 + b"\x01" + b"x" * 23])
def test_a_damaged_history_is_made_anew(pipeline: Pipeline, redis_client: Redis, damage: bytes) -> None:
    role = pipeline.start("score").wait_ready()
    first = [value_of(transaction_id=f"t{i}", card_id=card, amount="5.00") for i in range(3) for card in ("a", "b")]
    pipeline.publish((fields_card(value), value) for value in first)
    pipeline.read("processed_transactions", 6)
    redis_client.set(f"{pipeline.prefix}hist:{{{home_partition(b'a', 4)}}}:a", damage)
    more = [value_of(transaction_id="t3", card_id=card, amount="5.00") for card in ("a", "b")]
    pipeline.publish((fields_card(value), value) for value in more)
    outcomes = pipeline.read("processed_transactions", 8)
    last = {o.value["card_id"]: o.value["fraud"]["features"] for o in outcomes if o.value["transaction_id"] == "t3"}
    assert [last[card]["num_trans_last_10m"] for card in ("a", "b")] == [4, 4]
    assert "store_corrupt" in role.log()
    assert "fraud_store_repairs_total 1.0" in role.get("/metrics")[1]
    assert role.stop() == 0
