"""The standard streams of a command, whatever state they are in."""

from __future__ import annotations

import os
import sys


def keep_standard_streams() -> None:
    """Open what was closed of stdin, stdout and stderr: else the next socket would be one of them.

    Whatever a native library prints would then go to Kafka or Redis.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free descriptor: this one
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(descriptor, "w", encoding="utf-8", closefd=False))


def say(text: str) -> None:
    """Write a line to stderr, if it takes one: the exit code must say what happened even where nobody can read."""
    try:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
    except OSError:
        # What is left in its buffer would fail again when the interpreter ends, and change the exit code.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
