"""The routes file changes while the role runs: what can be used is put in force, what cannot is refused.

The file is looked at every second and on SIGHUP, and loaded once it has stood still for a look. A refused file changes
nothing: the routes before stay in force, and metric and log say so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

import structlog

from features.errors import ConfigError
from features.hidden import hide
from scoring.stamp import Watched, stamp
from streams.alert.courier import Sender
from streams.alert.plan import Plan
from streams.looking import Looking
from streams.watch.metrics import AlertMetrics

log = structlog.get_logger(__name__)

LOOK_S: Final = 1.0

Load = Callable[[], tuple[Plan, Mapping[str, Sender]]]
"""Loads the file: the plan, and what delivers to each channel; raises ConfigError."""
Adopt = Callable[[Plan, Mapping[str, Sender]], Awaitable[bool]]
"""Puts a plan in force; whether it differs from the one before."""


class RoutesWatch:
    """Keeps the routes of a running role up to date.

    Args:
        file: the routes file.
        load: loads it.
        now_ms: the clock, epoch milliseconds.
        metrics: tell of changes and refusals.
        look_s: seconds from one look to the next.
    """

    def __init__(
        self, file: Path, load: Load, now_ms: Callable[[], int], metrics: AlertMetrics, look_s: float = LOOK_S
    ) -> None:
        self._file, self._load, self._now_ms = file, load, now_ms
        self._metrics = metrics
        self._watched = Watched(stamp([file]))
        self._adopt: Adopt | None = None
        self._looking = Looking(self._look, look_s)

    def start(self, adopt: Adopt) -> None:
        """Look from now on."""
        self._adopt = adopt
        self._looking.start("alert-routes")

    def hurry(self) -> None:
        """Look now, and load the file anew."""
        self._watched.wanted = True
        self._looking.hurry()

    def check(self) -> None:
        """Raise what ended the looking, if anything did."""
        self._looking.check()

    async def stop(self) -> None:
        """Look no more."""
        await self._looking.stop()

    async def _look(self) -> None:
        assert self._adopt is not None, "start comes first"
        seen = await asyncio.to_thread(stamp, [self._file])
        if self._watched.is_due(seen, self._now_ms()):
            await self._take(seen, self._adopt)

    async def _take(self, seen: str, adopt: Adopt) -> None:
        try:
            plan, senders = await asyncio.to_thread(self._load)
        except ConfigError as exc:
            if str(exc) != self._watched.problem:
                # Of an error of the tree the message is all there is to know.
                log.error("routes_refused", problem=str(exc))  # noqa: TRY400
            self._watched.refused(seen, str(exc), self._now_ms())
            self._metrics.routes_refused(refused=True)
            return
        hide(plan.secrets())
        changed = await adopt(plan, senders)
        self._watched.loaded(seen)
        self._metrics.routes_refused(refused=False)
        if changed:
            self._metrics.routes_changed()
            log.info("routes_changed", routes=len(plan.routes), channels=sorted(plan.channels))
