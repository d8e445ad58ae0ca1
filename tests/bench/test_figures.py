"""What the benchmark makes of what it measured: ratios against a baseline, groups of threads, shares, tables."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from rich.console import Console

from bench import baseline, parts, report
from bench.account import PUBLISH, REST, STAGES, Account, Ledger, stages_of
from bench.accounted import LEDGER
from bench.baseline import Baseline, Compared, Figure, compared, figures_of
from bench.cards import Cards
from bench.index import Indexing
from bench.index import Round as IndexRound
from bench.latency import Latency
from bench.latency import Round as LatencyRound
from bench.machine import Machine
from bench.memory import Memory
from bench.offline import Offline, Side
from bench.pair import Pair, Team
from bench.reference import reference_us, work
from bench.report import Results
from bench.scale import Growth, Hot, folded, hot_share
from bench.spread import Spread
from bench.stages import PARTS
from bench.stages import STAGES as STEPS
from bench.start import Start
from bench.step import Step, most_behind, schedule
from bench.threads import LOOP, OTHERS, cpu_by_group, group_of
from bench.throughput import Pass
from bench.throughput import Round as ThroughputRound
from features.history import unpack
from streams.watch.stages import SCORE_STAGES

MACHINE = Machine("Linux", "some processor", 2, 8 << 30, 0.5, "3.11", "4.3.1", {"numpy": "2"})
ROOT = Path(__file__).resolve().parents[2]
SAY_NAMES = """
import atexit, runpy, sys, threading
sys.path.insert(0, sys.argv[1])
import time
from confluent_kafka import Message
from prometheus_client import CollectorRegistry
from bench import accounted
from streams.role import Chunk
from streams.watch import stages

def work():
    with open(f"/proc/self/task/{threading.get_native_id()}/comm") as file:
        print(file.read().strip())

def run(*_, **__):
    thread = threading.Thread(target=work, name="a-thread")
    thread.start()
    thread.join()
    watch = stages.Stages(CollectorRegistry(), stages.SCORE_STAGES)
    chunk = Chunk("t", 0, [Message("t", 0, 1, b"k", b"v")] * 4)
    for _ in range(4):
        watch.begin([chunk], 0)
        began = time.thread_time()
        while time.thread_time() - began < 0.015:
            pass
        watch.lap("decode")
        time.sleep(0.01)

