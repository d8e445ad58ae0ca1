"""A change in the middle of a history: from one moment on, attacks of a kind that was not there before.

The pattern is a slow drain: purchases of like amounts, some minutes apart. Nothing in it is as fast as the attacks of
the reference, so a model that has learned those alone does not see it begin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from local import population

Ints = NDArray[np.int64]

GAP_MS: Final = (240_000, 420_000)
"""Shortest and longest time between two transactions of a drain."""
AMOUNTS_MINOR: Final = (20_000, 30_000)
"""Smallest and largest amount of a drain's first transaction after its head, in cents."""
_SPREAD: Final = 0.1
"""By how much the amounts of one drain differ from that, as a share of it."""


@dataclass(frozen=True, slots=True)
class Change:
    """When the new attacks begin, and how many they are.

    Attributes:
        at_ms: first moment, epoch milliseconds.
        share: share of the later transactions that belong to them, above 0 and below 1.
    """

    at_ms: int
    share: float = 0.02

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ValueError(f"the share of the new attacks must be above 0 and below 1, not {self.share}")


@dataclass(frozen=True, slots=True)
class Drains:
    """What becomes of ordinary purchases; every array has shape (n,).

    Attributes:
        row: purchases that are made part of a drain, by their place.
        source: the head of the drain, by its place: gives card and time.
        delay_ms: time after the head; 0: the head itself, which stays as it is.
        amount_minor: in cents; of a head not looked at.
        attack: number of the drain, from 0.
        position: from 1, the head.
    """

    row: Ints
    source: Ints
    delay_ms: Ints
    amount_minor: Ints
    attack: Ints
    position: Ints


def draw(rng: np.random.Generator, candidates: Ints, share: float) -> Drains:
    """Make ordinary purchases into drains.

    Args:
        rng: source of randomness.
        candidates: places of the purchases that may be taken, in any order.
        share: of them, how many are made part of a drain.
    """
    wanted = int(len(candidates) * share)
    lengths = population.attack_lengths(rng, max(wanted // population.ATTACK_LENGTHS[0], 1))
    lengths = lengths[np.cumsum(lengths) <= wanted]
    total = int(lengths.sum())
    row = rng.choice(candidates, size=total, replace=False)
    attack = np.repeat(np.arange(len(lengths)), lengths)
    first = np.cumsum(lengths) - lengths
    position = np.arange(total) - first[attack] + 1
    gap_ms = np.where(position > 1, rng.integers(*GAP_MS, size=total, endpoint=True), 0)
    elapsed_ms = np.cumsum(gap_ms)
    base = rng.integers(*AMOUNTS_MINOR, size=len(lengths), endpoint=True)[attack]
    amount_minor = (base * (1 + _SPREAD * rng.uniform(-1, 1, size=total))).astype(np.int64)
    return Drains(row, row[first][attack], elapsed_ms - elapsed_ms[first][attack], amount_minor, attack, position)
