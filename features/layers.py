"""Windows of cards with many entries that are out of order or reversed, at a cost that grows with the entries.

What came before the first query is there for all of them: sorted by time it is a *layer*, in which a window is a run.
What came among the queries is taken apart into layers that are in order of time as they came. A few are left over,
and those that a reversal takes out while the queries last: they are looked at one by one. Where they are too many the
queries are halved, and less comes among those of a half.
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np

from features.log import RANK_SHIFT, Log
from features.queries import TEN_MINUTES_MS, WEEK_MS, Found, Queries, distinct, live, nothing_found
from features.runs import extremes, pairs
from features.words import Int64

_MOST_LAYERS: Final = 16
# A layer costs a query as much as looking at so many entries.
_WORTH_A_LAYER: Final = 24
_LEFT_PER_QUERY: Final = 64


class _Layers(msgspec.Struct, frozen=True):
    """Positions: of what came before, by time; of each later layer; of what is left, by position."""

    before: Int64
    among: list[Int64]
    left: Int64


class _Sums(msgspec.Struct):
    """Answers in the making, without the queries' own authorizations but for the extremes."""

    found: Found
    previous_key: Int64
    candidates: list[Int64]
    of_query: list[Int64]


def layered(log: Log, queries: Queries) -> Found:
    """Answers to any queries.

    Args:
        log: from `features.log.build_log`.
        queries: in any order; at least one.
    """
    order = queries.position.argsort(kind="stable")
    found = nothing_found(len(order))
    todo = [order]
    while todo:
        at = todo.pop()
        some = queries.take(at)
        layers = _layers_of(log, some)
        begin, end = layers.left.searchsorted(some.week), layers.left.searchsorted(some.position)
        if len(at) > 1 and int((end - begin).sum()) > _LEFT_PER_QUERY * len(at):
            todo += [at[: len(at) // 2], at[len(at) // 2 :]]
            continue
        found.put(at, _answered(log, some, layers, begin, end))
    return found


def _layers_of(log: Log, queries: Queries) -> _Layers:
    """What the queries, in order of position, can reach, without what counts for none of them."""
    heads = np.append(0, np.diff(queries.key >> RANK_SHIFT).nonzero()[0] + 1)
    first, last = queries.position[heads], queries.position[np.append(heads[1:], len(queries.key)) - 1]
    position, _, card = pairs(np.minimum.reduceat(queries.week, heads), last)
    left = np.zeros(len(position), np.bool_)
    if log.undone is not None:
        dead_from = log.undone.dead_from[position]
        counts = ~log.undone.reversal[position] & (dead_from > np.maximum(position, first[card]))
        left = (dead_from <= last[card])[counts]
        position, card = position[counts], card[counts]
    early = position < first[card]
    before = position[early & ~left]
    before = before[log.key[before].argsort(kind="stable")]
    pool, among = position[~early & ~left], list[Int64]()
    while len(pool) and len(among) < _MOST_LAYERS:
        key = log.key[pool]
        rising = key == np.maximum.accumulate(key)
        if np.count_nonzero(rising) < _WORTH_A_LAYER:
            break
        among.append(pool[rising])
        pool = pool[~rising]
    return _Layers(before, among, np.sort(np.concatenate((position[left], pool))))


def _answered(log: Log, queries: Queries, layers: _Layers, begin: Int64, end: Int64) -> Found:
    """Answers of queries that have `left[begin:end]` to look at."""
    sums = _only_themselves(log, queries)
    for number, layer in enumerate((layers.before, *layers.among)):
        if len(layer):
            _add_layer(log, queries, layer, sums, among=number > 0)
    if len(at := (end > begin).nonzero()[0]):
        _add_left(log, queries, layers.left, (begin, end, at), sums)
    sums.found.countries[:], sums.found.mccs[:] = distinct(
        log, np.concatenate(sums.candidates), np.concatenate(sums.of_query), len(queries.key)
    )
    return sums.found


def _only_themselves(log: Log, queries: Queries) -> _Sums:
    """Answers to which nothing has been added yet."""
    own, q = log.amount_minor[queries.position], len(queries.key)
    found = nothing_found(q)
    for name in ("total_ten", "smallest_ten", "largest_ten", "total_week", "largest_week"):
        getattr(found, name)[:] = own
    found.count_ten[:] = found.count_week[:] = 1
    found.previous[:] = -1
    return _Sums(found, np.full(q, -1), [queries.position], [np.arange(q)])


def _add_layer(log: Log, queries: Queries, layer: Int64, sums: _Sums, *, among: bool) -> None:
    """Add what a layer, in order of time, has before each query; one that came among them ends at its position."""
    found, key = sums.found, log.key[layer]
    amount = np.append(log.amount_minor[layer], 0)
    running = np.append(0, log.amount_minor[layer].cumsum())
    end = key.searchsorted(queries.key, "right")
    if among:
        end = np.minimum(end, layer.searchsorted(queries.position))
    week, ten = (
        np.minimum(key.searchsorted(np.maximum(queries.key - width, queries.oldest)), end)
        for width in (WEEK_MS, TEN_MINUTES_MS)
    )
    found.count_week[:] += end - week
    found.count_ten[:] += end - ten
    found.total_week[:] += running[end] - running[week]
    found.total_ten[:] += running[end] - running[ten]
    found.largest_week[:] = extremes(np.maximum, amount, week, end, found.largest_week)
    found.largest_ten[:] = extremes(np.maximum, amount, ten, end, found.largest_ten)
    found.smallest_ten[:] = extremes(np.minimum, amount, ten, end, found.smallest_ten)
    some = (end > week).nonzero()[0]
    _add_previous(sums, some, key[end[some] - 1], layer[end[some] - 1])
    if len(some := (end > ten).nonzero()[0]):
        candidate, _, query = pairs(ten[some], end[some] - 1)
        sums.candidates.append(layer[candidate])
        sums.of_query.append(some[query])


def _add_left(log: Log, queries: Queries, left: Int64, runs: tuple[Int64, Int64, Int64], sums: _Sums) -> None:
    """Add what counts among what is left, `left[begin:end]` of each of the queries at an index."""
    begin, end, at = runs
    found, (candidate, _, run) = sums.found, pairs(begin[at], end[at] - 1)
    candidate, query = left[candidate], at[run]
    age_ms = queries.key[query] - log.key[candidate]
    chosen = live(log, candidate, queries, query) & (age_ms <= WEEK_MS)
    candidate, query, age_ms = candidate[chosen], query[chosen], age_ms[chosen]
    amount, recent = log.amount_minor[candidate], age_ms <= TEN_MINUTES_MS
    np.add.at(found.count_week, query, 1)
    np.add.at(found.total_week, query, amount)
    np.maximum.at(found.largest_week, query, amount)
    latest = np.full(len(queries.key), -1)
    np.maximum.at(latest, query, log.key[candidate])
    position = np.full(len(queries.key), -1)
    newest = log.key[candidate] == latest[query]
    np.maximum.at(position, query[newest], candidate[newest])
    some = (position >= 0).nonzero()[0]
    _add_previous(sums, some, latest[some], position[some])
    candidate, query, amount = candidate[recent], query[recent], amount[recent]
    np.add.at(found.count_ten, query, 1)
    np.add.at(found.total_ten, query, amount)
    np.maximum.at(found.largest_ten, query, amount)
    np.minimum.at(found.smallest_ten, query, amount)
    sums.candidates.append(candidate)
    sums.of_query.append(query)


def _add_previous(sums: _Sums, at: Int64, key: Int64, position: Int64) -> None:
    """Take the newest for the previous one; of equal times that which came last."""
    newer = (key > sums.previous_key[at]) | ((key == sums.previous_key[at]) & (position > sums.found.previous[at]))
    sums.previous_key[at[newer]] = key[newer]
    sums.found.previous[at[newer]] = position[newer]
