"""A role as the command runs it, with a trap.

    python -m faults.worker ROLE [--die-at B | --raise-at B] [--armed] [--poison]

SIGUSR1 arms the trap, where it is not armed from the start; the next time the worker passes the boundary B it is gone
(SIGKILL), or an exception is raised there, once, and the file `SPRUNG` in its working directory says so. With
`--poison`, scoring any transaction whose id begins with `POISON` raises, always. The product knows nothing of it: its
methods are wrapped here, at run time. A worker ends with the process that started it, whose end closes its standard
input.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from faults.traffic import POISON
from features.store import Commit, OnlineStore, Snapshot
from fraudstream.cli import main as command
from sinks.publisher import Publisher, Record
from streams.answers import Answers
from streams.decisions import Decisions
from streams.delivery import BatchConsumer
from streams.intake import Incoming
from streams.role import Chunk

BOUNDARIES: Final = ("read", "commit", "publish", "mid-publish", "done")
"""Before the read from Redis; after one partition's commit; before the publish, when all is committed; when half of the
batch is published; when all is published and confirmed, before the offsets are committed."""

SPRUNG: Final = "sprung"
_SOME_SENT_S: Final = 0.05


class Trap:
    """Springs once, at the first pass after it was armed.

    Args:
        spring: what happens then.
    """

    def __init__(self, spring: Callable[[], None]) -> None:
        self._spring = spring
        self._armed = False

    def arm(self, *_: object) -> None:
        """From now on."""
        self._armed = True

    @property
    def armed(self) -> bool:
        """Whether the next pass springs it."""
        return self._armed

    def passed(self) -> None:
        """The boundary is passed."""
        if self._armed:
            self._armed = False
            Path(SPRUNG).touch()
            self._spring()


class SprungError(RuntimeError):
    """What the trap raises: an error that the product does not know."""


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _raise() -> None:
    raise SprungError("raised by the fault matrix")


def set_trap(boundary: str, trap: Trap) -> None:
    """Wrap the method at a boundary."""
    {"read": _at_read, "commit": _at_commit, "publish": _at_publish, "mid-publish": _mid_publish, "done": _at_done}[
        boundary
    ](trap)


def _at_read(trap: Trap) -> None:
    read = OnlineStore.read

    async def trapped(self: OnlineStore, cards: Mapping[int, Sequence[str]]) -> dict[int, Snapshot]:
        trap.passed()
        return await read(self, cards)

    OnlineStore.read = trapped  # type: ignore[method-assign]  # that is the purpose


def _at_commit(trap: Trap) -> None:
    commit_all = OnlineStore.commit_all

    async def trapped(self: OnlineStore, commits: Sequence[Commit]) -> None:
        if trap.armed:
            await commit_all(self, commits[:1])
            trap.passed()
        await commit_all(self, commits)

    OnlineStore.commit_all = trapped  # type: ignore[method-assign]


def _at_publish(trap: Trap) -> None:
    publish = Publisher.publish

    async def trapped(self: Publisher, records: Sequence[Record]) -> None:
        trap.passed()
        await publish(self, records)

    Publisher.publish = trapped  # type: ignore[method-assign]


def _mid_publish(trap: Trap) -> None:
    publish = Publisher.publish

    async def trapped(self: Publisher, records: Sequence[Record]) -> None:
        if trap.armed and len(records) > 1:
            await publish(self, records[: len(records) // 2])
            # The other half is on its way, and some of it arrives.
            going = asyncio.ensure_future(publish(self, records[len(records) // 2 :]))
            await asyncio.wait([going], timeout=_SOME_SENT_S / len(records))
            trap.passed()
        else:
            await publish(self, records)

    Publisher.publish = trapped  # type: ignore[method-assign]


def _at_done(trap: Trap) -> None:
    done = BatchConsumer.done

    def trapped(self: BatchConsumer, chunks: Sequence[Chunk]) -> None:
        trap.passed()
        done(self, chunks)

    BatchConsumer.done = trapped  # type: ignore[method-assign]


def poison() -> None:
    """Let every transaction fail that is marked for it."""
    answers = Decisions.answers

    def trapped(self: Decisions, incoming: Sequence[Incoming], *arguments: Any) -> Answers:  # noqa: ANN401 - passed on as they are
        if any(item.transaction.transaction_id.startswith(POISON) for item in incoming):
            raise SprungError("poisoned by the fault matrix")
        return answers(self, incoming, *arguments)

    Decisions.answers = trapped  # type: ignore[method-assign, assignment]


def _end_with_parent() -> None:
    """Wait for the end of the standard input, which comes with the end of whoever holds the other side."""
    while os.read(sys.stdin.fileno(), 1):  # not through its buffer, whose lock an ending interpreter wants
        pass
    _die()


def main() -> None:
    """Set the trap and run the command."""
    parser = argparse.ArgumentParser(prog="python -m faults.worker")
    parser.add_argument("role")
    parser.add_argument("--die-at", choices=BOUNDARIES)
    parser.add_argument("--raise-at", choices=BOUNDARIES)
    parser.add_argument("--armed", action="store_true")
    parser.add_argument("--poison", action="store_true")
    options = parser.parse_args()
    if options.poison:
        poison()
    for boundary, spring in ((options.die_at, _die), (options.raise_at, _raise)):
        if boundary is not None:
            trap = Trap(spring)
            set_trap(boundary, trap)
            signal.signal(signal.SIGUSR1, trap.arm)
            if options.armed:
                trap.arm()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.argv[1:] = [options.role]
    command()


if __name__ == "__main__":
    main()
