"""Hot change: a worker looks every second whether its model, rules or lists are new, and decides by them from then on.

A batch is decided by the policy that was in force when its decision began, so it is one policy from its first record to
its last. What cannot be used is refused: the old version stays in force, and metrics, log and `fraudstream reload` say
so. A file is loaded once it has stood still for a look, since somebody may still be writing it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

import structlog

from features.errors import ModelError, RulesError, ServerUnavailable
from scoring.policy import Policy
from scoring.stamp import Watched
from streams.decisions import Decisions
from streams.lists import ListBook
from streams.looking import Looking
from streams.policy.board import Board, Standing
from streams.policy.files import Part, PolicyFiles
from streams.watch.policy_metrics import PolicyMetrics

log = structlog.get_logger(__name__)

LOOK_S: Final = 1.0


class Reloader:
    """Keeps what a worker decides by up to date.

    Args:
        files: where its policy comes from.
        decisions: decide by it.
        book: lists in Redis.
        board: where the worker tells what it decides by.
        worker: its name.
        now_ms: the clock, epoch milliseconds.
        metrics: tell of changes and refusals.
        look_s: seconds from one look to the next.
    """

    def __init__(
        self,
        files: PolicyFiles,
        decisions: Decisions,
        *,
        book: ListBook,
        board: Board,
        worker: str,
        now_ms: Callable[[], int],
        metrics: PolicyMetrics,
        look_s: float = LOOK_S,
    ) -> None:
        self._files, self._decisions, self._book, self._board = files, decisions, book, board
        self._worker, self._now_ms, self._metrics = worker, now_ms, metrics
        self._watched: dict[Part, Watched] = {}
        self._looking = Looking(self._look, look_s)
        self._requested = self._answered = 0
        self._redis_away = False
        self._partitions: tuple[int, ...] = ()

    async def start(self) -> None:
        """Read the lists, and look from now on.

        Raises:
            ConfigError: Redis refuses us.
        """
        stamps = await asyncio.to_thread(self._files.stamps, self._decisions.policy)
        self._watched = {part: Watched(stamp) for part, stamp in stamps.items()}
        self._metrics.in_force(self._decisions.policy)
        await self._talk(first=True)
        self._looking.start("policy")

    def assigned(self, partitions: Iterable[int]) -> None:
        """The worker owns these partitions."""
        self._partitions = tuple(partitions)

    def hurry(self) -> None:
        """Look now, and load everything anew."""
        for watched in self._watched.values():
            watched.wanted = True
        self._looking.hurry()

    def check(self) -> None:
        """Raise what ended the looking, if anything did."""
        self._looking.check()

    async def stop(self) -> None:
        """Look no more."""
        await self._looking.stop()
        with suppress(ServerUnavailable):
            await self._board.leave(self._partitions)
        await self._board.close()

    async def _look(self) -> None:
        stamps = await asyncio.to_thread(self._files.stamps, self._decisions.policy)
        for part, stamp in stamps.items():
            if self._watched[part].is_due(stamp, self._now_ms()):
                await self._take(part, stamp)
        await self._talk()

    async def _take(self, part: Part, stamp: str) -> None:
        """Put the new version of a part in force, or refuse it."""
        watched, old = self._watched[part], self._decisions.policy
        try:
            new = await asyncio.to_thread(self._files.renewed, old, part)
            # Its lists first: rules in force whose lists are not known would match too little.
            await self._read_lists(new)
        except (ModelError, RulesError) as exc:
            if str(exc) != watched.problem:
                # Of an error of the tree the message is all there is to know.
                log.error("policy_refused", part=part, problem=str(exc), in_force=_version(old, part))  # noqa: TRY400
            watched.refused(stamp, str(exc), self._now_ms())
            self._metrics.refused(part, refused=True)
        except ServerUnavailable as exc:
            # Nothing is wrong with it; it is due again at the next look.
            if str(exc) != watched.problem:
                log.warning("policy_waits", part=part, problem=str(exc))
            watched.wanted, watched.problem = True, str(exc)
        else:
            # No await from here on: both are in force together.
            self._decisions.policy, self._decisions.members = new, self._book.members
            watched.loaded(stamp)
            self._metrics.refused(part, refused=False)
            self._tell_change(part, old, new)

    def _tell_change(self, part: Part, old: Policy, new: Policy) -> None:
        before, after = _version(old, part), _version(new, part)
        if before != after:
            log.info("policy_changed", part=part, before=before, now=after)
            self._metrics.changed(part)
        self._metrics.in_force(new)

    async def _talk(self, *, first: bool = False) -> None:
        """Bring the lists up to date, hear whether a reload is asked for, and tell what is in force."""
        try:
            await self._read_lists(self._decisions.policy)
            self._decisions.members = self._book.members
            requested = await self._board.asked()
            if first:
                self._requested = self._answered = requested
            if requested != self._requested:
                self._requested = requested
                self.hurry()
            if not any(watched.wanted for watched in self._watched.values()):
                self._answered = self._requested
            await self._board.tell(self._standing(), self._partitions)
        except ServerUnavailable as exc:
            if not self._redis_away:
                log.warning("lists_not_refreshed", problem=str(exc))
            self._redis_away = True
        else:
            self._redis_away = False
        self._metrics.lists_stale(stale=self._redis_away)

    async def _read_lists(self, policy: Policy) -> None:
        wanted = {} if policy.rules is None else policy.rules.redis_lists
        await self._book.refresh(wanted, self._now_ms())

    def _standing(self) -> Standing:
        policy = self._decisions.policy
        return Standing(
            worker=self._worker,
            answered=self._answered,
            versions={part: _version(policy, part) for part in self._files.parts},
            problems={part: watched.problem for part, watched in self._watched.items() if watched.problem},
        )


def _version(policy: Policy, part: Part) -> str:
    found = getattr(policy, part)
    return found.version if found is not None else ""
