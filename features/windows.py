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

from features.history import Bool, Entries, Int64
from features.tiles import Tiles, tiles_in

TEN_MINUTES_MS: Final = 600_000
WEEK_MS: Final = 604_800_000

# Times are below 2**48 ms (year 9999), so a card's rank above them keeps one sorted key over many cards.
_RANK_SHIFT: Final = 48
MAX_CARDS: Final = 1 << 14
NEVER: Final = np.iinfo(np.int64).max
_PAIRS_AT_ONCE: Final = 2_000_000
# Country and category codes are 14 bits wide (features/history.py).
_CODE_BITS: Final = 14


class Log(msgspec.Struct, frozen=True):
    """The histories of several cards, one after the other, each in order of application.

    Attributes:
        entries: the columns, length n.
        start: first position of each card and n at the end; length cards + 1.
        rank: card of each position; length n.
        newest_key: running maximum of the authorizations' times within the card, with the card's rank above it.
        dead_from: position of the reversal that takes an authorization out (its own position where the reversal came
            first), a huge number where there is none; length n.
    """

    entries: Entries
    start: Int64
    rank: Int64
    newest_key: Int64
    dead_from: Int64

    def newest_ms(self, position: Int64) -> Int64:
        """Newest effective time of the card's authorizations at or before the positions; 0 where there is none."""
        return self.newest_key[position] & ((1 << _RANK_SHIFT) - 1)


class Window(msgspec.Struct, frozen=True):
    """Aggregates of one window width, one value per query; amounts in minor units."""

    count: Int64
    total: Int64
    smallest: Int64
    largest: Int64


