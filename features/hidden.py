"""Texts that must be shown nowhere and that became known while the process ran: a file with secrets was read anew."""

from __future__ import annotations

from collections.abc import Iterable

_LEAST_CHARS = 6
_hidden: tuple[str, ...] = ()


def hide(texts: Iterable[str]) -> None:
    """Let these stand in no log line from now on; short ones are no secrets, and would hide half of every line."""
    global _hidden  # noqa: PLW0603 - logging is of the whole process, and so is this
    found = {*_hidden, *(text for text in texts if len(text) >= _LEAST_CHARS)}
    _hidden = tuple(sorted(found, key=len, reverse=True))


def hidden() -> tuple[str, ...]:
    """The texts, the longest first."""
    return _hidden