runpy.run_module = run
accounted.main()
"""
NOW_MS = 1_767_323_050_000


def one_pass(per_s, cpu_us=20.0, redis_cpu_us=4.0):
    return Pass(per_s, cpu_us, 10.0, redis_cpu_us, 0.01)


def latency(p50_ms):
    return Latency(p50_ms, 2 * p50_ms, 3 * p50_ms, 4 * p50_ms, 0.3, 0.1)


def account(whole=40.0):
    stages = dict.fromkeys((*STAGES, PUBLISH, REST), 3.0)
    return Account(stages, {LOOP: 27.0, "librdkafka": 11.0}, 2.0, whole, 30_000.0, 2_000.0)


def everything(**changed):
    steps = dict.fromkeys((*STEPS, *PARTS), Spread(1.0, 1.5, 2.0))
    whole = {
        "began": "2026-01-02T03:04:05.000Z", "seconds": 700.0, "quick": False, "machine": MACHINE,
        "settings": {"cards": 10_000}, "reference_us": 4_000.0, "stages": {20: steps, 500: steps},
        "memory": Memory(10, 250, 140.0, 28.0),
        "throughput": [ThroughputRound(one_pass(30_000.0), one_pass(80_000.0, redis_cpu_us=0.0))],
        "account": [account()],
        "latency": {1000: [LatencyRound(latency(4.0), latency(2.0))]},
        "step": [Step(60, 600_000, 0, 1, 900, -0.1, 12.0, 3.0)],
        "cards": [Growth(one_pass(30_000.0), one_pass(25_000.0, 21.0, 5.4))],
        "hot": [Hot(one_pass(30_000.0), one_pass(25_000.0, 24.0, 6.0), 0.25)],
        "pair": [Pair(Team(30_000.0, [1.0], (1.0, 0.4, 0), 1.6), Team(45_000.0, [0.4, 0.6], (1.2, 0.5, 0), 1.9), 2)],
        "index": [IndexRound(Indexing(5_000.0, 30.0, 200.0), Indexing(4_000.0, 40.0, 210.0))],
        "start": [Start(3.5, 2.5)],
        "offline": Offline(1_000, 10, Side(1.0, 1.0, 1 << 27), Side(2.0, 2.0, 1 << 28), 0.5, 300, 0),
    }  # fmt: skip
    return Results(**whole | changed)


# --- regressions


@pytest.mark.parametrize(
    ("better", "before", "now", "worse"),
    [("more", 0.4, 0.2, 2.0), ("more", 0.2, 0.4, 0.5), ("less", 10.0, 15.0, 1.5), ("less", 15.0, 10.0, 2 / 3)],
)
def test_a_figure_is_worse_by_how_many_times(better, before, now, worse):
    stored = Baseline("2026-01-02", "some", {"a": Figure(before, better, 1.6)})

    (found,) = compared(stored, {"a": Figure(now, better, 99.0), "unknown": Figure(1, better, 1.0)})

    assert (found.name, found.before, found.now, found.tolerance) == ("a", before, now, 1.6)
    assert found.worse == pytest.approx(worse)
    assert found.regressed is (worse > 1.6)


def test_what_was_not_measured_is_not_compared():
    assert compared(Baseline("", "", {"a": Figure(1, "less", 1.6)}), {}) == []


def test_no_figure_is_a_time_alone():
    """A machine on which everything takes twice as long has the same figures."""
    slow = everything(
        reference_us=8_000.0,
        stages={20: dict.fromkeys((*STEPS, *PARTS), Spread(2.0, 3.0, 4.0))},
        throughput=[ThroughputRound(one_pass(15_000.0), one_pass(40_000.0))],
        account=[account(whole=80.0)],
        latency={1000: [LatencyRound(latency(8.0), latency(4.0))]},
    )

    found, ours = figures_of(slow), figures_of(everything())

    assert len(found) == 4
    assert found == {name: ours[name] for name in found}


def test_a_baseline_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "baseline.json"
    assert baseline.load(path) is None

    baseline.store(everything(), path)

    stored = baseline.load(path)
    assert stored is not None
    assert stored.figures == figures_of(everything())
    assert {one.worse for one in compared(stored, figures_of(everything()))} == {1.0}


def test_the_baseline_in_the_checkout_is_one_of_a_quick_run():
    stored = baseline.load()
    if stored is None:
        pytest.skip("not written yet")
    assert {name.partition(",")[0] for name in stored.figures} >= {"events/s", "CPU per event / reference"}
    assert all(one.value > 0 and one.tolerance > 1 for one in stored.figures.values())


def test_the_reference_is_a_fixed_piece_of_work():
    assert work() == work()
    assert reference_us() > 100


# --- accounts


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("rdk:main", "librdkafka"), ("rdk:broker1", "librdkafka"), ("kafka-poll", "poll thread"),
        ("kafka-publish", "publish thread"), ("log", "log lines"), ("http", "health and metrics"), ("python", OTHERS),
    ],
)  # fmt: skip
def test_threads_are_told_apart_by_their_names(name, group):
    assert group_of(11, 10, name) == group
    assert group_of(10, 10, name) == LOOP


def test_the_threads_of_a_process_are_counted_by_group(tmp_path):
    def add(thread, name, user, system):
        folder = tmp_path / "10" / "task" / str(thread)
        folder.mkdir(parents=True)
        (folder / "stat").write_text(f"{thread} ({name}) S {' '.join('0' * 10)} {user} {system} 0 0 20 0\n")

    add(10, "python", 300, 50)
    add(11, "rdk:main", 10, 5)
    add(12, "rdk:broker 1) (", 20, 5)
    (tmp_path / "10" / "task" / "13").mkdir()  # has ended meanwhile
    per_s = os.sysconf("SC_CLK_TCK")

    assert cpu_by_group(10, tmp_path) == {LOOP: 350 / per_s, "librdkafka": 40 / per_s}


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="this system counts threads otherwise")
def test_a_living_process_has_an_event_loop():
    assert cpu_by_group(os.getpid())[LOOP] > 0


def test_the_stages_and_the_rest_add_up_to_the_event_loop():
    ledger = Ledger(1_000, loop_s=0.04, handed_over_s=0.003, stages_s=dict.fromkeys(SCORE_STAGES, 0.002))

    loop, stages = stages_of(ledger)

    assert loop == pytest.approx(40)
    assert stages == pytest.approx(dict.fromkeys(STAGES, 2.0) | {PUBLISH: 3.0, REST: 40.0 - 20.0 - 3.0})


def test_every_stage_of_the_role_is_accounted_for():
    """But for `deliver`, the age of the oldest record of a batch: it takes no time of anybody's."""
    assert {*STAGES, PUBLISH} == {*SCORE_STAGES} - {"deliver"}


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="this system names no threads")
def test_an_accounted_process_names_its_threads_and_tells_what_it_handed_over():
    """The very program, up to where it becomes the command line, which here names its own threads."""
    ran = subprocess.run(
        [sys.executable, "-P", "-c", SAY_NAMES, str(ROOT)], capture_output=True, text=True, timeout=60, check=True
    )

    named, told = ran.stdout.splitlines()
    assert named == "a-thread"
    ledger = msgspec.json.decode(told.removeprefix(LEDGER), type=Ledger)
    assert ledger.events == 8  # of the second batch and the third
    assert 0.02 < ledger.stages_s["decode"] < ledger.loop_s


