"""Alerts on disk: each once, through restarts; throttles, digests, and what cannot be kept."""

from __future__ import annotations

import json
import stat
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import ConfigError
from streams.alert.errors import SpoolAway
from streams.alert.letters import FILE as LETTERS
from streams.alert.plan import Plan, Throttle
from streams.alert.spool import FILE, Offer, Spool
from tests.streams.alert_records import DAY_MS, NOW_MS, alert, plan, webhook


def offer(
    number: int | str, channel: str = "cases", key: str = "", limit: Throttle | None = None, **how: bool
) -> Offer:
    throttles = [] if limit is None else [(key, limit)]
    return Offer(channel, alert(number), throttles, waits=how.get("waits", False), urgent=how.get("urgent", True))


def opened(folder: Path, of: Plan | None = None) -> Spool:
    spool = Spool(folder, of or plan(webhook()))
    spool.open()
    return spool


@pytest.fixture
def spool(tmp_path):
    made = opened(tmp_path / "spool")
    yield made
    made.close()


def letters(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / LETTERS).read_text().splitlines()]


def drained(spool: Spool, channel: str = "cases") -> list[str]:
    ids = []
    while (message := spool.next(channel, urgent_only=False)) is not None:
        ids.append(message.id)
        spool.sent(message)
    return ids


def test_an_alert_is_told_once_through_restarts(tmp_path, spool):
    assert spool.put([offer(1), offer(1), offer(1, "desk")], NOW_MS) == {
        ("cases", "queued"): 1, ("cases", "repeated"): 1, ("desk", "queued"): 1,
    }  # fmt: skip
    spool.close()
    again = opened(tmp_path / "spool")
    assert again.waiting == {"cases": 1, "desk": 1}
    assert again.put([offer(1)], NOW_MS) == {("cases", "repeated"): 1}
    assert drained(again) == [alert(1).id]
    assert again.put([offer(1)], NOW_MS + DAY_MS) == {("cases", "repeated"): 1}
    assert again.waiting["cases"] == 0
    assert again.put([offer(1)], NOW_MS + 4 * DAY_MS) == {("cases", "queued"): 1}
    again.close()


def test_messages_are_tried_in_order_and_those_that_failed_after_the_others(spool):
    spool.put([offer(n) for n in range(3)], NOW_MS)
    first = spool.next("cases", urgent_only=False)
    spool.failed(first)

    assert drained(spool) == [alert(n).id for n in (1, 2, 0)]


@settings(max_examples=60, deadline=None)
@given(
    times=st.lists(st.tuples(st.integers(0, 12), st.sampled_from("ab")), min_size=5, max_size=40),
    most=st.integers(1, 3),
    within=st.integers(1, 15),
)
def test_a_throttle_lets_as_many_through_as_it_says(times, most, within):
    passed: dict[str, list[int]] = {"a": [], "b": []}
    held: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        spool = opened(Path(folder))
        now = NOW_MS
        for number, (step, key) in enumerate(times):
            now += step
            (result,) = spool.put([offer(number, key=key, limit=Throttle(most, within))], now)
            if sum(at > now - within for at in passed[key]) < most:
                passed[key].append(now)
                message = spool.next("cases", urgent_only=False)
                assert (result[1], message.alerts[0].held_back) == ("queued", held.pop(key, 0))
                spool.sent(message)
            else:
                held[key] += 1
                assert result[1] == "throttled"
        spool.close()


def test_a_digest_waits_for_its_time_and_keeps_its_id(tmp_path, spool):
    spool.put([offer(1, waits=True)], NOW_MS)
    spool.put([offer(2, waits=True)], NOW_MS + 500)
    assert spool.next("cases", urgent_only=False) is None
    assert spool.digest("cases", NOW_MS - 1, NOW_MS + 999, urgent_only=False) == 0
    assert spool.digest("cases", NOW_MS, NOW_MS + 1_000, urgent_only=False) == 2
    message = spool.next("cases", urgent_only=False)
    assert [one.id for one in message.alerts] == [alert(1).id, alert(2).id]
    assert message.id.startswith("dg_")
    spool.put([offer(3, waits=True)], NOW_MS + 2_000)
    spool.close()

    again = opened(tmp_path / "spool")
    assert again.waiting["cases"] == 3
    assert again.next("cases", urgent_only=False) == message
    again.sent(message)
    # One that waited alone is an alert as any.
    assert again.digest("cases", NOW_MS + 2_000, NOW_MS + 9_000, urgent_only=False) == 1
    assert drained(again) == [alert(3).id]
    assert again.waiting["cases"] == 0
    again.close()


