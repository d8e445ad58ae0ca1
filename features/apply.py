"""Apply a batch of records to the histories of their cards: what is new, what is a copy, what a reversal did.

Most cards in a batch meet only new authorizations; they are handled as columns. A card that meets a reversal, or an
identity that is already known, is walked record by record.
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np

from features.history import (
    Bool, Entries, Histories, Int64, concatenate, folded_header, header, is_after, pack_words,
)  # fmt: skip
from features.tiles import NEVER_FOLDED
from features.windows import TEN_MINUTES_MS, Aggregates, Log, aggregate, build_log

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


class Applied(msgspec.Struct, frozen=True):
    """What became of a batch.

    Attributes:
        log: histories with what the batch appended; records that leave no trace stand last on each card.
        end: position after each card's last entry that stays; length cards.
        position: position in the log of each authorization's first copy, -1 for a reversal; length n.
        appended: the record became an entry; length n.
        duplicate: a copy at an offset not yet applied; length n.
        conflict: a copy that names another amount or time than the first; length n.
        behind_ms: how far a copy's first lies behind the newest authorization, 0 for a first; length n.
        folded: answered without the authorizations that a hot card has folded away: not exact; length n.
        reversal: what a reversal did, by index in the batch.
        aggregates: of the authorizations, in batch order.
    """

    log: Log
    end: Int64
    position: Int64
    appended: Bool
    duplicate: Bool
    conflict: Bool
    behind_ms: Int64
    folded: Bool
    reversal: dict[int, str]
    aggregates: Aggregates


class _Annotations(msgspec.Struct):
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


def _nothing_noted(n: int) -> _Annotations:
    no = np.zeros(n, np.bool_)
    return _Annotations(
        np.full(n, -1), np.ones(n, np.bool_), no.copy(), no.copy(), np.zeros(n, np.int64), no.copy(), no.copy(), {}
    )


def apply_batch(histories: Histories, batch: Batch, *, retention_ms: int, clock_skew_ms: int) -> Applied:
    """Apply a batch to the histories and aggregate every authorization over its own prefix.

    Args:
        histories: of the cards of the batch, by rank.
        batch: the records.
        retention_ms: one week plus grace.
        clock_skew_ms: how far an event's own time may lie after its record's.
    """
    notes = _nothing_noted(len(batch.card))
    by_card = np.argsort(batch.card, kind="stable")
    for card, events in _cards_to_walk(histories, batch, by_card):
        walk = _Walk(histories, card, retention_ms, clock_skew_ms)
        for event in events:
            walk.take(batch, event, notes)

    log, position = _extended(histories, batch, notes, by_card, retention_ms)
    asked = position[position >= 0]
    aggregates = aggregate(log, asked, retention_ms, histories.tiles)
    authorizations = np.flatnonzero(position >= 0)
    # What the card's ten minutes can reach must not be folded.
    reach_ms = aggregates.time_ms - TEN_MINUTES_MS
    notes.folded[authorizations] |= reach_ms <= histories.tiles.folded_ms[batch.card[authorizations]]
    passing = notes.passing[authorizations]
    aggregates.late_by_ms[passing] = notes.behind_ms[authorizations][passing]
    end = log.start[1:] - np.bincount(batch.card[notes.passing], minlength=len(histories.counts))
    return Applied(
        log, end, position, notes.appended, notes.duplicate, notes.conflict, notes.behind_ms, notes.folded, notes.reversal,
        aggregates,
    )  # fmt: skip


def _extended(
    histories: Histories, batch: Batch, notes: _Annotations, by_card: Int64, retention_ms: int
) -> tuple[Log, Int64]:
    """The histories with what the batch adds, and the position of each of its authorizations."""
    history, counts = histories.entries, histories.counts
    cards = len(counts)
    new = by_card[(notes.appended | notes.passing)[by_card]]
    added = np.bincount(batch.card[new], minlength=cards)
    # Passing records stand behind everything else of their card, so that they move no other's place.
    place = np.concatenate((np.repeat(np.arange(cards) * 2, counts), batch.card[new] * 2 + notes.passing[new]))
    order = np.argsort(place, kind="stable")
    log = build_log(concatenate((history, batch.entries.take(new))).take(order), counts + added, retention_ms)
    where = np.empty(len(order), np.int64)
    where[order] = np.arange(len(order))
    position = log.start[batch.card] + notes.place
    position[new] = where[len(history) :]
    position[batch.entries.reversal] = -1
    alone = position[notes.passing]
    log.dead_from[alone] = alone
    return log, position


def _cards_to_walk(histories: Histories, batch: Batch, by_card: Int64) -> list[tuple[int, list[int]]]:
    """Cards that met a reversal, an identity seen before or a time that is folded, each with its records in order."""
    history, counts = histories.entries, histories.counts
    cards = len(counts)
    odd = np.zeros(cards, np.bool_)
    odd[batch.card[batch.entries.reversal]] = True
    odd[batch.card[batch.redelivered]] = True
    odd[batch.card[batch.entries.time_ms <= histories.tiles.folded_ms[batch.card]]] = True

    # Any equal neighbours among the sorted identities of a batch: walk their cards, whoever shares them.
    order = np.argsort(batch.entries.identity, kind="stable")
    identities = batch.entries.identity[order]
    twice = np.flatnonzero(identities[1:] == identities[:-1])
    odd[batch.card[order[twice]]] = True
    odd[batch.card[order[twice + 1]]] = True

    # Identities of the histories that a record of the batch repeats (on the same card).
    if len(history) and len(identities):
        near = np.minimum(np.searchsorted(identities, history.identity), len(identities) - 1)
        known = np.flatnonzero(identities[near] == history.identity)
        odd[np.searchsorted(np.cumsum(counts), known, side="right")] = True

    if not odd.any():
        return []
    ranks = batch.card[by_card]
    begin, end = np.searchsorted(ranks, np.arange(cards)), np.searchsorted(ranks, np.arange(cards), side="right")
    return [(c, by_card[begin[c] : end[c]].tolist()) for c in np.flatnonzero(odd & (end > begin)).tolist()]


class _Walk:
    """One card, record by record, in the words of the contract."""

    def __init__(self, histories: Histories, card: int, retention_ms: int, clock_skew_ms: int) -> None:
        count = int(histories.counts[card])
        start = int(histories.counts[:card].sum())
        part, history = slice(start, start + count), histories.entries
        self.times: list[int] = history.time_ms[part].tolist()
        self.details: list[int] = history.amount_minor[part].tolist()
        self.is_reversal: list[bool] = history.reversal[part].tolist()
        self.clamped: list[bool] = history.clamped[part].tolist()
        self.retention_ms, self.clock_skew_ms = retention_ms, clock_skew_ms
        self.folded_ms = int(histories.tiles.folded_ms[card])
        self.authorizations: dict[int, int] = {}
        self.namesakes: dict[int, list[int]] = {}
        self.reversals: dict[int, int] = {}
        self.reversal_at: dict[tuple[int, int], tuple[int, int | None]] = {}
        self.newest: list[int] = []  # newest authorization at or before each place
        for place, identity in enumerate(history.identity[part].tolist()):
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

    def take(self, batch: Batch, event: int, notes: _Annotations) -> None:
        """Apply one record."""
        if batch.redelivered[event] and is_after(int(batch.offset[event]), self.written):
            self.cursor = max(self.cursor, self.count)
        if batch.entries.reversal[event]:
            self._take_reversal(batch, event, notes)
        else:
            self._take_authorization(batch, event, notes)

    def _take_authorization(self, batch: Batch, event: int, notes: _Annotations) -> None:
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

    def _take_reversal(self, batch: Batch, event: int, notes: _Annotations) -> None:
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


def packed_histories(
    applied: Applied, histories: Histories, changed: Int64, *, last_offset: Int64, retention_ms: int
) -> list[bytes]:
    """Packed values of the changed cards.

    What was there before the batch is trimmed to the retention as it stood before the batch; what the batch appended
    stays. So a batch that is delivered again after a crash meets every entry that it met, or made, the first time.

    Args:
        applied: from `apply_batch`.
        histories: what the batch was applied to.
        changed: ranks of the cards to pack.
        last_offset: offset of the last record of the batch in each card's partition; shape (cards,).
        retention_ms: one week plus grace.
    """
    log, tiles = applied.log, histories.tiles
    words = pack_words(log.entries)
    values: list[bytes] = []
    for card in changed.tolist():
        first, end, written = int(log.start[card]), int(applied.end[card]), int(last_offset[card])
        settled = slice(first, first + int(histories.counts[card]))
        kept, oldest_ms = words[settled], 0
        if len(kept):
            oldest_ms = int(log.newest_ms(np.array(settled.stop - 1))) - retention_ms
            kept = kept[_still_kept(log, settled, oldest_ms)]
        if (folded_ms := int(tiles.folded_ms[card])) >= oldest_ms:
            table = tiles.of(card)
            head = folded_header(len(kept), written, table[table[:, 1] >= oldest_ms], folded_ms)
        else:
            head = header(len(kept), written)
        values.append(head + kept.tobytes() + words[settled.stop : end].tobytes())
    return values


def _still_kept(log: Log, part: slice, oldest_ms: int) -> Bool:
    """Which entries of a card stay: the young ones, and reversals of originals that stay."""
    times, identities = log.entries.time_ms[part], log.entries.identity[part]
    young = times >= oldest_ms
    if young.all():
        return young
    return np.asarray(young | (log.entries.reversal[part] & np.isin(identities, identities[young])))
