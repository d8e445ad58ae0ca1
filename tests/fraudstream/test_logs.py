"""Log lines of a process: JSON, scrubbed whatever a value is, and no reason to die."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from fraudstream.logs import Scrubber

CARD = "4111111111111111"
FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")


class Shown:
    """Tells too much."""

    def __repr__(self) -> str:
        return f"Shown(card={CARD!r}, url='redis://me:sesame@host/0')"


def forms() -> dict[str, object]:
    loop: dict[str, object] = {"card": CARD}
    loop["self"] = loop
    return {
        "text": f"card {CARD}",
        "spaced": "4111 1111 1111 1111",
        "dashed": "4111-1111-1111-1111",
        "number": int(CARD),
        "float": float(CARD),
        "bytes": CARD.encode(),
        "list": [1, (CARD, {CARD})],
        "mapping": {CARD: {"deep": {"deeper": [CARD]}}},
        "object": Shown(),
        "error": ValueError(f"bad card {CARD}"),
        "loop": loop,
        "long": "x" * 16_380 + CARD,
        CARD: "a key",
    }


def test_no_form_of_a_card_number_passes():
    text = json.dumps(Scrubber()("log", "info", forms()))

    assert CARD not in text.replace(" ", "").replace("-", "")
    assert "4111" not in text


def test_other_values_stay_as_they_are():
    event = {"event": "ready", "partitions": [0, 1], "s": 1.5, "none": None, "yes": True, "text": "tok_abc 12345"}

    assert Scrubber()("log", "info", event) == event


def test_a_long_text_is_cut():
    shown = Scrubber()("log", "info", {"text": "y" * 100_000})["text"]

    assert str(shown).startswith("yyy")
    assert len(str(shown)) < 17_000
    assert "100000 characters" in str(shown)


def test_secrets_and_passwords_in_urls_are_hidden():
    scrub = Scrubber(["0123456789abcdef", "pw"])
    event = {
        "a": "key=0123456789abcdef",
        "b": "redis://user:sesame@host:6379/0",
        "c": Shown(),
        "d": "pw stays: too short",
    }
    text = json.dumps(scrub("log", "info", event))

    assert "0123456789abcdef" not in text
    assert "sesame" not in text
    assert "@host:6379/0" in text
    assert "pw stays" in text


def run(code: str, **streams: object) -> subprocess.CompletedProcess[str]:
    """Run a program that logs."""
    begin = "import logging, structlog, sys, threading, warnings\nfrom fraudstream.logs import configure_logging\n"
    options: dict[str, object] = {"stderr": subprocess.PIPE, **streams}
    return subprocess.run(
        [sys.executable, "-c", begin + textwrap.dedent(code)], check=False, text=True, timeout=60, **options
    )


def entries(done: subprocess.CompletedProcess[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_every_way_of_logging_is_one_scrubbed_json_line():
    done = run(f"""
        configure_logging("info", ["sesame-sesame"])
        log = structlog.get_logger("a")
        log.info("one", card="{CARD}")
        try:
            raise ValueError("card {CARD} sesame-sesame")
        except ValueError:
            log.exception("two")
        for name in ("faust.x", "opensearch", "redis", "urllib3", "librdkafka", "asyncio"):
            logging.getLogger(name).error("card %s", "{CARD}")
            logging.getLogger(name).info("hidden")
        warnings.warn("card {CARD}")
        thread = threading.Thread(target=lambda: 1 / int("0" * int("{CARD}"[0])), name="t")
        thread.start(); thread.join()
        raise RuntimeError("card {CARD} at redis://u:sesame@h")
    """)

    lines = entries(done)
    assert CARD not in done.stderr
    assert "sesame" not in done.stderr
    assert [line["event"] for line in lines[:2]] == ["one", "two"]
    assert "ValueError: card ****************" in str(lines[1]["exception"])
    assert sum("card ****************" in str(line["event"]) for line in lines) == 7
    assert [line["event"] for line in lines[-2:]] == ["uncaught_exception"] * 2
    assert "ZeroDivisionError" in str(lines[-2]["exception"])
    assert "RuntimeError: card ****************" in str(lines[-1]["exception"])
    assert done.returncode == 1


def test_a_value_that_cannot_be_shown_costs_its_line_alone():
    done = run("""
        class Awkward:
            def __repr__(self): raise RuntimeError("no")
        configure_logging("info")
        log = structlog.get_logger("a")
        log.info("one", value=Awkward())
        logging.getLogger("b").error("%d", "x")
        log.info("two")
        from streams.watch.log_lines import lines_lost
        log.info("lost", lines=lines_lost())
    """)

    assert [line["event"] for line in entries(done)] == ["two", "lost"]
    assert entries(done)[-1]["lines"] == 2
    assert done.returncode == 0


@FULL
def test_a_full_disk_changes_no_exit_code():
    code = 'configure_logging("info")\nfor _ in range(100): structlog.get_logger("a").info("x")\nsys.exit({})'
    with Path("/dev/full").open("w") as full:
        assert [run(code.format(number), stderr=full).returncode for number in (0, 70)] == [0, 70]


@FULL
def test_an_expected_failure_keeps_its_exit_code_where_nobody_can_read_it():
    command = [sys.executable, "-m", "fraudstream", "config"]
    environment = {**os.environ, "FRAUD_PARTITIONS": "four"}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, env=environment, stderr=full, stdout=full, check=False, timeout=60)
    assert done.returncode == 78


def test_closed_streams_are_no_reason_to_fail_and_no_socket_takes_their_place():
    code = (
        "from fraudstream.terminal import keep_standard_streams; keep_standard_streams();"
        "from fraudstream.logs import configure_logging; configure_logging('info');"
        "import socket, structlog; s = socket.socket(); structlog.get_logger('a').error('x');"
        "import sys; sys.exit(7 if s.fileno() > 2 else 8)"
    )
    done = subprocess.run(
        ["sh", "-c", 'exec "$0" -c "$1" 0<&- 1>&- 2>&-', sys.executable, code], check=False, timeout=60
    )
    assert done.returncode == 7
