"""Quiet cards: most of a batch, answered and packed again one card after the other, in C.

A card is quiet where nothing needs a second look: everything of it in order of time, no reversal, nothing folded, no
identity seen before, no record that comes again or may do so. What `features/apply.py` does with columns of the whole
batch, `_quiet.c` does with a card's packed history while it lies in the cache. Both say and store the same.
"""

from __future__ import annotations

from typing import Final, Protocol, cast

import msgspec
import numpy as np

from features.history import Bool, Int64, UInt64, pack_words
from features.native import built
from features.walk import Batch, Delivery
from features.windows import Aggregates, Window

# A card with more entries has its windows from columns, which look at each entry once for all of its records.
_MOST_ENTRIES: Final = 512
_ROWS: Final = 14
"""Aggregates, the windows' own among them."""


class _Native(Protocol):
    """`features/_quiet.c`."""

    def apply(
        self, stored: list[bytes | None], new: UInt64, card: Int64, redelivered: Bool, since: Int64, last: Int64,
        answers: Int64, is_quiet: Bool, retention_ms: int, most_entries: int, /,
    ) -> list[bytes | None]:  # fmt: skip
        """See `apply_quiet`; the last two arrays are written.

        Raises:
            ValueError: the arrays do not belong together.
        """
        ...


NATIVE: Final = cast("_Native | None", built("features._quiet"))


class Quiet(msgspec.Struct, frozen=True):
    """What became of the quiet cards of a batch.

    Attributes:
        is_quiet: by card; shape (cards,).
        packed: by card its history to be stored; None where it is not quiet.
        columns: by record its aggregates, in the order of `aggregates_of`; of other cards' records anything.
            Shape (14, n).
    """

    is_quiet: Bool
    packed: list[bytes | None]
    columns: Int64


def apply_quiet(
    native: _Native, stored: list[bytes | None], batch: Batch, delivery: Delivery, *, limit: int, retention_ms: int
) -> Quiet:
    """Apply a batch to its quiet cards.

    Args:
        native: `NATIVE`.
        stored: packed history of each card.
        batch: the records.
        delivery: where the batch stands.
        limit: entries beyond which a card may be folded.
        retention_ms: one week plus grace.
    """
    columns, is_quiet = np.empty((_ROWS, len(batch.card)), np.int64), np.empty(len(stored), np.bool_)
    packed = native.apply(
        stored, pack_words(batch.entries), batch.card, batch.redelivered, delivery.since, delivery.last, columns,
        is_quiet, retention_ms, min(limit, _MOST_ENTRIES),
    )  # fmt: skip
    return Quiet(is_quiet, packed, columns)


def aggregates_of(columns: Int64) -> Aggregates:
    """Aggregates of columns; shape (14, n)."""
    return Aggregates(Window(*columns[:3]), Window(*columns[3:6]), *columns[6:])


def columns_of(aggregates: Aggregates) -> Int64:
    """The inverse of `aggregates_of`."""
    ten, week, *others = (getattr(aggregates, name) for name in aggregates.__struct_fields__)
    return np.array([*(getattr(w, name) for w in (ten, week) for name in w.__struct_fields__), *others], np.int64)
