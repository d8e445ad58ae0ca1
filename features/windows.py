"""Exact sliding windows over histories in order of application: the one implementation, online and offline.

Definitions are those of the contract, section 3.4. For an authorization *i* at position *p* of its card's log, with
effective time `t_i`, a window of width W holds the authorizations *j* at or before *p* with `t_j` in `[t_i - W, t_i]`,
not taken out by a reversal at or before *p*; *i* itself is always in. What lies more than `retention` behind the
newest authorization at or before *p* is gone.

Two roads lead to the same integers. Where the part of the log that a window can reach is in time order and free of
reversals, the window is a contiguous run: counts and sums are differences, extremes are `reduceat`. Elsewhere every
candidate is looked at. A running maximum of the times bounds the candidates in both.
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np

from features.log import NEVER, RANK_SHIFT, TIME_MASK, Log
from features.tiles import Tiles, tiles_in
from features.words import Bool, Int64, codes_of

TEN_MINUTES_MS: Final = 600_000
WEEK_MS: Final = 604_800_000

_PAIRS_AT_ONCE: Final = 2_000_000
# Country and category codes are 14 bits wide (features/history.py).
_CODE_BITS: Final = 14


class Window(msgspec.Struct, frozen=True):
    """Aggregates of one window width, one value per query; amounts in minor units."""

    count: Int64
    total: Int64
    largest: Int64


class Aggregates(msgspec.Struct, frozen=True):
    """What the catalogue's formulas are made of, one value per query.

    Attributes:
        ten_minutes: the ten-minute window.
        week: the one-week window.
        smallest: smallest amount of the ten minutes.
        time_ms: effective time of the query's authorization.
        amount_minor: its amount.
        previous_ms: newest time among the earlier live authorizations of the week, -1 where there is none.
        previous_minor: that authorization's amount, 0 where there is none.
        countries: distinct known countries in the ten minutes.
        mccs: distinct known merchant categories in the ten minutes.
        late_by_ms: how far behind the newest earlier authorization, 0 where not late.
    """

    ten_minutes: Window
    week: Window
    smallest: Int64
    time_ms: Int64
    amount_minor: Int64
    previous_ms: Int64
    previous_minor: Int64
    countries: Int64
    mccs: Int64
    late_by_ms: Int64


class _Queries(msgspec.Struct, frozen=True):
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

    def take(self, at: Int64) -> _Queries:
        return _Queries(*(getattr(self, name)[at] for name in self.__struct_fields__))


class _Found(msgspec.Struct, frozen=True):
    """Answers; `previous` is the position of the previous authorization or -1."""

    count_ten: Int64
    total_ten: Int64
    smallest_ten: Int64
    largest_ten: Int64
    count_week: Int64
    total_week: Int64
    largest_week: Int64
    previous: Int64


def aggregate(log: Log, position: Int64, retention_ms: int, tiles: Tiles | None = None) -> Aggregates:
    """Aggregates of the authorizations at the given positions, each over its own prefix of the log.

    Args:
        log: from `features.log.build_log`.
        position: positions of authorizations, any order, repeats allowed; shape (q,).
        retention_ms: as for `build_log`.
        tiles: what older entries were folded into; they count in the week alone.

    Returns:
        Columns of length q.
    """
    key, newest = log.key[position], log.newest_key[position]
    time_ms = key & TIME_MASK
    oldest = np.maximum(newest - retention_ms, key - time_ms)
    # Nothing before the first entry at which the running maximum reaches a window's begin can be in the window.
    week, ten = (log.newest_key.searchsorted(np.maximum(key - width, oldest)) for width in (WEEK_MS, TEN_MINUTES_MS))
    queries = _Queries(position, key, oldest, week, ten)
    found = _answered(log, queries)
    if tiles is not None and len(tiles.table):
        found = _with_tiles(found, tiles, queries)
    countries, mccs = _distinct(log, queries, found.count_ten)
    has_previous = found.previous >= 0
    late_by_ms = np.zeros(len(position), np.int64)
    if log.mess is not None:
        before = log.newest_key[np.maximum(position - 1, 0)]  # of a card's first: another card's, which is less
        np.maximum(before - key, 0, out=late_by_ms)
    return Aggregates(
        ten_minutes=Window(found.count_ten, found.total_ten, found.largest_ten),
        week=Window(found.count_week, found.total_week, found.largest_week),
        smallest=found.smallest_ten,
        time_ms=time_ms,
        amount_minor=log.amount_minor[position],
        previous_ms=np.where(has_previous, log.key[found.previous] & TIME_MASK, -1),
        previous_minor=np.where(has_previous, log.amount_minor[found.previous], 0),
        countries=countries,
        mccs=mccs,
        late_by_ms=late_by_ms,
    )


def _with_tiles(found: _Found, tiles: Tiles, queries: _Queries) -> _Found:
    time_ms = queries.key & TIME_MASK
    begin_ms = np.maximum(time_ms - WEEK_MS, queries.oldest & TIME_MASK)
    count, total, largest = tiles_in(tiles, queries.key >> RANK_SHIFT, begin_ms, time_ms)
    return msgspec.structs.replace(
        found,
        count_week=found.count_week + count,
        total_week=found.total_week + total,
        largest_week=np.maximum(found.largest_week, largest),
    )


def _answered(log: Log, queries: _Queries) -> _Found:
    """The windows, each query by the road that its week allows."""
    if log.mess is None:
        return _contiguous(log, queries)
    messes = log.mess.cumsum()
    messy = messes[queries.position] - messes[queries.week] + log.mess[queries.week] > 0
    found = _Found(*(np.empty(len(messy), np.int64) for _ in _Found.__struct_fields__))
    for chosen, road in ((~messy, _contiguous), (messy, _scanned)):
        if len(at := chosen.nonzero()[0]):
            some = road(log, queries.take(at))
            for name in _Found.__struct_fields__:
                getattr(found, name)[at] = getattr(some, name)
    return found


def _contiguous(log: Log, queries: _Queries) -> _Found:
    """Windows that are runs of the log: differences of running sums, and `reduceat` over the runs."""
    # Sums wrap around and so do their differences: exact while a window's own sum fits in 63 bits.
    running = log.amount_minor.cumsum()
    position = queries.position
    own = log.amount_minor[position]
    count, count_ten = position + 1 - queries.week, position + 1 - queries.ten_minutes
    total_ten, smallest_ten, largest_ten = own.copy(), own.copy(), own.copy()
    if len(many := (count_ten > 1).nonzero()[0]):
        begin, end = queries.ten_minutes[many], position[many]
        total_ten[many] += running[end - 1] - running[begin] + log.amount_minor[begin]
        smallest_ten[many] = np.minimum(_extremes(np.minimum, log.amount_minor, begin, end), own[many])
        largest_ten[many] = np.maximum(_extremes(np.maximum, log.amount_minor, begin, end), own[many])
    return _Found(
        count_ten, total_ten, smallest_ten, largest_ten, count,
        running[position] - running[queries.week] + log.amount_minor[queries.week],
        np.maximum(_extremes(np.maximum, log.amount_minor, queries.week, position), own),
        np.where(count > 1, position - 1, -1),
    )  # fmt: skip


def _extremes(extreme: np.ufunc, amounts: Int64, begin: Int64, end: Int64) -> Int64:
    """The extreme of each run `begin..end`, its end not included; of a run without anything the amount at `end`."""
    # `reduceat` also looks at what lies between one run and the next: in order of position that is next to nothing.
    order = end.argsort(kind="stable")
    runs = np.empty((len(end), 2), np.int64)
    runs[:, 0] = begin[order]
    runs[:, 1] = end[order]
    found = np.empty(len(end), np.int64)
    found[order] = extreme.reduceat(amounts, runs.ravel())[::2]
    return found


def _scanned(log: Log, queries: _Queries) -> _Found:
    """Windows found by looking at every candidate, a bounded number of them at a time."""
    sizes = queries.position + 1 - queries.week
    parts = np.split(np.arange(len(sizes)), np.flatnonzero(np.diff(sizes.cumsum() // _PAIRS_AT_ONCE)) + 1)
    found = [_scanned_part(log, queries.take(part)) for part in parts]
    return _Found(*(np.concatenate([getattr(part, name) for part in found]) for name in _Found.__struct_fields__))


def _scanned_part(log: Log, queries: _Queries) -> _Found:
    candidate, offsets, query = _pairs(queries.week, queries.position)
    live = _live(log, candidate, queries, query)
    amount = log.amount_minor[candidate]
    age_ms = queries.key[query] - log.key[candidate]
    week, ten = live & (age_ms <= WEEK_MS), live & (age_ms <= TEN_MINUTES_MS)
    earlier = week & (candidate != queries.position[query])
    nearest = np.minimum.reduceat(np.where(earlier, age_ms, NEVER), offsets)
    latest = np.where(earlier & (age_ms == nearest[query]), candidate, -1)
    return _Found(
        count_ten=np.add.reduceat(ten, offsets, dtype=np.int64),
        total_ten=np.add.reduceat(np.where(ten, amount, 0), offsets),
        smallest_ten=np.minimum.reduceat(np.where(ten, amount, NEVER), offsets),
        largest_ten=np.maximum.reduceat(np.where(ten, amount, 0), offsets),
        count_week=np.add.reduceat(week, offsets, dtype=np.int64),
        total_week=np.add.reduceat(np.where(week, amount, 0), offsets),
        largest_week=np.maximum.reduceat(np.where(week, amount, 0), offsets),
        previous=np.maximum.reduceat(latest, offsets),
    )


def _live(log: Log, candidate: Int64, queries: _Queries, query: Int64) -> Bool:
    """Which candidates are authorizations not later than their query, still in the history and not reversed."""
    key, position = log.key[candidate], queries.position[query]
    standing = (key >= queries.oldest[query]) & (key <= queries.key[query])
    if log.undone is not None:
        standing &= (log.undone.dead_from[candidate] > position) & ~log.undone.reversal[candidate]
    return np.asarray(standing | (candidate == position))


def _pairs(begin: Int64, last: Int64) -> tuple[Int64, Int64, Int64]:
    """Every position of the runs `begin..last`, where each run begins among them, and the run of each."""
    sizes = last + 1 - begin
    offsets = sizes.cumsum() - sizes
    query = np.arange(len(begin)).repeat(sizes)
    return np.arange(len(query)) + (begin - offsets)[query], offsets, query


def _distinct(log: Log, queries: _Queries, count: Int64) -> tuple[Int64, Int64]:
    """Distinct known countries and merchant categories in the ten-minute windows."""
    country, mcc = ((codes != 0).astype(np.int64) for codes in codes_of(log.words[queries.position]))
    if len(many := (count > 1).nonzero()[0]):
        some = queries.take(many)
        candidate, _, query = _pairs(some.ten_minutes, some.position)
        inside = _live(log, candidate, some, query) & (some.key[query] - log.key[candidate] <= TEN_MINUTES_MS)
        candidate, query = candidate[inside], query[inside]
        for column, codes in zip((country, mcc), codes_of(log.words[candidate]), strict=True):
            known = codes != 0
            combined = np.unique((query[known] << _CODE_BITS) | codes[known])
            column[many] = np.bincount(combined >> _CODE_BITS, minlength=len(many))
    return country, mcc
