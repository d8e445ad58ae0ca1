"""Exact sliding windows over histories in order of application: the one implementation, online and offline.

Definitions are those of the contract, section 3.4. For an authorization *i* at position *p* of its card's log, with
effective time `t_i`, a window of width W holds the authorizations *j* at or before *p* with `t_j` in `[t_i - W, t_i]`,
not taken out by a reversal at or before *p*; *i* itself is always in. What lies more than `retention` behind the
newest authorization at or before *p* is gone.

Three roads lead to the same integers. Where the part of the log that a window can reach is in time order and free of
reversals, the window is a contiguous run: counts and sums are differences. Elsewhere every candidate is looked at where
they are few, and where they are many they are sorted into layers first (`features/layers.py`). A running maximum of the
times bounds the candidates in all of them.
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np

from features.layers import layered
from features.log import NEVER, RANK_SHIFT, TIME_MASK, Log
from features.queries import TEN_MINUTES_MS, WEEK_MS, Found, Queries, distinct, live, nothing_found
from features.runs import extremes, pairs, parts
from features.tiles import Tiles, tiles_in
from features.words import Int64, codes_of

__all__ = ["TEN_MINUTES_MS", "WEEK_MS", "Aggregates", "Window", "aggregate"]

_PAIRS_AT_ONCE: Final = 2_000_000
# Queries that can reach more entries than that are worth layers, if all of them together have so many to look at.
_LONG: Final = 256
_PAIRS_WORTH_LAYERS: Final = 16_384


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
    queries = Queries(position, key, oldest, week, ten)
    found = _answered(log, queries)
    if tiles is not None and len(tiles.table):
        found = _with_tiles(found, tiles, queries)
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
        countries=found.countries,
        mccs=found.mccs,
        late_by_ms=late_by_ms,
    )


def _with_tiles(found: Found, tiles: Tiles, queries: Queries) -> Found:
    time_ms = queries.key & TIME_MASK
    begin_ms = np.maximum(time_ms - WEEK_MS, queries.oldest & TIME_MASK)
    count, total, largest = tiles_in(tiles, queries.key >> RANK_SHIFT, begin_ms, time_ms)
    return msgspec.structs.replace(
        found,
        count_week=found.count_week + count,
        total_week=found.total_week + total,
        largest_week=np.maximum(found.largest_week, largest),
    )


def _answered(log: Log, queries: Queries) -> Found:
    """The windows, each query by the road that its week allows."""
    if log.mess is None:
        return _contiguous(log, queries)
    messes = log.mess.cumsum()
    messy = messes[queries.position] - messes[queries.week] + log.mess[queries.week] > 0
    size = queries.position + 1 - queries.week
    long = messy & (size > _LONG)
    if int(size[long].sum()) < _PAIRS_WORTH_LAYERS:
        long[:] = False
    found = nothing_found(len(messy))
    for chosen, road in ((~messy, _contiguous), (messy & ~long, _scanned), (long, layered)):
        if len(at := chosen.nonzero()[0]):
            found.put(at, road(log, queries.take(at)))
    return found


def _contiguous(log: Log, queries: Queries) -> Found:
    """Windows that are runs of the log: differences of running sums, and extremes of the runs."""
    # Sums wrap around and so do their differences: exact while a window's own sum fits in 63 bits.
    running = log.amount_minor.cumsum()
    position = queries.position
    own = log.amount_minor[position]
    count, count_ten = position + 1 - queries.week, position + 1 - queries.ten_minutes
    total_ten, smallest_ten, largest_ten = own.copy(), own.copy(), own.copy()
    countries, mccs = ((codes != 0).astype(np.int64) for codes in codes_of(log.words[position]))
    if len(many := (count_ten > 1).nonzero()[0]):
        begin, end = queries.ten_minutes[many], position[many]
        total_ten[many] += running[end - 1] - running[begin] + log.amount_minor[begin]
        smallest_ten[many] = extremes(np.minimum, log.amount_minor, begin, end, own[many])
        largest_ten[many] = extremes(np.maximum, log.amount_minor, begin, end, own[many])
        for part in parts(count_ten[many], _PAIRS_AT_ONCE):
            candidate, _, query = pairs(begin[part], end[part])
            countries[many[part]], mccs[many[part]] = distinct(log, candidate, query, len(part))
    return Found(
        count_ten, total_ten, smallest_ten, largest_ten, count,
        running[position] - running[queries.week] + log.amount_minor[queries.week],
        extremes(np.maximum, log.amount_minor, queries.week, position, own),
        np.where(count > 1, position - 1, -1), countries, mccs,
    )  # fmt: skip


def _scanned(log: Log, queries: Queries) -> Found:
    """Windows found by looking at every candidate, a bounded number of them at a time."""
    found = nothing_found(len(queries.key))
    for part in parts(queries.position + 1 - queries.week, _PAIRS_AT_ONCE):
        found.put(part, _scanned_part(log, queries.take(part)))
    return found


def _scanned_part(log: Log, queries: Queries) -> Found:
    candidate, offsets, query = pairs(queries.week, queries.position)
    standing = live(log, candidate, queries, query)
    amount = log.amount_minor[candidate]
    age_ms = queries.key[query] - log.key[candidate]
    week, ten = standing & (age_ms <= WEEK_MS), standing & (age_ms <= TEN_MINUTES_MS)
    earlier = week & (candidate != queries.position[query])
    nearest = np.minimum.reduceat(np.where(earlier, age_ms, NEVER), offsets)
    latest = np.where(earlier & (age_ms == nearest[query]), candidate, -1)
    countries, mccs = distinct(log, candidate[ten], query[ten], len(offsets))
    return Found(
        count_ten=np.add.reduceat(ten, offsets, dtype=np.int64),
        total_ten=np.add.reduceat(np.where(ten, amount, 0), offsets),
        smallest_ten=np.minimum.reduceat(np.where(ten, amount, NEVER), offsets),
        largest_ten=np.maximum.reduceat(np.where(ten, amount, 0), offsets),
        count_week=np.add.reduceat(week, offsets, dtype=np.int64),
        total_week=np.add.reduceat(np.where(week, amount, 0), offsets),
        largest_week=np.maximum.reduceat(np.where(week, amount, 0), offsets),
        previous=np.maximum.reduceat(latest, offsets),
        countries=countries,
        mccs=mccs,
    )
