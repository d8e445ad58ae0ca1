"""One card's records, taken one by one in the words of the contract.

Only cards that met a reversal, an identity seen before or a time that is folded away are walked (`features/apply.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
import numpy as np

from features.history import Bool, Entries, Histories, Int64, is_after, unpack_words
from features.tiles import NEVER_FOLDED

APPLIED: Final = "applied"
UNKNOWN_ORIGINAL: Final = "unknown_original"
REPEATED: Final = "repeated"


class Batch(msgspec.Struct, frozen=True):
    """Records in order of application, as columns of length n.

    Attributes:
        entries: the records as history entries; `identity` of a reversal is its original's, `amount_minor` its offset.
        card: rank of the card, 0..cards-1.
        event_ms: the event's own time (not clamped).
        offset: the record's offset in its partition.
        redelivered: that offset was applied before.
    """

    entries: Entries
    card: Int64
    event_ms: Int64
    offset: Int64
    redelivered: Bool

    def take(self, rows: Int64, card: Int64) -> Batch:
        """Some of the records, with other ranks."""
        return Batch(self.entries.take(rows), card, self.event_ms[rows], self.offset[rows], self.redelivered[rows])


class Delivery(msgspec.Struct, frozen=True):
    """Where a batch stands in the partition of each of its cards.

    Attributes:
        since: no record before this offset will come again; shape (cards,).
        last: offset of the last record of the batch; shape (cards,).
        met: by card, how many entries were met again by earlier batches of a redelivery; 0 where it is not there.
    """

    since: Int64
    last: Int64
    met: Mapping[int, int] = msgspec.field(default_factory=dict)

    def take(self, cards: Int64) -> Delivery:
        """Of some of the cards."""
        met = {rank: self.met[card] for rank, card in enumerate(cards.tolist()) if card in self.met}
        return Delivery(self.since[cards], self.last[cards], met)


class Annotations(msgspec.Struct):
    """Columns that the walk fills in; `place` is an entry's place within its own card's log.

    A passing record is older than what its card has folded. It is answered and leaves no trace, because nothing tells
    whether it is one of those.
    """

    place: Int64
    appended: Bool
    duplicate: Bool
    conflict: Bool
    behind_ms: Int64
    folded: Bool
    passing: Bool
    reversal: dict[int, str]


def nothing_noted(n: int) -> Annotations:
    """Of n records, each a first."""
    place, behind_ms = np.empty(n, np.int64), np.zeros(n, np.int64)
    place.fill(-1)
    duplicate, conflict, folded, passing = np.zeros((4, n), np.bool_)
    return Annotations(place, np.ones(n, np.bool_), duplicate, conflict, behind_ms, folded, passing, {})


class Walk:
    """One card, record by record, in the words of the contract."""

    def __init__(self, histories: Histories, card: int, met: int, retention_ms: int, clock_skew_ms: int) -> None:
        count = int(histories.counts[card])
        start = int(histories.counts[:card].sum())
        history = unpack_words(histories.words[start : start + count])
        self.times: list[int] = history.time_ms.tolist()
        self.details: list[int] = history.amount_minor.tolist()
        self.is_reversal: list[bool] = history.reversal.tolist()
        self.clamped: list[bool] = history.clamped.tolist()
        self.retention_ms, self.clock_skew_ms = retention_ms, clock_skew_ms
        self.folded_ms = int(histories.tiles.folded_ms[card])
        # Places by identity, in order.
        self.authorizations: dict[int, list[int]] = {}
        self.reversals: dict[int, list[int]] = {}
        self.reversal_at: dict[tuple[int, int], tuple[int, int | None]] = {}
        self.newest: list[int] = []  # newest authorization at or before each place
        for place, identity in enumerate(history.identity.tolist()):
            self._remember(place, identity)
        # Where in the log a record that is delivered again stood when it came first: what can come again began after
        # the settled entries, and what came after the last batch that wrote found all of them.
        self.cursor = min(max(int(histories.settled[card]), met), count)
        self.count, self.written = count, int(histories.written[card])

    def _remember(self, place: int, identity: int) -> None:
        before = self.newest[-1] if self.newest else 0
        if self.is_reversal[place]:
            self.reversals.setdefault(identity, []).append(place)
            originals = self.authorizations.get(identity)
            self.reversal_at[identity, self.details[place]] = place, originals[-1] if originals else None
            self.newest.append(before)
        else:
            self.authorizations.setdefault(identity, []).append(place)
            self.newest.append(max(before, self.times[place]))

    def _append(self, identity: int, time_ms: int, detail: int, *, reversal: bool, clamped: bool) -> None:
        self.times.append(time_ms)
        self.details.append(detail)
        self.is_reversal.append(reversal)
        self.clamped.append(clamped)
        self._remember(len(self.times) - 1, identity)

    def _known(self, places: Mapping[int, list[int]], identity: int, seen: int, *, lasts: bool = False) -> int | None:
        """The last namesake among the entries seen, if it has not left the history of then."""
        place = next((place for place in reversed(places.get(identity, ())) if place < seen), None)
        return place if place is None or lasts or self._was_there(place, seen) else None

    def take(self, batch: Batch, event: int, notes: Annotations) -> None:
        """Apply one record."""
        if batch.redelivered[event] and is_after(int(batch.offset[event]), self.written):
            self.cursor = max(self.cursor, self.count)
        if batch.entries.reversal[event]:
            self._take_reversal(batch, event, notes)
        else:
            self._take_authorization(batch, event, notes)

    def _take_authorization(self, batch: Batch, event: int, notes: Annotations) -> None:
        entries, redelivered = batch.entries, bool(batch.redelivered[event])
        identity = int(entries.identity[event])
        seen = self.cursor if redelivered else len(self.times)
        place = self._known(self.authorizations, identity, seen)
        if place is None and redelivered and (namesakes := self.authorizations.get(identity)):
            place = next((p for p in namesakes if p >= seen), namesakes[-1])
        if place is None and entries.time_ms[event] <= self.folded_ms:
            notes.appended[event], notes.passing[event], notes.folded[event] = False, True, True
            newest_ms = self.newest[(seen or len(self.newest)) - 1]
            notes.behind_ms[event] = max(newest_ms - int(entries.time_ms[event]), 0)
            return
        if place is None:
            self._append(
                identity, int(entries.time_ms[event]), int(entries.amount_minor[event]),
                reversal=False, clamped=bool(entries.clamped[event]),
            )  # fmt: skip
            return
        notes.appended[event] = False
        notes.place[event] = place
        notes.duplicate[event] = not redelivered
        notes.conflict[event] = self._says_otherwise(
            place, int(entries.amount_minor[event]), int(batch.event_ms[event])
        )
        if place >= seen:
            self.cursor = place + 1
        else:
            notes.behind_ms[event] = max(self.newest[seen - 1] - self.times[place], 0)

    def _says_otherwise(self, place: int, amount_minor: int, event_ms: int) -> bool:
        """Whether a copy names another amount or time; a clamped first keeps no time of its own to compare with."""
        ahead = event_ms - self.times[place]
        agrees = ahead > self.clock_skew_ms if self.clamped[place] else ahead == 0
        return amount_minor != self.details[place] or not agrees

    def _was_there(self, place: int, later: int) -> bool:
        """Whether an entry was still in the history when the one at `later` came."""
        return self.times[place] >= self.newest[later - 1] - self.retention_ms

    def _may_be_folded(self, original: int | None) -> bool:
        return original is None and self.folded_ms != NEVER_FOLDED

    def _of_an_earlier_life(self, reversal: int, original: int | None) -> bool:
        """Whether the reversal belongs to a namesake of the original that has left the history since."""
        return original is not None and reversal < original and not self._was_there(reversal, original)

    def _take_reversal(self, batch: Batch, event: int, notes: Annotations) -> None:
        entries, redelivered = batch.entries, bool(batch.redelivered[event])
        identity, offset = int(entries.identity[event]), int(entries.amount_minor[event])
        if redelivered and (identity, offset) in self.reversal_at:
            place, met = self.reversal_at[identity, offset]
            notes.appended[event] = False
            met = met if met is not None and self._was_there(met, place) else None
            notes.reversal[event] = UNKNOWN_ORIGINAL if met is None else APPLIED
            notes.folded[event] = self._may_be_folded(met)
            self.cursor = max(self.cursor, place + 1)
            return
        seen = self.cursor if redelivered else len(self.times)
        original = self._known(self.authorizations, identity, seen)
        # A reversal stands as long as what it took out.
        reversal = self._known(self.reversals, identity, seen, lasts=original is not None)
        if reversal is not None and not self._of_an_earlier_life(reversal, original):
            notes.appended[event] = False
            notes.reversal[event] = REPEATED
            notes.folded[event] = self._may_be_folded(original)
            return
        notes.reversal[event] = UNKNOWN_ORIGINAL if original is None else APPLIED
        notes.folded[event] = self._may_be_folded(original)
        # It leaves the history with its original; without one it is remembered for as long as a new record would be.
        newest = self.newest[-1] if self.newest else 0
        time_ms = max(int(entries.time_ms[event]), newest) if original is None else self.times[original]
        entries.time_ms[event] = time_ms
        self._append(identity, time_ms, offset, reversal=True, clamped=False)
