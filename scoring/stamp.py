"""A text that changes when files do, for whoever watches them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

# What a refused version asks for besides its own files, a list file that is not there say, may come later.
_AGAIN_MS: Final = 30_000


def stamp(files: Iterable[Path]) -> str:
    """Digest of the files' names, times, sizes and places on the disk; reads no content, and a missing file counts.

    A file that somebody is still writing changes it from one look to the next: load once it has stood still.
    """
    digest = hashlib.sha256()
    for file in files:
        try:
            stat = file.stat()
        except OSError:
            said = f"{file}:away\n"
        else:
            said = f"{file}:{stat.st_mtime_ns}:{stat.st_size}:{stat.st_ino}\n"
        digest.update(said.encode(errors="surrogateescape"))
    return digest.hexdigest()


class Watched:
    """What is loaded again when its files change, as it was found.

    Attributes:
        seen: stamp of the last look.
        done: stamp of what was last loaded or refused.
        wanted: to be loaded even where the stamp is the same.
        problem: why the newest version is refused; empty where it is not.
        again_ms: when a refused version is tried again.
    """

    def __init__(self, stamp: str) -> None:
        self.seen = self.done = stamp
        self.wanted = False
        self.problem = ""
        self.again_ms = 0

    def is_due(self, stamp: str, now_ms: int) -> bool:
        """Whether it is to be loaded at this look."""
        stands_still, self.seen = stamp == self.seen, stamp
        again = bool(self.problem) and now_ms >= self.again_ms
        return stands_still and (stamp != self.done or self.wanted or again)

    def loaded(self, stamp: str) -> None:
        """What was found is in force."""
        self.done, self.wanted, self.problem = stamp, False, ""

    def refused(self, stamp: str, problem: str, now_ms: int) -> None:
        """What was found cannot be used."""
        self.done, self.wanted, self.problem, self.again_ms = stamp, False, problem, now_ms + _AGAIN_MS
