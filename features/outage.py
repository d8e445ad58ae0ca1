"""A server that is away: said once when it goes, now and then while it is away, and once when it is back."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import structlog

log = structlog.get_logger(__name__)

_REMIND_S: Final = 60.0


class Outage:
    """Keeps one server's absences for logs, health and metrics.

    `failed` and `answered` may be called for every attempt; a log line comes of them only when something changed, or
    a minute later. One thread calls them, any thread may ask.

    Args:
        server: `kafka`, `redis` or `opensearch`.
        variable: the variable that points at it.
        clock_s: seconds that only grow.
        wall_s: epoch seconds.

    Attributes:
        since_s: epoch seconds at which it was first found away, None while it answers.
        failures: attempts that failed, since the process began.
    """

    def __init__(
        self,
        server: str,
        variable: str,
        clock_s: Callable[[], float] = time.monotonic,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        self.server, self.variable = server, variable
        self._clock_s, self._wall_s = clock_s, wall_s
        self._began_s: float | None = None
        self._said_s = 0.0
        self._attempts = 0
        self._over_s = 0.0
        self.since_s: float | None = None
        self.failures = 0

    def failed(self, problem: str) -> None:
        """An attempt has failed; the text says how, for people."""
        now_s = self._clock_s()
        self._attempts += 1
        self.failures += 1
        if self._began_s is None:
            self._began_s, self.since_s, self._said_s = now_s, self._wall_s(), now_s
            self._say("away", problem=problem)
        elif now_s - self._said_s >= _REMIND_S:
            self._said_s = now_s
            self._say("still_away", problem=problem, away_s=round(now_s - self._began_s, 1), attempts=self._attempts)

    def answered(self) -> None:
        """The server has answered; free of cost while nothing was wrong."""
        if self._began_s is None:
            return
        away_s = self._clock_s() - self._began_s
        self._over_s += away_s
        self._began_s = self.since_s = None
        self._say("back", after_s=round(away_s, 3), attempts=self._attempts)
        self._attempts = 0

    def _say(self, what: str, **details: object) -> None:
        event = f"{self.server}_{what}"
        log.warning(event, variable=self.variable, **details)

    @property
    def away_s(self) -> float:
        """For how long it has been away now; 0 while it answers."""
        began_s = self._began_s
        return 0.0 if began_s is None else self._clock_s() - began_s

    @property
    def total_s(self) -> float:
        """Seconds away since the process began, this absence included."""
        return self._over_s + self.away_s