class Aggregates(msgspec.Struct, frozen=True):
    """What the catalogue's formulas are made of, one value per query.

    Attributes:
        ten_minutes: the ten-minute window.
        week: the one-week window.
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
    time_ms: Int64
    amount_minor: Int64
    previous_ms: Int64
    previous_minor: Int64
    countries: Int64
    mccs: Int64
    late_by_ms: Int64


def build_log(entries: Entries, counts: Int64, retention_ms: int) -> Log:
    """Prepare histories for window queries.

    Args:
        entries: the entries, one card after the other, each card's in order of application.
        counts: entries per card; at most `MAX_CARDS` cards.
        retention_ms: how far behind the card's newest authorization an entry is kept.
    """
    if len(counts) > MAX_CARDS:
        raise ValueError(f"at most {MAX_CARDS} cards at once")
    start = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=start[1:])
    rank = np.repeat(np.arange(len(counts), dtype=np.int64), counts)
    times = np.where(entries.reversal, 0, entries.time_ms)
    newest_key = np.maximum.accumulate(times | (rank << _RANK_SHIFT))
    log = Log(entries, start, rank, newest_key, np.full(len(entries), NEVER))
    for position in np.flatnonzero(entries.reversal).tolist():
        _apply_reversal(log, position, retention_ms)
    return log


def _apply_reversal(log: Log, reversal: int, retention_ms: int) -> None:
    """Write into `dead_from` what the reversal at a position takes out."""
    first, end = log.start[log.rank[reversal]], log.start[log.rank[reversal] + 1]
    same = log.entries.identity[first:end] == log.entries.identity[reversal]
    for position in (first + np.flatnonzero(same & ~log.entries.reversal[first:end])).tolist():
        if position < reversal:
            log.dead_from[position] = min(log.dead_from[position], reversal)
            continue
        # Remembered for an original that came later, as long as the memory lasts.
        newest = int(log.newest_ms(np.array(position - 1)))
        if log.entries.time_ms[reversal] >= newest - retention_ms:
            log.dead_from[position] = min(log.dead_from[position], position)


def aggregate(log: Log, position: Int64, retention_ms: int, tiles: Tiles | None = None) -> Aggregates:
    """Aggregates of the authorizations at the given positions, each over its own prefix of the log.

    Args:
        log: from `build_log`.
        position: positions of authorizations, any order, repeats allowed; shape (q,).
        retention_ms: as for `build_log`.
        tiles: what older entries were folded into; they count in the week alone.

    Returns:
        Columns of length q.
    """
    times = log.entries.time_ms[position]
    oldest = log.newest_ms(position) - retention_ms
    first = {w: _first_candidate(log, position, np.maximum(times - w, oldest)) for w in (TEN_MINUTES_MS, WEEK_MS)}
    queries = _Queries(position, first, oldest)
    found = _Found({w: Window(*(np.empty(len(position), np.int64) for _ in range(4))) for w in first}, position.copy())
    messy = _messy(log, queries)
    for chosen, fill in ((~messy, _contiguous), (messy, _scanned)):
        at = np.flatnonzero(chosen)
        if len(at):
            fill(log, queries, at, found)
    if tiles is not None and len(tiles.table):
        _add_tiles(found.windows[WEEK_MS], tiles, log.rank[position], np.maximum(times - WEEK_MS, oldest), times)
    has_previous = found.previous >= 0
    earlier = np.where(has_previous, found.previous, 0)
    countries, mccs = _distinct(log, queries, found.windows[TEN_MINUTES_MS].count)
    before = np.where(position > log.start[log.rank[position]], log.newest_ms(np.maximum(position - 1, 0)), 0)
    return Aggregates(
        ten_minutes=found.windows[TEN_MINUTES_MS],
        week=found.windows[WEEK_MS],
        time_ms=times,
        amount_minor=log.entries.amount_minor[position],
        previous_ms=np.where(has_previous, log.entries.time_ms[earlier], -1),
        previous_minor=np.where(has_previous, log.entries.amount_minor[earlier], 0),
        countries=countries,
        mccs=mccs,
        late_by_ms=np.maximum(before - times, 0),
    )


class _Queries(msgspec.Struct, frozen=True):
    """Positions asked for, the first candidate of each per width, and the oldest time still in the history of each."""

    position: Int64
    first: dict[int, Int64]
    oldest_ms: Int64


class _Found(msgspec.Struct, frozen=True):
    """Answers being filled in: the windows by width, and the position of the previous authorization or -1."""

    windows: dict[int, Window]
    previous: Int64


def _add_tiles(week: Window, tiles: Tiles, card: Int64, begin_ms: Int64, end_ms: Int64) -> None:
    count, total, largest = tiles_in(tiles, card, begin_ms, end_ms)
    np.add(week.count, count, out=week.count)
    np.add(week.total, total, out=week.total)
    np.maximum(week.largest, largest, out=week.largest)


def _messy(log: Log, queries: _Queries) -> Bool:
    """Queries whose week holds a reversal, a reversed authorization or one that came late."""
    late = log.entries.time_ms < log.newest_ms(np.arange(len(log.rank)))
    messes = np.concatenate(([0], np.cumsum(log.entries.reversal | (log.dead_from != NEVER) | late)))
    return np.asarray(messes[queries.position + 1] != messes[queries.first[WEEK_MS]])


def _first_candidate(log: Log, position: Int64, oldest_ms: Int64) -> Int64:
    """First position of the card whose running maximum reaches a time: nothing before it can be in the window."""
    key = np.maximum(oldest_ms, 0) | (log.rank[position] << _RANK_SHIFT)
    return np.asarray(np.searchsorted(log.newest_key, key, side="left"), np.int64)


def _contiguous(log: Log, queries: _Queries, at: Int64, found: _Found) -> None:
    """Windows that are runs of the log: differences of running sums, and `reduceat` over the runs."""
    amounts = np.append(log.entries.amount_minor, 0)
    # Sums wrap around and so do their differences: exact while a window's own sum fits in 63 bits.
    running = np.concatenate(([0], np.cumsum(log.entries.amount_minor)))
    end = queries.position[at] + 1
    for width, window in found.windows.items():
        begin = queries.first[width][at]
        runs = np.column_stack((begin, end)).ravel()
        window.count[at] = end - begin
        window.total[at] = running[end] - running[begin]
        window.smallest[at] = np.minimum.reduceat(amounts, runs)[::2]
        window.largest[at] = np.maximum.reduceat(amounts, runs)[::2]
    found.previous[at] = np.where(end - 1 > queries.first[WEEK_MS][at], end - 2, -1)


def _scanned(log: Log, queries: _Queries, at: Int64, found: _Found) -> None:
    """Windows found by looking at every candidate, a bounded number of them at a time."""
    sizes = queries.position[at] + 1 - queries.first[WEEK_MS][at]
    for some in np.split(at, np.flatnonzero(np.diff(np.cumsum(sizes) // _PAIRS_AT_ONCE)) + 1):
        position = queries.position[some]
        candidate, offsets, query = _pairs(queries.first[WEEK_MS][some], position)
        live = _live(log, candidate, position[query], queries.oldest_ms[some][query])
        amount = log.entries.amount_minor[candidate]
        age_ms = log.entries.time_ms[position][query] - log.entries.time_ms[candidate]
        for width, window in found.windows.items():
            inside = live & (age_ms <= width)
            window.count[some] = np.add.reduceat(inside, offsets, dtype=np.int64)
            window.total[some] = np.add.reduceat(np.where(inside, amount, 0), offsets)
            window.smallest[some] = np.minimum.reduceat(np.where(inside, amount, NEVER), offsets)
            window.largest[some] = np.maximum.reduceat(np.where(inside, amount, 0), offsets)
        earlier = live & (age_ms <= WEEK_MS) & (candidate != position[query])
        nearest = np.minimum.reduceat(np.where(earlier, age_ms, NEVER), offsets)
        latest = np.where(earlier & (age_ms == nearest[query]), candidate, -1)
        found.previous[some] = np.maximum.reduceat(latest, offsets)


def _live(log: Log, candidate: Int64, position: Int64, oldest_ms: Int64) -> Bool:
    """Which candidates are authorizations not later than the query, still in the history and not reversed."""
    times = log.entries.time_ms[candidate]
    standing = (log.dead_from[candidate] > position) & (times >= oldest_ms) & ~log.entries.reversal[candidate]
    return np.asarray((standing & (times <= log.entries.time_ms[position])) | (candidate == position))


def _pairs(begin: Int64, last: Int64) -> tuple[Int64, Int64, Int64]:
    """Every position of the runs `begin..last`, where each run begins among them, and the run of each."""
    sizes = last + 1 - begin
    offsets = np.concatenate(([0], np.cumsum(sizes)[:-1]))
    query = np.repeat(np.arange(len(begin)), sizes)
    return np.arange(sizes.sum()) - offsets[query] + begin[query], offsets, query


def _distinct(log: Log, queries: _Queries, count: Int64) -> tuple[Int64, Int64]:
    """Distinct known countries and merchant categories in the ten-minute windows."""
    columns = (log.entries.country, log.entries.mcc)
    result = [(codes[queries.position] != 0).astype(np.int64) for codes in columns]
    many = np.flatnonzero(count > 1)
    if len(many):
        position = queries.position[many]
        candidate, _, query = _pairs(queries.first[TEN_MINUTES_MS][many], position)
        age_ms = log.entries.time_ms[position][query] - log.entries.time_ms[candidate]
        inside = _live(log, candidate, position[query], queries.oldest_ms[many][query]) & (age_ms <= TEN_MINUTES_MS)
        for column, codes in zip(result, columns, strict=True):
            known = inside & (codes[candidate] != 0)
            combined = np.unique((query[known] << _CODE_BITS) | codes[candidate][known])
            column[many] = np.bincount(combined >> _CODE_BITS, minlength=len(many))
    return result[0], result[1]
