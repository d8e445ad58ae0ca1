"""Progress of longer work: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

Show = Callable[[int, int | None], None]
"""Takes how much is done so far, and of how much; None: not known."""

_LINE_EVERY_S = 5.0


class _Rate(ProgressColumn):
    """How many a second."""

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:,.0f}/s")


@contextmanager
def progress(title: str) -> Iterator[Show]:
    """Show on stderr how far the work of the block is, as often as it says so."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(title)
        return
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeElapsedColumn(),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _lines(title: str) -> Show:
    """A line on stderr at most every few seconds: short work stays silent."""
    began_s = last_s = time.monotonic()

    def show(done: int, total: int | None) -> None:
        nonlocal last_s
        now_s = time.monotonic()
        if now_s - last_s >= _LINE_EVERY_S:
            last_s = now_s
            rate = done / (now_s - began_s)
            left = "" if total is None or not rate else f", {max(total - done, 0) / rate:,.0f} s left"
            sys.stderr.write(f"{title}: {done:,}{'' if total is None else f' of {total:,}'}, {rate:,.0f}/s{left}\n")

    return show
