"""Dead letters sent again: what is delivered is gone, everything else stays, and nothing is lost in between."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from pathlib import Path

import pytest

from features.errors import ConfigError
from streams.alert import letters as letters_module
from streams.alert.errors import SpoolAway
from streams.alert.letters import ASIDE, FILE, append, letter, set_aside
from streams.alert.message import digest_id
from streams.alert.resend import Choice, Resent, _alone, listing, resend
from streams.alert.role import make_senders
from tests.fraudstream.test_cli import run as run_command
from tests.streams.alert_records import KEY, NOW_MS, alert, plan, webhook
from tests.streams.receivers import HttpReceiver

ALL = Choice()


@pytest.fixture
def receivers():
    made = [HttpReceiver(), HttpReceiver()]
    yield made
    for one in made:
        one.close()


def bury(folder: Path, *numbers: int, channel: str = "cases", reason: str = "gave_up") -> None:
    append(folder, [letter(channel, alert(n).id, [alert(n)], reason, "away", 3, NOW_MS) for n in numbers])


def left(folder: Path) -> list[dict]:
    file = folder / FILE
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def send_again(folder: Path, choice: Choice = ALL, **urls: str) -> Resent:
    of = plan(*(webhook(name, url) for name, url in urls.items()))
    shown: list[int] = []
    resent = asyncio.run(
        resend(folder, make_senders(of, dry_run=False), choice, NOW_MS, lambda done, _: shown.append(done))
    )
    assert shown == list(range(1, len(shown) + 1))
    assert not (folder / ASIDE).exists()
    return resent


def ids(receiver: HttpReceiver) -> list[str]:
    return [post.headers["webhook-id"] for post in receiver.posts]


def test_every_letter_goes_to_its_channel_under_its_own_id(tmp_path, receivers):
    cases, desk = receivers
    bury(tmp_path, 1, 2)
    bury(tmp_path, 3, channel="desk", reason="overflow")
    digest = [alert(4), alert(5)]
    append(tmp_path, [letter("desk", digest_id([a.id for a in digest]), digest, "gave_up", "away", 1, NOW_MS)])
    resent = send_again(tmp_path, cases=cases.url(), desk=desk.url())
    assert resent.counts == {("cases", "delivered"): 2, ("desk", "delivered"): 2}
    assert ids(cases) == [alert(1).id, alert(2).id]
    assert [json.loads(post.body)["type"] for post in desk.posts] == ["alert", "digest"]
    assert left(tmp_path) == []
    assert send_again(tmp_path, cases=cases.url(), desk=desk.url()) == Resent()


def test_what_fails_stays_a_letter_and_its_channel_is_tried_once(tmp_path, receivers):
    cases, desk = receivers
    cases.answer = lambda _: 503
    desk.answer = lambda number: 400 if number == 1 else 204
    bury(tmp_path, 1, 2, 3)
    bury(tmp_path, 4, 5, channel="desk")
    bury(tmp_path, 6, channel="gone")
    resent = send_again(tmp_path, cases=cases.url(), desk=desk.url())
    assert resent.counts == {
        ("cases", "away"): 3, ("desk", "refused"): 1, ("desk", "delivered"): 1, ("gone", "no_channel"): 1,
    }  # fmt: skip
    assert len(cases.posts) == 1
    assert resent.problems == {"cases": "the receiver answers 503", "desk": "the receiver answers 400"}
    kept = {one["id"]: (one["reason"], one["attempts"]) for one in left(tmp_path)}
    assert kept == {
        alert(1).id: ("gave_up", 4), alert(2).id: ("gave_up", 3), alert(3).id: ("gave_up", 3),
        alert(4).id: ("refused", 4), alert(6).id: ("no_channel", 3),
    }  # fmt: skip


def test_only_what_is_chosen_and_to_another_channel(tmp_path, receivers):
    cases, desk = receivers
    bury(tmp_path, 1, reason="refused")
    bury(tmp_path, 2, 3)
    bury(tmp_path, 4, channel="gone")
    gave_up = Choice(reasons=frozenset({"gave_up"}))
    assert listing(tmp_path, gave_up) == {("cases", "gave_up"): 2, ("gone", "gave_up"): 1}
    resent = send_again(tmp_path, Choice(frozenset({"gone"}), to="desk"), cases=cases.url(), desk=desk.url())
    assert resent.counts == {("desk", "delivered"): 1, ("cases", "left"): 3}
    assert ids(desk) == [alert(4).id]
    send_again(tmp_path, gave_up, cases=cases.url(), desk=desk.url())
    assert [one["id"] for one in left(tmp_path)] == [alert(1).id]


def test_what_an_attempt_that_was_killed_has_set_aside_is_sent_with_the_next(tmp_path, receivers):
    cases, _ = receivers
    bury(tmp_path, 1, 2)
    set_aside(tmp_path)
    bury(tmp_path, 2, 3)  # 2 was put back before the kill
    assert listing(tmp_path, ALL) == {("cases", "gave_up"): 3}
    resent = send_again(tmp_path, cases=cases.url())
    assert ids(cases) == [alert(n).id for n in (1, 2, 3)]
    assert resent.repeated == 1


def test_lines_that_are_no_letters_stay_as_they_are(tmp_path, receivers):
    cases, _ = receivers
    bury(tmp_path, 1)
    with (tmp_path / FILE).open("ab") as file:
        file.write(b'{"at": "cut sho')
    bury(tmp_path, 2)
    resent = send_again(tmp_path, cases=cases.url())
    assert (resent.unreadable, ids(cases)) == (1, [alert(1).id, alert(2).id])
    assert (tmp_path / FILE).read_bytes() == b'{"at": "cut sho\n'


def test_letters_that_are_written_while_they_are_moved_are_in_one_of_the_files(tmp_path):
    """A role goes on burying while letters are set aside again and again."""
    total = 300
    writer = threading.Thread(target=lambda: [bury(tmp_path, number) for number in range(total)])
    found: Counter[str] = Counter()
    writer.start()
    while writer.is_alive():
        aside = set_aside(tmp_path)
        found.update(json.loads(line)["id"] for line in aside.read_text().splitlines())
        aside.unlink()
    writer.join()
    found.update(one["id"] for one in left(tmp_path))
    assert found == Counter(alert(number).id for number in range(total))


def test_two_at_once_and_a_folder_that_is_not_there_are_refused(tmp_path):
    with _alone(tmp_path), pytest.raises(ConfigError, match="another"):
        send_again(tmp_path, cases="http://127.0.0.1:1/")
    with pytest.raises(SpoolAway, match="nowhere"):
        send_again(tmp_path / "nowhere", cases="http://127.0.0.1:1/")
    (tmp_path / letters_module.FILE).mkdir()
    with pytest.raises(SpoolAway, match="cannot be moved"):
        send_again(tmp_path, cases="http://127.0.0.1:1/")


def test_the_command_tells_what_became_of_them(tmp_path, receivers):
    cases, _ = receivers
    cases.answer = lambda number: 204 if number == 1 else 503
    (tmp_path / "alerts.yaml").write_text(
        f'channels:\n  cases: {{webhook: "{cases.url("/secret-token")}", secret: "{KEY}"}}\n'
        "routes:\n  - {name: all, channels: [cases]}\n"
    )
    (tmp_path / "alerts").mkdir()
    bury(tmp_path / "alerts", 1, 2)
    counted = run_command(tmp_path, "alert", "resend", "--dry-run")
    assert (counted.returncode, counted.stdout) == (0, "cases: 2 gave_up\n"), counted.stderr
    done = run_command(tmp_path, "alert", "resend")
    assert done.returncode == 69
    assert done.stdout == "cases: 1 away (the receiver answers 503)\ncases: 1 delivered\n"
    assert [one["id"] for one in left(tmp_path / "alerts")] == [alert(2).id]
    wrong = run_command(tmp_path, "alert", "resend", "--to", "nobody")
    assert (wrong.returncode, "no channel nobody" in wrong.stderr) == (78, True)
    assert run_command(tmp_path, "alert", "--check", "resend").returncode == 78
    assert "secret-token" not in done.stdout + done.stderr
