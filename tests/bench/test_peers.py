"""The comparison of the peers: what needs no server. The programs themselves run in environments of their own."""

from __future__ import annotations

import importlib
import io
import random
import re
from pathlib import Path

import msgspec
import numpy as np
import pytest
from rich.console import Console

from bench.cards import ENTRIES, Cards
from bench.machine import this_machine
from bench.peers.environment import pinned
from bench.peers.peers import PEERS
from bench.peers.report import RELAY, SCORE, Found, Results, labels, table_of
from bench.peers.speed import Speed, history_records
from bench.peers.truth import KINDS, SHARE, Killed
from bench.peers.verdict import Answer, Verdict, answers_of, judge, misscored, same
from faults.oracle import Expected, Oracle
from faults.readback import Stored
from faults.traffic import Traffic
from features.catalogue import FEATURE_NAMES
from features.history import unpack

NOW_MS = 1_700_000_000_000
REQUIREMENTS = Path(__file__).parents[2] / "bench" / "peers" / "requirements"
FEATURES = {name: float(number) for number, name in enumerate(FEATURE_NAMES, 1)}


@pytest.fixture
def job(monkeypatch):
    """The part that the programs share; it reads its settings where it is imported."""
    for name in ("BROKER", "SOURCE", "SINK", "GROUP", "REDIS", "FOLDER"):
        monkeypatch.setenv(f"PEER_{name}", "nowhere")
    return importlib.import_module("bench.peers.programs.job")


def said(**changed):
    return Expected(**({"amount_minor": 1, "shown_ms": 0, "features": FEATURES} | changed))


def answer(**changed):
    return Answer(FEATURES | changed, 0.5)


def test_the_job_has_the_features_of_the_catalogue_in_the_model_s_order(job):
    assert job.FEATURES == FEATURE_NAMES


@pytest.mark.parametrize(("kinds", "most"), [((), 0.0), (("late",), 0.0), (KINDS, 0.05)])
def test_the_job_answers_as_the_oracle_but_for_what_it_leaves_out(job, kinds, most):
    plan = Traffic(3, 3_000, kinds or ("late",), share=SHARE if kinds else 0.0, now_ms=NOW_MS, partitions=4)
    oracle, histories, expected, answers = Oracle(), {}, {}, {}

    for offset, planned in enumerate(plan.records(3_000)):
        expected[0, offset] = oracle.apply(planned.event, NOW_MS, offset)
        transaction = msgspec.json.decode(planned.value)
        history = histories.setdefault(transaction["card_id"], [])
        if transaction.get("type") == "reversal":
            history[:] = [entry for entry in history if entry[1] != transaction["original_transaction_id"]]
            answers[0, offset] = [Answer(None, None)]
            continue
        row = job.row_of(job.insert(history, transaction), job.decimals(transaction))
        answers[0, offset] = [Answer(dict(zip(job.FEATURES, row, strict=True)), 0.5)]

    verdict = judge(expected, answers)

    assert verdict.judged > 2_500
    assert (verdict.lost, verdict.repeated) == (0, 0)
    assert verdict.wrong_share <= most
    assert bool(verdict.wrong) is (most > 0)


def test_a_copy_has_its_first_s_place_and_an_old_entry_goes(job):
    def transaction(number, days):
        t_ms = NOW_MS + days * 86_400_000
        return {"transaction_id": f"t{number}", "amount": "1.50", "currency": "EUR", "event_time": t_ms}

    history = []
    job.insert(history, transaction(1, 0))
    job.insert(history, transaction(2, 5))
    week = job.insert(history, transaction(1, 5))
    assert [entry[1] for entry in week] == ["t1"]

    assert [entry[1] for entry in job.insert(history, transaction(3, 9))] == ["t2", "t3"]
    assert [entry[1] for entry in history] == ["t2", "t3"]


def test_every_record_is_judged_once_for_each_of_its_answers():
    expected = {
        (0, 0): said(),
        (0, 1): said(),
        (0, 2): said(late_by_ms=5),
        (0, 3): said(duplicate=True),
        (0, 4): said(features=None, reversal="applied"),
        (0, 5): said(late_by_ms=10**9, beyond_grace=True),
    }
    answers = {
        (0, 0): [answer(), answer(amount=99.0)],
        (0, 2): [answer(num_trans_last_1w=0)],
        (0, 3): [answer(), answer()],
        (0, 4): [Answer(None, None)],
        (0, 5): [answer(amount=99.0)],
    }

    assert judge(expected, answers) == Verdict(
        records=6, judged=5, wrong=2, wrong_of={"ordinary": 1, "late": 1, "copy": 0},
        judged_of={"ordinary": 2, "late": 1, "copy": 2}, lost=1, repeated=2, contradicted=1,
    )  # fmt: skip


