"""Dead letters of the alert role: a file of JSON lines that only its owner reads."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec

from features.times import format_rfc3339
from streams.alert.errors import SpoolAway
from streams.alert.message import Alert

FILE: Final = "dead-letters.jsonl"

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
    lines = b"".join(msgspec.json.encode(one) + b"\n" for one in letters)
    try:
        descriptor = os.open(folder / FILE, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "r+b", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            if size and os.pread(file.fileno(), 1, size - 1) != b"\n":  # cut short by a full disk or a crash
                lines = b"\n" + lines
            written = os.write(file.fileno(), lines)
            os.fsync(file.fileno())
    except OSError as exc:
        raise SpoolAway(f"FRAUD_ALERTS_DIR: {FILE} cannot be written: {exc.strerror}") from None
    if written != len(lines):
        raise SpoolAway(f"FRAUD_ALERTS_DIR: {FILE} cannot be written: the disk is full")
