"""What every fault is made of."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from faults.site import Site

_CHECK_S: Final = 0.05


class FaultError(RuntimeError):
    """A fault could not be made, or its mark was not seen."""


class Fault:
    """Something that goes wrong at its moment, and is mended.

    Attributes:
        hold_s: how long it lasts between `inject` and `heal`.
        crashes: how often a batch in hand may be lost, and come again.
        last_codes: exit codes with which a worker may answer the signal to stop.
        flag: what outcomes must say in `fraud.degraded`, some of them, from its beginning until it is mended.
    """

    hold_s: float = 0.0
    crashes: int = 0
    last_codes: frozenset[int] = frozenset({0})
    flag: str = ""

    def prepare(self, site: Site) -> None:
        """Before workers start: what must stand between them and a server."""

    def inject(self, site: Site) -> None:
        """Begin."""
        raise NotImplementedError

    def heal(self, site: Site) -> None:
        """End it, as an operator would."""

    def settle(self, site: Site) -> list[str]:  # noqa: ARG002 - of faults that wait for something
        """Once all is answered, before workers are told to end: wait for what else must come; what never came."""
        return []

    def close(self, site: Site) -> None:
        """After the row, whatever happened: leave the servers as they were."""

    def complaints(self, site: Site) -> list[str]:
        """What did not go as the fault demands, besides what is compared: no worker ends unless the fault ends it."""
        return [f"workers ended with {site.fleet.ends}"] if site.fleet.ends else []


def wait_for(what: str, ask: Callable[[], bool], timeout_s: float = 60.0) -> None:
    """Ask until the answer is yes; raises FaultError where it stays no."""
    deadline_s = time.monotonic() + timeout_s
    while not ask():
        if time.monotonic() > deadline_s:
            raise FaultError(f"{what} did not happen within {timeout_s:g} s")
        time.sleep(_CHECK_S)
