"""Apply a batch of records to the histories of their cards: what is new, what is a copy, what a reversal did.

Most cards in a batch meet only new authorizations; they are handled as columns. A card that meets a reversal, or an
identity that is already known, is walked record by record.
"""

from __future__ import annotations

import msgspec
import numpy as np

from features.history import (
    Bool,
    Histories,
    Int64,
    concatenate,
    folded_header,
    header,
    pack_words,
)
from features.tiles import NEVER_FOLDED
from features.walk import Annotations, Batch, Walk, nothing_noted
from features.windows import TEN_MINUTES_MS, Aggregates, Log, aggregate, build_log


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


def apply_batch(histories: Histories, batch: Batch, *, retention_ms: int, clock_skew_ms: int) -> Applied:
    """Apply a batch to the histories and aggregate every authorization over its own prefix.

    Args:
        histories: of the cards of the batch, by rank.
        batch: the records.
        retention_ms: one week plus grace.
        clock_skew_ms: how far an event's own time may lie after its record's.
    """
    notes = nothing_noted(len(batch.card))
    by_card = np.argsort(batch.card, kind="stable")
    for card, events in _cards_to_walk(histories, batch, by_card):
        walk = Walk(histories, card, retention_ms, clock_skew_ms)
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
        log, end, position, notes.appended, notes.duplicate, notes.conflict, notes.behind_ms, notes.folded,
        notes.reversal, aggregates,
    )  # fmt: skip


def _extended(
    histories: Histories, batch: Batch, notes: Annotations, by_card: Int64, retention_ms: int
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


def packed_histories(applied: Applied, histories: Histories, changed: Int64, *, last_offset: Int64) -> list[bytes]:
    """Packed values of the changed cards: what the batch met, and what it appended.

    Args:
        applied: from `apply_batch`.
        histories: what the batch was applied to.
        changed: ranks of the cards to pack.
        last_offset: offset of the last record of the batch in each card's partition; shape (cards,).
    """
    log, tiles = applied.log, histories.tiles
    words = pack_words(log.entries)
    values: list[bytes] = []
    for card in changed.tolist():
        met, written = int(histories.counts[card]), int(last_offset[card])
        if (folded_ms := int(tiles.folded_ms[card])) == NEVER_FOLDED:
            head = header(met, written)
        else:
            head = folded_header(met, written, tiles.of(card), folded_ms)
        values.append(head + words[log.start[card] : applied.end[card]].tobytes())
    return values
