"""A Parquet file that is written while its rows are being made."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Semaphore
from typing import Final

import polars as pl
from polars.io.plugins import register_io_source

# Row groups of one size, however the rows were made.
_GROUP_ROWS: Final = 131_072
_FRAMES_AHEAD: Final = 2


def write_table(frames: Iterator[pl.DataFrame], file: Path) -> None:
    """Write frames of one schema, at least one, as one Parquet file.

    The caller's thread makes them and another one writes: memory that numpy asks for in a thread of Polars comes from
    that thread's share of the allocator, which would make for two of them, each with its reserves.

    Args:
        frames: some of them are in memory at a time; what they raise goes through to the caller.
        file: what is written.

    Raises:
        OSError: the file cannot be written.
    """
    first = next(frames)
    given: SimpleQueue[pl.DataFrame | None] = SimpleQueue()
    room, ended = Semaphore(_FRAMES_AHEAD), Event()

    def taken(*_asked: object) -> Iterator[pl.DataFrame]:
        while (frame := given.get()) is not None:
            room.release()
            yield frame

    def write() -> None:
        try:
            # Fast compression: zstd would take a third longer than everything before, for a quarter less space. And no
            # ranges of the columns, which would be a sixth of the writing: a training reads the table whole.
            register_io_source(taken, schema=first.schema).sink_parquet(
                file, compression="lz4", statistics=False, row_group_size=_GROUP_ROWS
            )
        except pl.exceptions.PolarsError as exc:
            # A full disk comes as a file that is not as it should be.
            raise OSError(f"{str(exc).splitlines()[0]}; is there room left?") from exc
        finally:
            ended.set()
            room.release()  # nobody waits for a writer that has ended

    with ThreadPoolExecutor(1) as pool:
        written = pool.submit(write)
        try:
            for frame in chain((first,), frames):
                room.acquire()
                if ended.is_set():
                    break
                given.put(frame)
        finally:
            given.put(None)
    written.result()
