"""The folder of the alert role: what waits to be told, what was given up, and what throttles remember."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

from streams.alert.letters import ASIDE
from streams.alert.letters import FILE as LETTERS
from streams.alert.spool import FILE as SPOOL
from streams.pan_scan.files import scan_files
from streams.pan_scan.finder import Finder
from streams.pan_scan.report import Report

Show = Callable[[int, int | None], None]

_TABLES: Final = ("outbox", "pending", "seen", "passed", "held")
_KIND: Final = "alerts"
_SHOW_EVERY: Final = 1000


def scan_spool(folder: Path, finder: Finder, report: Report, show: Show) -> None:
    """Look at every row and every letter, those of dry runs too; a running role is not disturbed."""
    if not folder.is_dir():
        report.notes.append(f"alerts: there is no folder {folder} (FRAUD_ALERTS_DIR)")
        return
    scan_files([file for name in (LETTERS, ASIDE) for file in folder.rglob(name)], finder, report, show)
    for file in sorted(folder.rglob(SPOOL)):
        try:
            with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as db:
                for table in _TABLES:
                    _scan_table(db, file, table, finder, report, show)
        except sqlite3.Error as exc:
            report.notes.append(f"alerts: {file} cannot be read ({exc})")


def _scan_table(
    db: sqlite3.Connection, file: Path, table: str, finder: Finder, report: Report, show: Show
) -> None:  # fmt: skip
    for number, row in enumerate(db.execute(f"SELECT * FROM {table}"), 1):  # noqa: S608 - a name of ours
        for value in row:
            if isinstance(value, str | bytes):
                raw = value if isinstance(value, bytes) else value.encode(errors="surrogateescape")
                report.add(_KIND, f"{file}:{table}:{number}", "row", finder.in_bytes(raw))
        report.count(_KIND)
        if number % _SHOW_EVERY == 0:
            show(number, None)
