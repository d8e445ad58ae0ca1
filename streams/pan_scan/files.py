"""Log files and the model folder: line by line, whatever the files hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Final

from streams.pan_scan.finder import Finder
from streams.pan_scan.report import Report

Show = Callable[[int, int | None], None]

_LINE_BYTES: Final = 1024 * 1024
_OVERLAP_BYTES: Final = 512


def scan_files(paths: Iterable[Path], finder: Finder, report: Report, show: Show) -> None:
    """Look at files, and at every file in folders; what cannot be read or is not there is noted."""
    files = sorted({file for path in paths for file in _files_of(path)})
    for done, file in enumerate(files, 1):
        report.add("files", str(file), "name", finder.in_bytes(file.name.encode(errors="surrogateescape")))
        try:
            with file.open("rb") as opened:
                for number, line in _lines(opened):
                    report.add("files", f"{file}:{number}", "line", finder.in_bytes(line))
        except OSError as exc:
            report.notes.append(f"files: {file} cannot be read ({exc.strerror})")
        else:
            report.count("files")
        show(done, len(files))


def _files_of(path: Path) -> Iterator[Path]:
    """The file itself, or all regular files below a folder; links are not followed out of it."""
    if not path.is_dir():
        yield path
        return
    yield from (file for file in path.rglob("*") if file.is_file() and not file.is_symlink())


def _lines(opened: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Lines with their numbers; a line that is too long comes in parts that overlap."""
    number, carried = 1, b""
    while part := opened.readline(_LINE_BYTES):
        yield number, carried + part
        ended = part.endswith(b"\n")
        carried = b"" if ended else part[-_OVERLAP_BYTES:]
        number += ended
