"""Log lines go where they can; where they cannot, they are counted, and nobody waits."""

from __future__ import annotations

import logging
import os
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from streams.watch.log_lines import LineHandler, lines_lost
from tests.support import wait_until


def record(text: str, *arguments: object) -> logging.LogRecord:
    return logging.LogRecord("t", logging.INFO, __file__, 1, text, arguments, None)


@contextmanager
def handler_on(descriptor: int, **options: int):
    with os.fdopen(descriptor, "w", closefd=False) as stream:
        yield LineHandler(stream, **options)


@contextmanager
def pipe():
    reader, writer = os.pipe()
    try:
        yield reader, writer
    finally:
        for end in (reader, writer):
            try:
                os.close(end)
            except OSError:
                continue  # the test has closed it


def read(descriptor: int, size: int) -> bytes:
    got = b""
    while len(got) < size:
        got += os.read(descriptor, 1 << 16)
    return got


def test_lines_are_written_whole_and_in_order(tmp_path):
    path = tmp_path / "log"
    with path.open("w") as stream:
        handler = LineHandler(stream)
        for number in range(2_000):
            handler.handle(record("line %d é \ud800", number))
        handler.flush()
    lines = path.read_text().splitlines()

    assert lines == [f"line {number} é \\ud800" for number in range(2_000)]
    assert handler.lost == 0


def test_a_pipe_that_nobody_reads_stops_nobody():
    with pipe() as (reader, writer), handler_on(writer, most_bytes=100_000) as handler:
        began_s = time.monotonic()
        for _ in range(10_000):
            handler.handle(record("x" * 99))
        assert time.monotonic() - began_s < 5
        assert handler.lost > 7_000
        lost = handler.lost
        # Somebody reads again: what was kept arrives, whole.
        kept = 10_000 - lost
        assert read(reader, kept * 100) == (b"x" * 99 + b"\n") * kept
        handler.flush()
        assert handler.lost == lost


def test_flush_gives_up_on_a_pipe_that_nobody_reads():
    with pipe() as (reader, writer), handler_on(writer) as handler:
        for _ in range(3_000):
            handler.handle(record("x" * 99))
        began_s = time.monotonic()
        handler.flush()
        assert 1 < time.monotonic() - began_s < 4
        read(reader, 300_000)


def test_a_pipe_whose_reader_is_gone_loses_lines_and_no_more():
    with pipe() as (reader, writer), handler_on(writer) as handler:
        os.close(reader)
        for _ in range(50):
            handler.handle(record("gone"))
        handler.flush()
        assert handler.lost == 50


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_loses_lines_and_no_more():
    with Path("/dev/full").open("w") as stream:
        handler = LineHandler(stream)
        for _ in range(50):
            handler.handle(record("full"))
        handler.flush()
        assert handler.lost == 50


def test_a_descriptor_that_does_not_block_is_waited_for():
    with pipe() as (reader, writer), handler_on(writer) as handler:
        os.set_blocking(writer, False)
        for _ in range(2_000):
            handler.handle(record("y" * 99))
        assert read(reader, 200_000) == (b"y" * 99 + b"\n") * 2_000
        handler.flush()
        assert handler.lost == 0


def test_after_half_a_line_the_next_one_begins_a_line_of_its_own(tmp_path, monkeypatch):
    path = tmp_path / "log"
    with path.open("w") as stream:
        handler = LineHandler(stream)
        real, calls = os.write, []

        def fills_up(descriptor: int, data: bytes) -> int:
            calls.append(data)
            if len(calls) == 1:
                return real(descriptor, data[:4])
            if len(calls) == 2:
                raise OSError(28, "No space left on device")
            return real(descriptor, data)

        monkeypatch.setattr("streams.watch.log_lines.os.write", fills_up)
        for text in ("first line", "second", "third"):
            handler.handle(record(text))
        handler.flush()
    assert path.read_text() == "firs\nsecond\nthird\n"
    assert handler.lost == 1


class Awkward:
    """Cannot be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no")


def test_a_line_that_cannot_be_made_is_lost_and_says_nothing(capfd, tmp_path):
    with (tmp_path / "log").open("w") as stream:
        handler = LineHandler(stream)
        handler.handle(record("%s", Awkward()))
        handler.handle(record("%d", "4111111111111111"))
        handler.flush()
    assert handler.lost == 2
    assert capfd.readouterr() == ("", "")


def test_lost_lines_are_counted_over_the_handlers_of_the_root_logger(tmp_path):
    with (tmp_path / "log").open("w") as stream:
        handler = LineHandler(stream, most_bytes=0)
        before = lines_lost()
        logging.getLogger().addHandler(handler)
        try:
            handler.handle(record("x"))
            wait_until(lambda: lines_lost() == before + 1)
        finally:
            logging.getLogger().removeHandler(handler)