def test_quiet_hours_let_only_urgent_ones_through(spool):
    spool.put([offer(1, waits=True, urgent=False), offer(2), offer(3, urgent=False), offer(4, waits=True)], NOW_MS)

    assert spool.digest("cases", NOW_MS, NOW_MS, urgent_only=True) == 1
    ids = set()
    while (message := spool.next("cases", urgent_only=True)) is not None:
        ids.add(message.id)
        spool.sent(message)
    assert ids == {alert(2).id, alert(4).id}
    assert spool.digest("cases", NOW_MS, NOW_MS, urgent_only=False) == 1
    assert sorted(drained(spool)) == sorted([alert(3).id, alert(1).id])


def test_more_than_may_wait_become_dead_letters(tmp_path):
    spool = opened(tmp_path, plan(webhook(), most_waiting=2))
    results = spool.put([offer(n) for n in range(3)] + [offer(9, "desk")], NOW_MS)

    assert results == {("cases", "queued"): 2, ("cases", "given_up"): 1, ("desk", "queued"): 1}
    (letter,) = letters(tmp_path)
    assert (letter["reason"], letter["channel"], letter["id"]) == ("overflow", "cases", alert(2).id)
    assert letter["alerts"][0]["transaction_id"] == "tx-2"
    spool.close()


def test_what_a_line_was_cut_short_of_does_not_swallow_the_next(tmp_path):
    spool = opened(tmp_path)
    (tmp_path / LETTERS).write_bytes(b'{"cut')
    spool.put([offer(1)], NOW_MS)
    spool.bury(spool.next("cases", urgent_only=False), "refused", "no", NOW_MS)

    cut, whole = (tmp_path / LETTERS).read_text().splitlines()
    assert (cut, json.loads(whole)["id"]) == ('{"cut', alert(1).id)
    assert spool.waiting["cases"] == 0
    spool.close()


def test_channels_that_are_gone_become_dead_letters(tmp_path, spool):
    spool.put([offer(1), offer(2, "gone"), offer(3, "gone", waits=True), offer(4, "gone", waits=True)], NOW_MS)

    assert spool.bury_others({"cases"}, NOW_MS) == 3
    assert [one["reason"] for one in letters(tmp_path / "spool")] == ["no_channel"] * 2
    assert drained(spool) == [alert(1).id]


def test_only_the_owner_reads_it(tmp_path, spool):
    spool.put([offer(1)], NOW_MS)
    spool.bury(spool.next("cases", urgent_only=False), "refused", "no", NOW_MS)
    folder = tmp_path / "spool"

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}


def test_one_folder_has_one_owner(tmp_path, spool):
    with pytest.raises(SpoolAway, match="another alert role"):
        opened(tmp_path / "spool")
    spool.close()
    opened(tmp_path / "spool").close()


def test_a_damaged_file_is_named_and_not_overwritten(tmp_path):
    (tmp_path / FILE).write_bytes(b"no database at all, but long enough to have a header" * 50)
    before = (tmp_path / FILE).read_bytes()

    with pytest.raises(ConfigError, match=r"FRAUD_ALERTS_DIR.*damaged"):
        opened(tmp_path)
    assert (tmp_path / FILE).read_bytes() == before


def test_a_put_that_fails_has_done_nothing(tmp_path):
    spool = opened(tmp_path, plan(webhook(), most_waiting=1))
    (tmp_path / LETTERS).mkdir()  # so that the overflow cannot be written

    with pytest.raises(SpoolAway, match="FRAUD_ALERTS_DIR"):
        spool.put([offer(1), offer(2)], NOW_MS)
    (tmp_path / LETTERS).rmdir()
    assert spool.put([offer(1), offer(2)], NOW_MS) == {("cases", "queued"): 1, ("cases", "given_up"): 1}
    spool.close()
