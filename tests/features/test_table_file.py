"""A table is written while it is made, and whichever side fails, the other is not left waiting."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Event

import polars as pl
import pytest

from features.table_file import write_table

ROWS = 40_000


def frames(numbers: int, rows: int = ROWS) -> Iterator[pl.DataFrame]:
    for number in range(numbers):
        yield pl.DataFrame({"number": [number] * rows, "row": range(rows)})


def test_frames_become_one_file_in_their_order(tmp_path: Path) -> None:
    write_table(frames(12), tmp_path / "t.parquet")
    assert pl.read_parquet(tmp_path / "t.parquet").equals(pl.concat(frames(12)))


@pytest.mark.parametrize("empty", [0, 1, 2])
def test_an_empty_frame_is_no_end(tmp_path: Path, empty: int) -> None:
    given = list(frames(3))
    given[empty] = given[empty].clear()
    write_table(iter(given), tmp_path / "t.parquet")
    assert pl.read_parquet(tmp_path / "t.parquet").equals(pl.concat(given))


def test_what_the_maker_raises_goes_through(tmp_path: Path) -> None:
    def broken() -> Iterator[pl.DataFrame]:
        yield from frames(5)
        raise KeyError("row")

    with pytest.raises(KeyError, match="row"):
        write_table(broken(), tmp_path / "t.parquet")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("where", ["folder", "none/t.parquet"])
def test_a_writer_that_fails_leaves_nobody_waiting(tmp_path: Path, where: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match=r"No such file|is a directory"):
        write_table(frames(40, rows=1), tmp_path / where)  # made sooner than the writer fails


@pytest.mark.timeout(60)
def test_a_writer_that_takes_nothing_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_room = Event()

    def made() -> Iterator[pl.DataFrame]:
        yield from frames(2)
        no_room.set()
        yield from frames(2)

    def fails(*_: object, **__: object) -> None:
        assert no_room.wait(30)
        raise OSError("the disk is gone")

    monkeypatch.setattr(pl.LazyFrame, "sink_parquet", fails)
    with pytest.raises(OSError, match="the disk is gone"):
        write_table(made(), tmp_path / "t.parquet")


@pytest.mark.timeout(60)
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_a_full_disk_is_an_error_of_the_system() -> None:
    with pytest.raises(OSError, match="is there room left"):
        write_table(frames(20), Path("/dev/full"))
