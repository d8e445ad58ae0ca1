"""Log lines on their way to stderr: nothing that stderr does can stop or end the process.

A full disk, a closed pipe, or a reader that has gone to sleep would make a plain write fail, or wait for ever. So lines
are handed to a thread through a bounded queue; what does not fit, or is refused, is counted.
"""

from __future__ import annotations

import logging
import os
import select
import threading
from collections import deque
from typing import Final, TextIO

_MOST_BYTES: Final = 8 * 1024 * 1024
_FLUSH_S: Final = 2.0
_WRITABLE_S: Final = 1.0


class LineHandler(logging.Handler):
    """Writes each record as one line to a file descriptor, from a thread of its own.

    Args:
        stream: where to; its descriptor is written to directly.
        most_bytes: lines waiting beyond this are dropped.

    Attributes:
        lost: lines that were dropped, or that the descriptor refused.
    """

    def __init__(self, stream: TextIO, most_bytes: int = _MOST_BYTES) -> None:
        super().__init__()
        self._descriptor = stream.fileno()
        self._most_bytes = most_bytes
        self._lines: deque[bytes] = deque()
        self._bytes = 0
        self._state = threading.Condition()
        self._thread: threading.Thread | None = None
        self._torn = False
        self.lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a line; what cannot be formatted counts as lost."""
        try:
            line = f"{self.format(record)}\n".encode(errors="backslashreplace")
        except Exception:  # noqa: BLE001 - a value that cannot be shown must not end the role that logs it
            with self._state:
                self.lost += 1
            return
        with self._state:
            if self._bytes + len(line) > self._most_bytes:
                self.lost += 1
                return
            self._lines.append(line)
            self._bytes += len(line)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="log", daemon=True)
                self._thread.start()
            self._state.notify_all()

    def flush(self) -> None:
        """Wait until everything is written, two seconds at most: nobody may be reading."""
        with self._state:
            self._state.wait_for(lambda: not self._bytes, _FLUSH_S)

    def _run(self) -> None:
        while True:
            with self._state:
                self._state.wait_for(lambda: bool(self._lines))
                line = self._lines.popleft()
            written = self._write(line)
            with self._state:
                self._bytes -= len(line)
                self.lost += not written
                self._state.notify_all()

    def _write(self, line: bytes) -> bool:
        """Write a line whole; False where the descriptor refuses it."""
        left = b"\n" + line if self._torn else line
        whole = len(left)
        try:
            while left:
                left = left[self._write_some(left) :]
        except OSError:
            # What follows a line of which a part was written starts on a line of its own.
            self._torn = self._torn or len(left) < whole
            return False
        self._torn = False
        return True

    def _write_some(self, data: bytes) -> int:
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:  # somebody made the descriptor non-blocking
            select.select((), (self._descriptor,), (), _WRITABLE_S)
            return 0


def lines_lost() -> int:
    """Lines lost so far by the handlers of the root logger."""
    return sum(handler.lost for handler in logging.getLogger().handlers if isinstance(handler, LineHandler))
