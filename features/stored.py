"""Apply a batch to packed histories: what became of its records, and what to store."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np

from features.apply import Applied, all_first, apply_batch, changed_cards, packed_histories
from features.history import Int64, unpack
from features.quiet import NATIVE, Quiet, aggregates_of, apply_quiet, columns_of
from features.settle import settled
from features.walk import Batch, Delivery


class Stored(msgspec.Struct, frozen=True):
    """What became of a batch.

    Attributes:
        applied: of its records.
        packed: by card the history to be stored; None where nothing has changed.
        folded: how many of its cards have tiles.
        met: of the cards that met records again, how many of their entries.
    """

    applied: Applied
    packed: list[bytes | None]
    folded: int
    met: Mapping[int, int]


class Limits(msgspec.Struct, frozen=True):
    """What the windows depend on besides the records.

    Attributes:
        retention_ms: how long a history keeps an entry: one week plus grace.
        grace_ms: how late a record may be and still be answered exactly.
        clock_skew_ms: how far an event's own time may lie after its record's.
        hot_card_records: youngest entries that a card keeps singly in any case.
    """

    retention_ms: int
    grace_ms: int
    clock_skew_ms: int
    hot_card_records: int


def apply_stored(stored: list[bytes | None], batch: Batch, delivery: Delivery, limits: Limits) -> Stored:
    """Apply a batch.

    Args:
        stored: packed history of each card of the batch, by rank; None for a card without one.
        batch: the records.
        delivery: where the batch stands.
        limits: what is kept.

    Raises:
        StoreCorrupt: a history is none.
    """
    if NATIVE is None:
        return _by_columns(stored, batch, delivery, limits)
    quiet = apply_quiet(
        NATIVE, stored, batch, delivery, limit=limits.hot_card_records, retention_ms=limits.retention_ms
    )
    others = np.flatnonzero(~quiet.is_quiet)
    if not len(others):
        return Stored(all_first(aggregates_of(quiet.columns), batch.entries.clamped), quiet.packed, 0, {})
    if len(others) == len(stored):
        return _by_columns(stored, batch, delivery, limits)
    return _merged(quiet, others, stored, batch, delivery, limits)


def _by_columns(stored: list[bytes | None], batch: Batch, delivery: Delivery, limits: Limits) -> Stored:
    retention_ms, clock_skew_ms = limits.retention_ms, limits.clock_skew_ms
    histories = settled(unpack(stored), delivery, limit=limits.hot_card_records, retention_ms=retention_ms)
    applied, grown = apply_batch(histories, batch, delivery.met, retention_ms=retention_ms, clock_skew_ms=clock_skew_ms)
    changed = changed_cards(grown, histories)
    packed: list[bytes | None] = [None] * len(stored)
    values = packed_histories(grown, histories, changed, last_offset=delivery.last)
    for card, value in zip(changed.tolist(), values, strict=True):
        packed[card] = value
    return Stored(applied, packed, int(np.count_nonzero(np.diff(histories.tiles.start))), grown.met)


def _merged(
    quiet: Quiet, others: Int64, stored: list[bytes | None], batch: Batch, delivery: Delivery, limits: Limits
) -> Stored:
    """The quiet cards as they are, and the others by columns."""
    rows = np.flatnonzero(~quiet.is_quiet[batch.card])
    rank = np.cumsum(~quiet.is_quiet) - 1
    some = batch.take(rows, rank[batch.card[rows]])
    rest = _by_columns([stored[card] for card in others.tolist()], some, delivery.take(others), limits)
    met = {int(others[card]): entries for card, entries in rest.met.items()}
    for card, value in zip(others.tolist(), rest.packed, strict=True):
        quiet.packed[card] = value
    return Stored(_put_in(quiet.columns, batch, rows, rest.applied), quiet.packed, rest.folded, met)


def _put_in(columns: Int64, batch: Batch, rows: Int64, rest: Applied) -> Applied:
    """What became of all records: `rest` of some rows, and of the others that each is a first."""
    columns[:, rows[rest.authorization]] = columns_of(rest.aggregates)
    whole = all_first(aggregates_of(columns), batch.entries.clamped.copy())
    for name in ("authorization", "duplicate", "conflict", "behind_ms", "folded", "clamped"):
        getattr(whole, name)[rows] = getattr(rest, name)
    aggregates = whole.aggregates if rest.authorization.all() else aggregates_of(columns[:, whole.authorization])
    reversal = {int(rows[record]): word for record, word in rest.reversal.items()}
    return msgspec.structs.replace(whole, aggregates=aggregates, reversal=reversal, ordinary=False)
