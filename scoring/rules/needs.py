"""What must hold for a condition to be true of any row of a batch: looked at first, since evaluating costs far more.

A comparison of a field with a number can be true of no row where it is false of the field's largest and smallest value;
a look-up not where nothing was found. Nothing here decides: what may be true is evaluated, and a need that is not known
(None) may always be true.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple, Protocol

Ends = tuple[float, float]
"""Smallest and largest value of a column; NaN where one of its values is."""


class Batch(Protocol):
    """What is asked of a batch."""

    def ends(self, field: str) -> Ends:
        """Of a column of numbers; infinite where it is not known."""
        ...

    def holds(self, field: str, text: str) -> bool:
        """Whether a column of texts may hold a text."""
        ...

    def found(self, column: str) -> bool:
        """Whether a look-up, by the name of its column, may have found something."""
        ...


class Number(NamedTuple):
    """A field compared with a number."""

    field: str
    sign: str
    value: float

    def may_hold(self, batch: Batch) -> bool:
        """See `may_be_true`."""
        return not _FALSE_OF_ALL[self.sign](batch.ends(self.field), self.value)


class Text(NamedTuple):
    """A field that equals a text."""

    field: str
    value: str

    def may_hold(self, batch: Batch) -> bool:
        """See `may_be_true`."""
        return batch.holds(self.field, self.value)


class Found(NamedTuple):
    """A look-up, by the name of its column."""

    column: str

    def may_hold(self, batch: Batch) -> bool:
        """See `may_be_true`."""
        return batch.found(self.column)


class Every(NamedTuple):
    """All of them."""

    needs: tuple[Need, ...]

    def may_hold(self, batch: Batch) -> bool:
        """See `may_be_true`."""
        return all(need.may_hold(batch) for need in self.needs)


class Some(NamedTuple):
    """One of them at least."""

    needs: tuple[Need, ...]

    def may_hold(self, batch: Batch) -> bool:
        """See `may_be_true`."""
        return any(need.may_hold(batch) for need in self.needs)


Need = Number | Text | Found | Every | Some

# With NaN, which Polars takes for larger than any number, every comparison here is false: the rule is evaluated.
_FALSE_OF_ALL: Final[Mapping[str, Callable[[Ends, float], bool]]] = {
    ">": lambda ends, value: ends[1] <= value,
    ">=": lambda ends, value: ends[1] < value,
    "<": lambda ends, value: ends[0] >= value,
    "<=": lambda ends, value: ends[0] > value,
    "=": lambda ends, value: ends[1] < value or ends[0] > value,
}
UNKNOWN_ENDS: Final = (-math.inf, math.inf)


def comparison(field: str, sign: str, value: float | str) -> Need | None:
    """What a comparison of a field needs; None where that is not known."""
    if isinstance(value, str):
        return Text(field, value) if sign == "=" else None
    return Number(field, sign, value) if sign in _FALSE_OF_ALL else None


def every(needs: Iterable[Need | None]) -> Need | None:
    """What conditions need that are all to be true."""
    known = tuple(need for need in needs if need is not None)
    return Every(known) if known else None


def some(needs: Iterable[Need | None]) -> Need | None:
    """What conditions need of which one is to be true."""
    known = tuple(needs)
    return None if any(need is None for need in known) else Some(tuple(need for need in known if need is not None))


def may_be_true(need: Need | None, batch: Batch) -> bool:
    """Whether a condition with this need may be true of a row of the batch."""
    return need is None or need.may_hold(batch)