def test_answers_are_the_same_when_every_feature_is_but_the_amount_before():
    assert same(FEATURES, dict(FEATURES))
    assert same(FEATURES, FEATURES | {"amount": FEATURES["amount"] * (1 + 1e-12)})
    assert not same(FEATURES, FEATURES | {"amount": FEATURES["amount"] * (1 + 1e-6)})
    assert not same(FEATURES, {name: value for name, value in FEATURES.items() if name != "amount"})
    assert same(FEATURES, FEATURES | {"prev_amt": 0.0})
    assert not same(FEATURES, None)
    assert same(None, None)


def test_answers_are_found_by_the_place_of_their_record():
    values = [
        b'{"fraud": {"source": {"partition": 1, "offset": 7}, "features": {"amount": 1.5}, "probability": 0.25}}',
        b'{"fraud": {"source": {"topic": "t", "partition": 0, "offset": 3}}}',
        b'{"fraud": {"source": {"partition": 1, "offset": 7}}}',
    ]
    stored = [Stored((0, offset), 0, None, value, {}) for offset, value in enumerate(values)]

    nothing = Answer(None, None)
    assert answers_of(stored) == {(1, 7): [Answer({"amount": 1.5}, 0.25), nothing], (0, 3): [nothing]}


def test_a_probability_that_is_not_the_model_s_is_found():
    def predict(x):
        return (x[:, 0] / 4).astype(np.float32)

    first = FEATURE_NAMES[0]
    answers = {(0, 0): [Answer(FEATURES | {first: 2}, 0.5)], (0, 1): [Answer(FEATURES | {first: 1}, 0.5)]}

    assert misscored(predict, answers) == 1
    assert misscored(predict, {(0, 0): [Answer(None, None)]}) == 0


def test_a_history_record_holds_what_the_packed_history_holds():
    cards = Cards(3, 1, NOW_MS)
    packed = cards.histories()

    records = [msgspec.json.decode(sent.value) for sent in history_records(cards, packed)]

    assert [record["card_id"] for record in records] == cards.names
    assert [len(record["history"]) for record in records] == [ENTRIES] * 3
    entries = [entry for record in records for entry in record["history"]]
    columns = unpack(packed).entries
    assert [entry[0] for entry in entries] == columns.time_ms.tolist()
    assert [entry[2] for entry in entries] == columns.amount_minor.tolist()
    assert len({entry[1] for entry in entries}) == len(entries)


def test_the_table_has_a_row_per_system_and_ratios_of_one_round():
    rng = random.Random(1)
    verdict = Verdict(
        records=6000, judged=200, wrong=3, wrong_of={}, judged_of={}, lost=0, repeated=1234, contradicted=0
    )
    systems = {
        name: Found(
            label, version, [Speed(1000.0, 50.0, 1.0, 1.0, 10), Speed(500.0 + rng.random(), 50.0, 1.0, 1.0, 10)]
        )
        for name, (label, version) in labels().items()
    }
    systems[SCORE] = Found(
        "score",
        "",
        [Speed(3000.0, 9.0, 1.0, 1.0, 10), Speed(1500.0, 9.0, 1.0, 1.0, 10)],
        verdict,
        Killed(3000, verdict),
    )
    results = Results(
        began="2026-01-01T00:00:00.000Z", quick=True, seconds=1.0, machine=this_machine(), systems=systems,
        settings={"cards": 10, "awkward": 6000, "rounds": 2},
    )  # fmt: skip

    console = Console(width=200, file=io.StringIO())
    console.print(table_of(results))
    text = console.file.getvalue()

    assert results.times(RELAY) == pytest.approx(3.0, rel=0.01)
    assert all(label in text for label, _ in labels().values() if label != "fraudstream score")
    assert "1.50%" in text
    assert "1,234 of 3,000" in text


@pytest.mark.parametrize("name", sorted({peer.environment for peer in PEERS}))
def test_pins_have_hashes_and_name_no_index(name):
    text = (REQUIREMENTS / f"{name}.txt").read_text()
    pins = re.findall(r"^\S+==\S+.*?(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL)

    assert pins
    assert all("--hash=sha256:" in pin for pin in pins)
    assert not re.search(r"https?://|--index|--extra-index|--find-links", text)


def test_quix_streams_has_the_confluent_kafka_that_it_can_use():
    assert tuple(map(int, pinned("quix", "confluent-kafka").split(".")[:2])) < (2, 13)
