"""CPU time of a process by group of threads, as the operating system counts it."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Final

LOOP: Final = "event loop"
OTHERS: Final = "other threads"
GROUPS: Final = {
    "kafka-poll": "poll thread",
    "kafka-publish": "publish thread",
    "rdk:": "librdkafka",
    "http": "health and metrics",
    "log": "log lines",
}
"""Beginning of a thread's name, and its group; the first that fits."""


def group_of(thread: int, process: int, name: str) -> str:
    """The group of a thread.

    >>> group_of(7, 7, "python"), group_of(8, 7, "rdk:broker1"), group_of(9, 7, "python")
    ('event loop', 'librdkafka', 'other threads')
    """
    if thread == process:
        return LOOP
    return next((group for begin, group in GROUPS.items() if name.startswith(begin)), OTHERS)


def parsed_stat(line: str) -> tuple[str, int]:
    """Name of a thread and its clock ticks, user and system, from `/proc/<pid>/task/<tid>/stat`.

    >>> parsed_stat("8 (rdk:main (1)) S 1 2 3 4 5 6 7 8 9 10 120 35 0 0")
    ('rdk:main (1)', 155)
    """
    name, _, rest = line.partition("(")[2].rpartition(")")
    fields = rest.split()
    return name, int(fields[11]) + int(fields[12])


def cpu_by_group(process: int, root: Path = Path("/proc")) -> dict[str, float]:
    """CPU seconds so far of the threads that live, by group."""
    ticks: Counter[str] = Counter()
    for folder in (root / str(process) / "task").iterdir():
        with suppress(OSError):  # it has ended meanwhile
            name, spent = parsed_stat((folder / "stat").read_text())
            ticks[group_of(int(folder.name), process, name)] += spent
    per_s = os.sysconf("SC_CLK_TCK")
    return {group: spent / per_s for group, spent in ticks.items()}
