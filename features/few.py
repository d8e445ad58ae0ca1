"""A few records on quiet cards: what `features/windows.py` says of them, by plain arithmetic over lists.

A call of numpy costs about a microsecond however little there is to do, and the columns take a hundred of them. A batch
is often one record, whose card has some 25 entries: over lists that is done in a tenth of the time. A card is quiet
where nothing needs a second look: all in order of time, no reversal, nothing folded, no identity seen before.

Where it was built, `_few.c` does it over the words themselves, for some more records.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final, Protocol, cast

import msgspec
import numpy as np

from features.history import Histories, Int64, UInt64
from features.native import built
from features.windows import TEN_MINUTES_MS, WEEK_MS, Aggregates, Window
from features.words import AMOUNT_SHIFT, CODE_MASK, REVERSAL_BIT, TIME_SHIFT, WORD


class _Native(Protocol):
    """`features/_few.c`."""

    def append(
        self, words: UInt64, counts: Int64, new: UInt64, card: Int64, entries: UInt64, start: Int64, position: Int64,
        answers: Int64, retention_ms: int, /,
    ) -> bool:  # fmt: skip
        """Whether every card is quiet; if so, the arrays from `entries` on hold what `Few` does.

        Raises:
            ValueError: the arrays do not belong together.
        """
        ...


NATIVE: Final = cast("_Native | None", built("features._few"))
FEW: Final = 8 if NATIVE is None else 128
"""More records are faster in columns."""
_MOST_ENTRIES: Final = 256
_MOST_ENTRIES_NATIVE: Final = 8192

_ROWS: Final = 14
"""Aggregates, the windows' own among them."""
_TIME_SHIFT, _AMOUNT_SHIFT, _CODES, _REVERSAL = (int(n) for n in (TIME_SHIFT, AMOUNT_SHIFT, CODE_MASK, REVERSAL_BIT))


class Few(msgspec.Struct, frozen=True):
    """What became of a few records.

    Attributes:
        words: the histories with the records appended, shape (entries, 3).
        start: first position of each card and the number of entries at the end; length cards + 1.
        position: of each record; length n.
        aggregates: of each record.
    """

    words: UInt64
    start: Int64
    position: Int64
    aggregates: Aggregates


def append_few(histories: Histories, new: UInt64, card: Int64, retention_ms: int) -> Few | None:
    """Append authorizations to their cards and aggregate each; None where a card is not quiet.

    Args:
        histories: of the cards.
        new: the records as entries, in order of application; shape (n, 3).
        card: rank of each record's card; shape (n,).
        retention_ms: one week plus grace.
    """
    if histories.tiles.any_folded:
        return None
    if NATIVE is None:
        return append_in_python(histories, new, card, retention_ms)
    return _append_in_c(NATIVE, histories, new, card, retention_ms)


def _append_in_c(native: _Native, histories: Histories, new: UInt64, card: Int64, retention_ms: int) -> Few | None:
    if len(histories.words) > _MOST_ENTRIES_NATIVE:
        return None
    words = np.empty((len(histories.words) + len(new), 3), WORD)
    start, position = np.empty(len(histories.counts) + 1, np.int64), np.empty(len(new), np.int64)
    columns = np.empty((_ROWS, len(new)), np.int64)
    old, counts = np.ascontiguousarray(histories.words), np.ascontiguousarray(histories.counts)
    if not native.append(old, counts, new, card, words, start, position, columns, retention_ms):
        return None
    return Few(words, start, position, Aggregates(Window(*columns[:3]), Window(*columns[3:6]), *columns[6:]))


def append_in_python(histories: Histories, new: UInt64, card: Int64, retention_ms: int) -> Few | None:
    """As `append_few`, over lists."""
    if len(histories.words) > _MOST_ENTRIES:
        return None
    words, rows, cards = histories.words, new.tolist(), card.tolist()
    parts, starts, begin = [], [0], 0
    positions = [0] * len(rows)
    answers: list[tuple[int, ...]] = [()] * len(rows)
    for rank, count in enumerate(histories.counts.tolist()):
        own = [record for record, other in enumerate(cards) if other == rank]
        part = words[begin : begin + count]
        heads, bodies, identities = part.T.tolist()
        for record in own:
            answer = _appended(heads, bodies, identities, rows[record], retention_ms)
            if answer is None:
                return None
            answers[record], positions[record] = answer, starts[-1] + len(heads) - 1
        parts += [part, new[own]]
        begin += count
        starts.append(starts[-1] + len(heads))
    columns = np.array(answers, np.int64).T.copy()
    aggregates = Aggregates(Window(*columns[:3]), Window(*columns[3:6]), *columns[6:])
    return Few(np.concatenate(parts), np.array(starts), np.array(positions), aggregates)


def _appended(
    heads: list[int], bodies: list[int], identities: list[int], row: list[int], retention_ms: int
) -> tuple[int, ...] | None:
    """Append one authorization to a card's columns; its aggregates in the order of `Aggregates`."""
    head, body, identity = row
    known = identity in identities
    heads.append(head)
    bodies.append(body)
    identities.append(identity)
    times = [one >> _TIME_SHIFT for one in heads]
    if known or times != sorted(times) or any(one & _REVERSAL for one in heads):
        return None
    time_ms, last = times[-1], len(times) - 1
    week, ten = (bisect_left(times, time_ms - min(width, retention_ms)) for width in (WEEK_MS, TEN_MINUTES_MS))
    amounts = [one >> _AMOUNT_SHIFT for one in bodies[week:]]
    recent = amounts[ten - week :]
    previous = (times[-2], amounts[-2]) if week < last else (-1, 0)
    countries, mccs = ({one & _CODES for one in words[ten:]} - {0} for words in (heads, bodies))
    return (
        len(recent), sum(recent), max(recent),
        len(amounts), sum(amounts), max(amounts),
        min(recent), time_ms, amounts[-1], *previous, len(countries), len(mccs), 0,
    )  # fmt: skip
