"""Counting what rule sets do to batches of transactions, in memory that does not grow with their number."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from scoring.decision import VERDICTS
from scoring.rules.ruleset import NOBODY, Decided, Rule

Bool = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FLAGGED = 1
"""From this place in VERDICTS on, a transaction is reviewed or blocked."""


class Sums(msgspec.Struct, frozen=True):
    """Transactions of one kind.

    Attributes:
        count, frauds: how many, and how many of them fraudulent.
        value, fraud_value: their amounts in major units.
    """

    count: int = 0
    frauds: int = 0
    value: float = 0.0
    fraud_value: float = 0.0

    @property
    def ordinary_value(self) -> float:
        """The amounts that are not fraudulent."""
        return self.value - self.fraud_value

    @property
    def precision(self) -> float | None:
        """Share of them that is fraudulent; None where there are none."""
        return self.frauds / self.count if self.count else None


class Weights(msgspec.Struct, frozen=True):
    """What is counted of n transactions: their amounts, and which are fraudulent."""

    amount: Floats
    fraud: Bool

    def table(self, group: Ints, groups: int) -> Floats:
        """Counts, frauds, amounts and fraudulent amounts of each group; shape (groups, 4)."""
        fraud_group, fraud_amount = group[self.fraud], self.amount[self.fraud]
        return np.stack(
            (
                np.bincount(group, minlength=groups),
                np.bincount(fraud_group, minlength=groups),
                np.bincount(group, self.amount, groups),
                np.bincount(fraud_group, fraud_amount, groups),
            ),
            axis=1,
        ).astype(np.float64)

    def of(self, rows: NDArray[np.intp]) -> Floats:
        """The same four of some rows; shape (4,)."""
        fraud, amount = self.fraud[rows], self.amount[rows]
        return np.array([len(rows), np.count_nonzero(fraud), amount.sum(), amount[fraud].sum()])


def sums(row: Floats) -> Sums:
    """Four numbers as a record."""
    return Sums(int(row[0]), int(row[1]), float(row[2]), float(row[3]))


class RuleTally:
    """Adds up what each rule of a set matches and decides.

    Args:
        rules: as in `Decided.rules`.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = tuple(rules)
        self.hits = np.zeros((len(rules), 4))
        self.decided = np.zeros((len(rules), 4))
        self.alone = np.zeros(len(rules), np.int64)
        self.together = np.zeros((len(rules), len(rules)), np.int64)

    def add(self, decided: Decided, weights: Weights) -> None:
        """Take in a batch."""
        n, count = len(decided.deciding), len(self.rules)
        for place, rows in enumerate(decided.hits):
            if len(rows):
                self.hits[place] += weights.of(rows)
        # One group more, for what no rule decides.
        self.decided += weights.table(decided.deciding.astype(np.int64) - NOBODY, count + 1)[1:]
        matches = np.zeros(n, np.int64)
        for rule, rows in zip(self.rules, decided.hits, strict=True):
            matches[rows] += not rule.shadow
        bits = []
        for place, rows in enumerate(decided.hits):
            self.alone[place] += np.count_nonzero(matches[rows] == (not self.rules[place].shadow))
            marks = np.zeros(n, np.bool_)
            marks[rows] = True
            bits.append(np.packbits(marks))
        for place, own in enumerate(bits):
            for other in range(place, count):
                if len(decided.hits[place]) and len(decided.hits[other]):
                    both = int(np.bitwise_count(own & bits[other]).sum())
                    self.together[place, other] += both
                    self.together[other, place] = self.together[place, other]


class DayTally:
    """Adds up outcomes by day: shape (days, verdicts, 4), the days growing as they come."""

    def __init__(self) -> None:
        self._days: dict[int, Floats] = {}

    def add(self, day: Ints, level: Ints, weights: Weights) -> None:
        """Take in a batch: the day of each transaction since 1970, and the place of its outcome in VERDICTS."""
        days, place = np.unique(day, return_inverse=True)
        width = len(VERDICTS)
        table = weights.table(place * width + level, len(days) * width).reshape(len(days), width, 4)
        for one, found in zip(days.tolist(), table, strict=True):
            self._days[one] = self._days.get(one, 0) + found

    def rows(self) -> list[tuple[int, Floats]]:
        """Each day and its table, in order of time."""
        return sorted(self._days.items())
