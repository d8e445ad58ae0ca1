"""Progress of longer work: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

Done = Callable[[int], None]
"""Takes how much is done so far."""

_LINE_EVERY_S = 5.0


@contextmanager
def progress(title: str, total: int | None = None) -> Iterator[Done]:
    """Show on stderr how far the work of the block is.

    Args:
        title: what is being done.
        total: how much there is to do; None: not known.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(title, total)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda done: bar.update(task, completed=done)


def _lines(title: str, total: int | None) -> Done:
    """A line on stderr at most every few seconds: short work stays silent."""
    last_s = time.monotonic()

    def show(done: int) -> None:
        nonlocal last_s
        now_s = time.monotonic()
        if now_s - last_s >= _LINE_EVERY_S:
            last_s = now_s
            sys.stderr.write(f"{title}: {done:,}{'' if total is None else f' of {total:,}'}\n")

    return show
