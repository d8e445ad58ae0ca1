"""The report of the fault matrix: figures, table and page."""

from __future__ import annotations

import doctest
import io

import msgspec
import pytest
from rich.console import Console

import faults.events
import faults.timing
from bench.machine import this_machine
from faults.__main__ import main
from faults.fault import FaultError
from faults.report import Report, markdown, table_of
from faults.rows import LEAD_S, ROWS
from faults.runner import Result, not_finished
from faults.timing import catch_up_s, longest_pause_s
from faults.traffic import KINDS

GOOD = Result(
    name="Redis: FLUSHALL", kinds=("copies",), records=24_000, rate=1_999.5, lost=0, wrong=0, repeated=7, bound=7,
    differing=0, dead_letters=12, degraded=0, pause_s=1.25, catch_up_s=2.0, index_pause_s=0.5, index_catch_up_s=3.0,
    ends=[-9], notes=[],
)  # fmt: skip


@pytest.mark.parametrize("module", [faults.events, faults.timing])
def test_examples(module):
    assert doctest.testmod(module).failed == 0


def test_a_pause_is_counted_while_the_load_lasts_and_not_afterwards():
    assert longest_pause_s([100, 200, 1_500], began_ms=0, ended_ms=1_000) == 1.3
    assert longest_pause_s([100, 200, 1_500], began_ms=0, ended_ms=150) == 0.1
    assert longest_pause_s([], began_ms=0, ended_ms=1_000) == 0


def test_catching_up_ends_when_the_backlog_is_back_to_normal_for_good():
    came = list(range(0, 10_000, 10))
    answered = [max(ms + 5, 4_000) for ms in came]
    assert catch_up_s(came, answered, since_ms=3_000, rate=100) == 1.0
    assert catch_up_s(came, [ms + 5 for ms in came], since_ms=3_000, rate=100) == 0.0


@pytest.mark.parametrize(
    "changed", [{"lost": 1}, {"wrong": 1}, {"differing": 1}, {"repeated": 8}, {"notes": ["it did not start"]}]
)
def test_a_row_that_misses_the_goal_is_red(changed):
    bad = msgspec.structs.replace(GOOD, **changed)
    assert GOOD.good
    assert not bad.good
    out = io.StringIO()
    Console(file=out, width=200, color_system="standard", force_terminal=True).print(table_of([GOOD, bad]))
    lines = [line for line in out.getvalue().splitlines() if "FLUSHALL" in line]
    assert ["\x1b[31m" in line for line in lines] == [False, True]


def test_the_page_holds_every_row_and_where_it_comes_from():
    machine = this_machine()
    report = Report("2026-01-02T03:04:05Z", 2_000, 1_260, machine, {"Kafka": "4.3.1"}, [GOOD])
    page = markdown(report)
    assert "| Redis: FLUSHALL | 0 | 0 | 7 | 0 | 12 | 0 | 1.2 | 2.0 | 0.5 | 3.0 | -9 |" in page
    for said in (
        "2026-01-02T03:04:05Z",
        "2,000",
        machine.system,
        "Kafka 4.3.1",
        "21 minutes",
        "Every row met the goal",
    ):
        assert said in page
    assert "Rows that missed the goal: Redis: FLUSHALL" in markdown(
        msgspec.structs.replace(report, results=[msgspec.structs.replace(GOOD, lost=1)])
    )


def test_the_rows_are_told_apart_and_have_three_awkward_kinds_each():
    assert len({row.name for row in ROWS}) == len(ROWS)
    for row in ROWS:
        assert len(set(row.kinds)) == 3
        assert set(row.kinds) <= KINDS.keys()
        assert row.load_s > LEAD_S


def test_rows_are_listed(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["faults", "--list", "--only", "zombie"])
    assert main() == 0
    assert capsys.readouterr().out.startswith("zombie")
    monkeypatch.setattr("sys.argv", ["faults", "--only", "no such row"])
    assert main() == 2


def test_a_row_that_did_not_finish_has_no_figures_and_is_no_success():
    broken = not_finished(ROWS[0], 2_000, FaultError("it did not come back"))
    assert not broken.good
    page = markdown(Report("2026-01-02T03:04:05Z", 2_000, 60, this_machine(), {}, [GOOD, broken]))
    assert f"| {ROWS[0].name} | not finished | - |" in page
    assert f"Rows that missed the goal: {ROWS[0].name}" in page
