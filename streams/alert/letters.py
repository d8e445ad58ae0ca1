"""Dead letters of the alert role: a file of JSON lines that only its owner reads."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec

from features.times import format_rfc3339
from streams.alert.errors import SpoolAway
from streams.alert.message import Alert

FILE: Final = "dead-letters.jsonl"
ASIDE: Final = "dead-letters.resending.jsonl"
"""What is being sent again."""

Reason = Literal["refused", "gave_up", "overflow", "no_channel"]


class Letter(msgspec.Struct, frozen=True):
    """A message that was not delivered.

    Attributes:
        at: RFC 3339.
        channel: name.
        id: of the message.
        reason: `refused` by the receiver, `gave_up` after too long, `overflow` of the queue, `no_channel` any more.
        detail: one sentence for people, free of secrets.
        attempts: that failed.
        alerts: what it would have said.
    """

    at: str
    channel: str
    id: str
    reason: Reason
    detail: str
    attempts: int
    alerts: Sequence[Alert]


def letter(
    channel: str, id_: str, alerts: Sequence[Alert], reason: Reason, detail: str, attempts: int, now_ms: int
) -> Letter:
    """A letter of now (epoch milliseconds)."""
    return Letter(format_rfc3339(now_ms), channel, id_, reason, detail, attempts, alerts)


def append(folder: Path, letters: Sequence[Letter]) -> None:
    """Add letters, durable on return; raises SpoolAway where the file cannot be written."""
    if not letters:
        return
    append_lines(folder, b"".join(msgspec.json.encode(one) + b"\n" for one in letters))


def append_lines(folder: Path, lines: bytes) -> None:
    """Add lines, each with its end, durable on return; raises SpoolAway where the file cannot be written."""
    try:
        with os.fdopen(_locked(folder / FILE), "r+b", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            if size and os.pread(file.fileno(), 1, size - 1) != b"\n":  # cut short by a full disk or a crash
                lines = b"\n" + lines
            written = os.write(file.fileno(), lines)
            os.fsync(file.fileno())
    except OSError as exc:
        raise SpoolAway(f"FRAUD_ALERTS_DIR: {FILE} cannot be written: {exc.strerror}") from None
    if written != len(lines):
        raise SpoolAway(f"FRAUD_ALERTS_DIR: {FILE} cannot be written: the disk is full")


def set_aside(folder: Path) -> Path:
    """Move all letters into a file for whoever deals with them, behind what an earlier attempt has left there.

    The role may go on writing letters meanwhile: they come into a new file.

    Raises:
        SpoolAway: the files cannot be written.
    """
    aside = folder / ASIDE
    try:
        descriptor = _locked(folder / FILE)
        try:
            if aside.exists():
                # Letters that stand in both after a crash here are known by their ids.
                with aside.open("ab") as old, (folder / FILE).open("rb") as new:
                    shutil.copyfileobj(new, old)
                    old.flush()
                    os.fsync(old.fileno())
                (folder / FILE).unlink()
            else:
                (folder / FILE).rename(aside)
        finally:
            os.close(descriptor)
    except OSError as exc:
        raise SpoolAway(f"FRAUD_ALERTS_DIR: {FILE} cannot be moved: {exc.strerror}") from None
    return aside


def _locked(file: Path) -> int:
    """A descriptor of the file, which nobody else moves away or writes to until it is closed."""
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_ino == file.stat().st_ino:
                return descriptor
        except FileNotFoundError:
            pass  # moved away between the two calls: there will be a new one
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)
