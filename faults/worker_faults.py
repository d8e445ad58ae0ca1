"""Faults of the workers themselves."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path
from typing import Final

from faults.fault import Fault, wait_for
from faults.fleet import Worker
from faults.site import Site
from faults.worker import SPRUNG

_GATHER_S: Final = 0.3
_STALE_EPOCH: Final = 75


class AtBoundary(Fault):
    """A worker dies, or meets an exception, at one boundary of a batch, after load has gathered.

    Args:
        boundary: of `faults.worker.BOUNDARIES`.
        option: `--die-at` or `--raise-at`.
    """

    crashes = 1

    def __init__(self, boundary: str, option: str = "--die-at") -> None:
        self._boundary, self._option = boundary, option

    def prepare(self, site: Site) -> None:
        """Set the trap of the first worker."""
        site.fleet.next_options = [(self._option, self._boundary)]

    def inject(self, site: Site) -> None:
        """Let records gather while the worker is stopped, and arm the trap."""
        (worker,) = site.fleet.running("score")
        worker.signal(signal.SIGSTOP)
        time.sleep(_GATHER_S)
        worker.signal(signal.SIGUSR1)
        worker.signal(signal.SIGCONT)
        wait_for(f"the {self._boundary} of a batch", (site.folder / SPRUNG).exists)

    def complaints(self, site: Site) -> list[str]:
        """A kill ends the worker; an exception may end it, to be started again, or be survived."""
        allowed = [[("score", -signal.SIGKILL)]] if self._option == "--die-at" else [[], [("score", 70)]]
        return [] if site.fleet.ends in allowed else [f"workers ended with {site.fleet.ends}"]


class DiesAgain(AtBoundary):
    """A worker dies over a batch, and the next one over what comes again of it and all that has gathered since.

    Args:
        boundary: of `faults.worker.BOUNDARIES`.
    """

    crashes = 2

    def prepare(self, site: Site) -> None:
        """Set the trap of the second worker too, armed from the start."""
        super().prepare(site)
        site.fleet.next_options.append(("--die-at", self._boundary, "--armed"))

    def inject(self, site: Site) -> None:
        """Kill the first, and wait until the second is gone too."""
        super().inject(site)
        (site.folder / SPRUNG).unlink()
        wait_for("the end of a second worker", (site.folder / SPRUNG).exists)

    def complaints(self, site: Site) -> list[str]:
        """Two ended so, and no other did."""
        wanted = [("score", -signal.SIGKILL)] * 2
        return [] if site.fleet.ends == wanted else [f"workers ended with {site.fleet.ends}"]


class KillAtRandom(Fault):
    """Workers of a role are killed at random moments, also while they start.

    Args:
        role: `score` or `index`.
        times: how often.
        seed: of the moments.
    """

    def __init__(self, role: str, times: int, seed: int) -> None:
        self._role, self._times = role, times
        self._rng = random.Random(seed)  # noqa: S311 - moments, not secrets
        self.crashes = times if role == "score" else 0

    def inject(self, site: Site) -> None:
        """Kill, wait a random while, and again."""
        for number in range(self._times):
            if number:
                time.sleep(self._rng.uniform(1.0, 5.0))
            wait_for("a worker", lambda: bool(site.fleet.running(self._role)))
            site.fleet.running(self._role)[-1].signal(signal.SIGKILL)

    def complaints(self, site: Site) -> list[str]:
        """Nobody ended otherwise."""
        wanted = [(self._role, -signal.SIGKILL)] * self._times
        return [] if site.fleet.ends == wanted else [f"workers ended with {site.fleet.ends}"]


class RollingStop(Fault):
    """SIGTERM to each worker in turn; a new one takes over, as in a deployment."""

    def __init__(self) -> None:
        self._codes: list[int] = []

    def inject(self, site: Site) -> None:
        """Replace every worker."""
        for worker in site.fleet.running("score"):
            self._codes.append(site.fleet.dismiss(worker))
            site.fleet.start("score")

    def complaints(self, site: Site) -> list[str]:
        """Each ended with 0, and no other did."""
        return super().complaints(site) + [f"ended with {code} when told to stop" for code in self._codes if code]


class JoinAndLeave(Fault):
    """One worker becomes three and then two, the first leaving."""

    def __init__(self) -> None:
        self._code = 0

    def inject(self, site: Site) -> None:
        """Join two, wait until they work, take the first away."""
        (first,) = site.fleet.running("score")
        site.fleet.start("score")
        time.sleep(1.0)
        site.fleet.start("score")
        site.fleet.wait_ready()
        time.sleep(2.0)
        self._code = site.fleet.dismiss(first)

    def complaints(self, site: Site) -> list[str]:
        """Nobody ended otherwise."""
        return super().complaints(site) + ([f"ended with {self._code} when told to stop"] if self._code else [])


class Zombie(Fault):
    """A worker sleeps past its session, another takes its partitions over, and it wakes: it must be fenced."""

    hold_s = 15.0
    crashes = 1
    # It takes seconds to end; the signal to stop may find it at that.
    last_codes = frozenset({0, _STALE_EPOCH})

    def __init__(self) -> None:
        self._sleeper: Worker | None = None

    def inject(self, site: Site) -> None:
        """Stop the first worker's clock in the middle of its work."""
        self._sleeper = site.fleet.running("score")[0]
        self._sleeper.signal(signal.SIGSTOP)

    def heal(self, site: Site) -> None:
        """Wake it."""
        del site
        assert self._sleeper is not None
        self._sleeper.signal(signal.SIGCONT)

    def close(self, site: Site) -> None:
        """A stopped process could not even be told to end."""
        del site
        if self._sleeper is not None:
            self._sleeper.signal(signal.SIGCONT)

    def complaints(self, site: Site) -> list[str]:
        """It ended as one that was fenced, or rejoined without having had a batch in hand."""
        return [f"ended with {c}" for _, c in site.fleet.ends if c != _STALE_EPOCH]


class LogDiskFull(Fault):
    """Nothing that a worker says can be written any more: its standard error leads to a full disk from the start."""

    def prepare(self, site: Site) -> None:
        """Where logs go."""
        site.fleet.log = Path("/dev/full")

    def inject(self, site: Site) -> None:
        """Make it say much: it loses its store and repairs it."""
        site.redis.flushall()
