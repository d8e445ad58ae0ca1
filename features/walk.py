"""One card's records, taken one by one in the words of the contract.

Only cards that met a reversal, an identity seen before or a time that is folded away are walked (`features/apply.py`).
"""

from __future__ import annotations

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

    def __init__(self, histories: Histories, card: int, retention_ms: int, clock_skew_ms: int) -> None:
        count = int(histories.counts[card])
        start = int(histories.counts[:card].sum())
        history = unpack_words(histories.words[start : start + count])
        self.times: list[int] = history.time_ms.tolist()
        self.details: list[int] = history.amount_minor.tolist()
        self.is_reversal: list[bool] = history.reversal.tolist()
        self.clamped: list[bool] = history.clamped.tolist()
        self.retention_ms, self.clock_skew_ms = retention_ms, clock_skew_ms
        self.folded_ms = int(histories.tiles.folded_ms[card])
        self.authorizations: dict[int, int] = {}
        self.namesakes: dict[int, list[int]] = {}
        self.reversals: dict[int, int] = {}
        self.reversal_at: dict[tuple[int, int], tuple[int, int | None]] = {}
        self.newest: list[int] = []  # newest authorization at or before each place
        for place, identity in enumerate(history.identity.tolist()):
            self._remember(place, identity)
        # Where in the log a record that is delivered again stood when it came first: the last batch that wrote began
        # after the settled entries, and what came after that batch found all of them.
        self.cursor = min(int(histories.settled[card]), count)
        self.count, self.written = count, int(histories.written[card])

    def _remember(self, place: int, identity: int) -> None:
        before = self.newest[-1] if self.newest else 0
        if self.is_reversal[place]:
            self.reversals[identity] = place
            self.reversal_at[identity, self.details[place]] = place, self.authorizations.get(identity)
            self.newest.append(before)
        else:
            self.authorizations[identity] = place
            self.namesakes.setdefault(identity, []).append(place)
            self.newest.append(max(before, self.times[place]))

    def _append(self, identity: int, time_ms: int, detail: int, *, reversal: bool, clamped: bool) -> None:
        self.times.append(time_ms)
        self.details.append(detail)
        self.is_reversal.append(reversal)
        self.clamped.append(clamped)
        self._remember(len(self.times) - 1, identity)

    def _known(self, places: dict[int, int], identity: int, *, redelivered: bool) -> int | None:
        """Place of an identity that is still in the history; one delivered again may have left it meanwhile."""
        place = places.get(identity)
        if place is None or redelivered or not self.newest:
            return place
        return place if self.times[place] >= self.newest[-1] - self.retention_ms else None

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
        place = self._known(self.authorizations, identity, redelivered=redelivered)
        if place is not None and redelivered:
            place = next((p for p in self.namesakes[identity] if p >= self.cursor), place)
        if place is None and entries.time_ms[event] <= self.folded_ms:
            notes.appended[event], notes.passing[event], notes.folded[event] = False, True, True
            seen = self.newest[self.cursor - 1] if redelivered and self.cursor else self.newest[-1]
            notes.behind_ms[event] = max(seen - int(entries.time_ms[event]), 0)
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
        if redelivered and place >= self.cursor:
            self.cursor = place + 1
        else:
            seen = self.newest[self.cursor - 1] if redelivered else self.newest[-1]
            notes.behind_ms[event] = max(seen - self.times[place], 0)

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
        original = self._known(self.authorizations, identity, redelivered=redelivered)
        # A reversal stands as long as what it took out.
        reversal = self._known(self.reversals, identity, redelivered=redelivered or original is not None)
        if redelivered and (identity, offset) in self.reversal_at:
            place, met = self.reversal_at[identity, offset]
            notes.appended[event] = False
            met = met if met is not None and self._was_there(met, place) else None
            notes.reversal[event] = UNKNOWN_ORIGINAL if met is None else APPLIED
            notes.folded[event] = self._may_be_folded(met)
            self.cursor = max(self.cursor, place + 1)
            return
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
