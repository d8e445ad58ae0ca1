"""A text that changes when files do, for whoever watches them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path


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