# --- loads


def test_a_step_is_between_two_quiet_times():
    after_ns, first, last = schedule(3)

    assert np.all(np.diff(after_ns) > 0)
    assert last - first == 30_000
    assert (after_ns[first], after_ns[last]) == (3e9, 6e9)


def test_how_far_behind_counts_what_is_due_and_has_not_come():
    due = np.arange(0, 100, 10)

    assert most_behind(due, due + 1) == 1
    assert most_behind(due, np.full(10, 200)) == 10
    assert most_behind(due[:0], due[:0]) == 0


def test_a_hot_card_comes_as_often_as_in_life():
    cards = Cards(100, 1, NOW_MS, hot_per_week=100_000)
    records = cards.records(20_000, "x-")

    assert len(cards.names) == 101
    share = sum(sent.card == 100 for sent in records) / len(records)
    assert share == pytest.approx(hot_share(100), abs=0.01)


def test_a_hot_history_is_folded_as_the_role_folds_it():
    cards = Cards(1, 1, NOW_MS)
    packed = cards.history_of(0, 20_000)

    card = unpack([folded(packed)])

    assert card.tiles.any_folded
    assert 4_096 <= card.counts[0] < 5_000
    assert card.counts[0] + card.tiles.of(0)[:, 2].sum() == 20_000


def test_cards_with_few_entries():
    cards = Cards(50, 1, NOW_MS, entries=4)

    assert set(unpack(cards.histories()).counts.tolist()) == {4}


def test_ratios_of_scale():
    growth, hot = everything().cards[0], everything().hot[0]

    assert growth.cpu_ratio == pytest.approx(26.4 / 24)
    assert growth.time_ratio == pytest.approx(1.2)
    assert hot.mixed_ratio == pytest.approx(1.25)
    assert hot.hot_ratio == pytest.approx(2.0)


# --- the report


def printed(results):
    out = io.StringIO()
    report.show(results, Console(file=out, width=140))
    return out.getvalue()


def test_every_part_has_its_table():
    text = printed(everything())

    for words in (
        "CPU us per event by step", "CPU seconds per million events", "Throughput, preloaded", "Latency in ms at 1,000",
        "Load step, 500 -> 10,000 tx/s for 60 s", "Cards 10,000 -> 1,000,000", "transactions a week", "Two score",
        "Documents into OpenSearch", "Start of a worker", "Redis memory", "offline features",
    ):  # fmt: skip
        assert words in text, words
    for stage in (*STAGES, PUBLISH, REST):
        assert stage in text
    assert "0.38 / 0.38 / 0.38" in text  # 30,000 of the relay's 80,000
    assert "1.50 / 1.50 / 1.50" in text  # two processes beside one
    assert "95% of the machine's 2 cores are busy: with the servers" in text


def test_a_part_that_did_not_run_has_no_table():
    empty = Results(began="", quick=True, machine=MACHINE, settings={}, reference_us=1.0)

    assert "min / median / max" not in printed(empty)


def test_the_results_are_json():
    found = json.loads(msgspec.json.encode(everything()))

    assert found["latency"]["1000"][0]["score"]["p50_ms"] == 4.0
    assert msgspec.json.decode(msgspec.json.encode(everything()), type=Results) == everything()


def test_a_regression_is_told_apart_from_noise():
    assert not Compared("a", 1, 1.5, 1.5, 1.6).regressed
    assert Compared("a", 1, 1.7, 1.7, 1.6).regressed


def test_the_parts_of_a_run():
    assert parts.parts_of([], quick=False) == list(parts.PARTS)
    assert parts.parts_of([], quick=True) == list(parts.QUICK_PARTS)
    assert parts.parts_of(["offline", "stages"], quick=True) == ["stages", "offline"]
