"""Errors of the local servers."""

from __future__ import annotations

from typing import ClassVar


class LocalStackError(Exception):
    """A local server cannot be had; the message says which, why, and where its log is."""

    exit_code: ClassVar[int] = 69


class PortTakenError(LocalStackError):
    """Somebody else listens on the port that a server was to have."""


class DownloadError(LocalStackError):
    """A server's files could not be fetched, or are not what their checksum says."""
