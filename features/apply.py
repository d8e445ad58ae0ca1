"""Apply a batch of records to the histories of their cards: what is new, what is a copy, what a reversal did.

Most cards in a batch meet only new authorizations; they are handled as columns. A card that meets a reversal, or an
identity that is already known, is walked record by record.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
import numpy as np

from features.history import HEADER_BYTES, Bool, Histories, Int64, UInt64, folded_header, headers, pack_words
from features.log import Log, build_log
from features.tiles import NEVER_FOLDED
from features.walk import Annotations, Batch, Walk, nothing_noted
from features.windows import TEN_MINUTES_MS, Aggregates, aggregate
from features.words import ENTRY_BYTES, clamped_of, inserted

_NO_CARDS: Final = np.empty(0, np.int64)
# Of what is in the histories, one in so many is looked at for nothing.
_TABLE_FACTOR: Final = 16


class Applied(msgspec.Struct, frozen=True):
    """What became of the n records of a batch.

    Attributes:
        authorization: False for a reversal; length n.
        duplicate: a copy at an offset not yet applied; length n.
        conflict: a copy that names another amount or time than the first; length n.
        behind_ms: how far a copy's first lies behind the newest authorization, 0 for a first; length n.
        folded: answered without the authorizations that a hot card has folded away: not exact; length n.
        clamped: the first copy has its record's time instead of its own; False for a reversal; length n.
        reversal: what a reversal did, by index in the batch.
        aggregates: of the authorizations, in batch order.
        ordinary: each is a first authorization, in order of time; nothing is known to be unusual about any.
    """

    authorization: Bool
    duplicate: Bool
    conflict: Bool
    behind_ms: Int64
    folded: Bool
    clamped: Bool
    reversal: dict[int, str]
    aggregates: Aggregates
    ordinary: bool = False


class Grown(msgspec.Struct, frozen=True):
    """Histories with what a batch appended.

    Attributes:
        words: one card after the other; records that leave no trace stand last on each card; shape (entries, 3).
        start: first position of each card; length cards.
        end: position after each card's last entry that stays; length cards.
        met: of the cards that met records again, how many of their entries.
    """

    words: UInt64
    start: Int64
    end: Int64
    met: dict[int, int]


def all_first(aggregates: Aggregates, clamped: Bool) -> Applied:
    """Of n authorizations, each the first of its identity and in order of time."""
    notes = nothing_noted(len(clamped))
    return Applied(
        notes.appended, notes.duplicate, notes.conflict, notes.behind_ms, notes.folded, clamped, notes.reversal,
        aggregates, ordinary=not np.count_nonzero(clamped),
    )  # fmt: skip


def apply_batch(
    histories: Histories, batch: Batch, met: Mapping[int, int], *, retention_ms: int, clock_skew_ms: int
) -> tuple[Applied, Grown]:
    """Apply a batch to the histories and aggregate every authorization over its own prefix.

    Args:
        histories: of the cards of the batch, by rank.
        batch: the records.
        met: of cards that met records again in earlier batches, how many of their entries.
        retention_ms: one week plus grace.
        clock_skew_ms: how far an event's own time may lie after its record's.
    """
    notes = nothing_noted(len(batch.card))
    by_card = batch.card.argsort(kind="stable")
    met_now: dict[int, int] = {}
    for card, events in _cards_to_walk(histories, batch, by_card):
        walk = Walk(histories, card, met.get(card, 0), retention_ms, clock_skew_ms)
        for event in events:
            walk.take(batch, event, notes)
        if batch.redelivered[events].any():
            met_now[card] = walk.cursor

    log, position = _extended(histories, batch, notes, by_card, retention_ms)
    authorization = position >= 0
    aggregates = aggregate(log, position[authorization], retention_ms, histories.tiles)
    end = log.start[1:]
    if histories.tiles.any_folded:
        _note_folded(histories, batch, notes, aggregates)
        end = end - np.bincount(batch.card[notes.passing], minlength=len(end))
    clamped = clamped_of(log.words[position]) & authorization
    applied = Applied(
        authorization, notes.duplicate, notes.conflict, notes.behind_ms, notes.folded, clamped, notes.reversal,
        aggregates,
    )  # fmt: skip
    return applied, Grown(log.words, log.start[:-1], end, met_now)


def _note_folded(histories: Histories, batch: Batch, notes: Annotations, aggregates: Aggregates) -> None:
    """Which answers lack something that was folded away, and how late those are that leave no trace."""
    authorizations = np.flatnonzero(~batch.entries.reversal)
    # What the card's ten minutes can reach must not be folded.
    reach_ms = aggregates.time_ms - TEN_MINUTES_MS
    notes.folded[authorizations] |= reach_ms <= histories.tiles.folded_ms[batch.card[authorizations]]
    passing = notes.passing[authorizations]
    aggregates.late_by_ms[passing] = notes.behind_ms[authorizations][passing]


def _extended(
    histories: Histories, batch: Batch, notes: Annotations, by_card: Int64, retention_ms: int
) -> tuple[Log, Int64]:
    """The histories with what the batch adds, and the position of each of its authorizations."""
    new = by_card
    if np.count_nonzero(notes.appended) < len(new):
        new = by_card[(notes.appended | notes.passing)[by_card]]
    # Passing records stand behind everything else of their card, so that they move no other's place.
    if passing := bool(np.count_nonzero(notes.passing)):
        new = new[(batch.card[new] * 2 + notes.passing[new]).argsort(kind="stable")]
    card = batch.card[new]
    place = histories.counts.cumsum()[card] + np.arange(len(new))
    counts = histories.counts + np.bincount(card, minlength=len(histories.counts))
    words = inserted(histories.words, pack_words(batch.entries.take(new)), place)
    alone = place[notes.passing[new]] if passing else None
    log = build_log(words, counts, retention_ms, alone)
    position = log.start[batch.card] + notes.place
    position[new] = place
    position[batch.entries.reversal] = -1
    return log, position


def _cards_to_walk(histories: Histories, batch: Batch, by_card: Int64) -> list[tuple[int, list[int]]]:
    """Cards that met a reversal, an identity seen before or a time that is folded, each with its records in order."""
    odd = batch.entries.reversal | batch.redelivered
    if histories.tiles.any_folded:
        odd |= batch.entries.time_ms <= histories.tiles.folded_ms[batch.card]
    namesakes = _with_namesakes(histories, batch)
    if not len(namesakes) and not np.count_nonzero(odd):
        return []
    ranks = batch.card[by_card]
    walked = np.intersect1d(np.concatenate((batch.card[odd], namesakes)), ranks)
    begin, end = ranks.searchsorted(walked), ranks.searchsorted(walked, "right")
    return [(c, by_card[b:e].tolist()) for c, b, e in zip(walked.tolist(), begin.tolist(), end.tolist(), strict=True)]


def _with_namesakes(histories: Histories, batch: Batch) -> Int64:
    """Cards, with repeats, that have an identity of the batch twice: the first may be in their history."""
    identities = np.sort(batch.entries.identity)
    # Equal neighbours: all cards of the batch that have them, whoever shares them.
    twice = identities[1:][identities[1:] == identities[:-1]]
    found = batch.card[np.isin(batch.entries.identity, twice)] if len(twice) else _NO_CARDS
    if len(identities) and len(histories.words):
        # Identities are hashes: a table over their lowest bits leaves few to look for.
        bits = np.uint64((1 << (_TABLE_FACTOR * len(identities)).bit_length()) - 1)
        table = np.zeros(int(bits) + 1, np.bool_)
        table[identities & bits] = True
        maybe = table[histories.words[:, 2] & bits].nonzero()[0]
        known = histories.words[maybe, 2]
        maybe = maybe[identities[identities.searchsorted(known) % len(identities)] == known]
        if len(maybe):
            found = np.concatenate((found, histories.counts.cumsum().searchsorted(maybe, "right")))
    return found


def changed_cards(grown: Grown, histories: Histories) -> Int64:
    """Ranks of the cards that have more entries than before, in ascending order."""
    return np.flatnonzero(grown.end - grown.start != histories.counts)


def packed_histories(grown: Grown, histories: Histories, changed: Int64, *, last_offset: Int64) -> list[bytes]:
    """Packed values of the changed cards: what the batch met, and what it appended.

    Args:
        grown: from `apply_batch`.
        histories: what the batch was applied to, from `features.settle.settled`.
        changed: ranks of the cards to pack, such as `changed_cards`.
        last_offset: offset of the last record of the batch in each card's partition; shape (cards,).
    """
    heads = headers(histories.settled[changed], last_offset[changed]).tobytes()
    body = grown.words.tobytes()
    begin, end = grown.start[changed] * ENTRY_BYTES, grown.end[changed] * ENTRY_BYTES
    values = [
        heads[at : at + HEADER_BYTES] + body[b:e]
        for at, b, e in zip(range(0, len(heads), HEADER_BYTES), begin.tolist(), end.tolist(), strict=True)
    ]
    if (tiles := histories.tiles).any_folded:
        for at in np.flatnonzero(tiles.folded_ms[changed] != NEVER_FOLDED).tolist():
            card = int(changed[at])
            head = folded_header(
                int(histories.settled[card]), int(last_offset[card]), tiles.of(card), int(tiles.folded_ms[card])
            )
            values[at] = head + values[at][HEADER_BYTES:]
    return values
