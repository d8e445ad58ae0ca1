"""What is asked of a log and what is answered, whichever road finds it."""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np

from features.log import Log
from features.words import CODE_MASK, Bool, Int64

TEN_MINUTES_MS: Final = 600_000
WEEK_MS: Final = 604_800_000

# Country and category codes are 14 bits wide (features/history.py).
_CODE_BITS: Final = 14
# A table of queries by codes may be so many times as large as the list that it stands for.
_TABLE_FACTOR: Final = 32


class Queries(msgspec.Struct, frozen=True):
    """What is asked; every column of length q.

    Attributes:
        position: of the authorizations.
        key: theirs.
        oldest: key of the oldest time that is still in the history.
        week: first position that the week can reach.
        ten_minutes: the same of the ten minutes.
    """

    position: Int64
    key: Int64
    oldest: Int64
    week: Int64
    ten_minutes: Int64

    def take(self, at: Int64) -> Queries:
        """The queries at an index."""
        return Queries(*(getattr(self, name)[at] for name in self.__struct_fields__))


class Found(msgspec.Struct, frozen=True):
    """Answers, columns of length q; `previous` is the position of the previous authorization or -1."""

    count_ten: Int64
    total_ten: Int64
    smallest_ten: Int64
    largest_ten: Int64
    count_week: Int64
    total_week: Int64
    largest_week: Int64
    previous: Int64
    countries: Int64
    mccs: Int64

    def put(self, at: Int64, some: Found) -> None:
        """Write the answers of the queries at an index."""
        for name in self.__struct_fields__:
            getattr(self, name)[at] = getattr(some, name)


def nothing_found(q: int) -> Found:
    """Room for the answers of q queries."""
    return Found(*np.empty((len(Found.__struct_fields__), q), np.int64))


def live(log: Log, candidate: Int64, queries: Queries, query: Int64) -> Bool:
    """Which candidates are authorizations not later than their query, still in the history and not reversed."""
    key, position = log.key[candidate], queries.position[query]
    standing = (key >= queries.oldest[query]) & (key <= queries.key[query])
    if log.undone is not None:
        standing &= (log.undone.dead_from[candidate] > position) & ~log.undone.reversal[candidate]
    return np.asarray(standing | (candidate == position))


def distinct(log: Log, candidate: Int64, query: Int64, queries: int) -> tuple[Int64, Int64]:
    """Distinct known countries and merchant categories among the candidates of each of so many queries."""
    countries, mccs = (
        _distinct_codes((log.words[:, word][candidate] & CODE_MASK).view(np.int64), query, queries) for word in (0, 1)
    )
    return countries, mccs


def _distinct_codes(codes: Int64, query: Int64, queries: int) -> Int64:
    there = np.zeros(1 << _CODE_BITS, np.bool_)
    there[codes] = True
    there[0] = True  # the unknown, which does not count
    width = np.count_nonzero(there)
    if queries * width > _TABLE_FACTOR * len(codes):
        known = codes != 0
        combined = np.unique((query[known] << _CODE_BITS) | codes[known])
        return np.bincount(combined >> _CODE_BITS, minlength=queries)
    table = np.zeros((queries, width), np.bool_)
    table.ravel()[query * width + (there.cumsum() - 1)[codes]] = True
    return np.asarray(np.count_nonzero(table[:, 1:], axis=1))
