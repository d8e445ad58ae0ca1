"""The product's window code driven record by record or in batches, over histories kept in a dictionary."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

import numpy as np

from features.apply import Applied
from features.catalogue import FEATURES, feature_matrix
from features.history import Entries, country_code, identity, mcc_code
from features.stored import Limits, apply_stored
from features.walk import Batch
from features.windows import WEEK_MS
from tests.oracles.naive import Answer, Event

SKEW_MS = 300_000


class Cards:
    """Apply events as the online path does: packed values in, packed values out."""

    def __init__(self, grace_ms: int = 86_400_000, hot_card_records: int = 1_000_000) -> None:
        self.limits = Limits(WEEK_MS + grace_ms, grace_ms, SKEW_MS, hot_card_records)
        self.values: dict[str, bytes] = {}
        self.offset = 0

    def apply(self, events: Sequence[Event], *, first_offset: int | None = None, commit: bool = True) -> list[Answer]:
        """Apply one batch; with `first_offset` a batch that was delivered before."""
        begin = self.offset if first_offset is None else first_offset
        offsets = np.arange(begin, begin + len(events))
        cards = list(dict.fromkeys(e.card for e in events))
        batch = Batch(
            entries=_entries(events, offsets),
            card=np.array([cards.index(e.card) for e in events], np.int64),
            event_ms=np.array([e.t_ms for e in events], np.int64),
            offset=offsets,
            redelivered=offsets < self.offset,
        )
        last_offset = np.full(len(cards), offsets[-1])
        stored = apply_stored([self.values.get(c) for c in cards], batch, last_offset, self.limits)
        if commit:
            changed = zip(cards, stored.packed, strict=True)
            self.values.update({card: value for card, value in changed if value is not None})
            self.offset = max(self.offset, begin + len(events))
        return _answers(events, stored.applied, self.limits.grace_ms)


def _entries(events: Sequence[Event], offsets: np.ndarray) -> Entries:
    reversal = np.array([e.kind == "reversal" for e in events], np.bool_)
    return Entries(
        time_ms=np.array([e.t_ms for e in events], np.int64),
        amount_minor=np.where(reversal, offsets, np.array([e.amount_minor for e in events], np.int64)),
        reversal=reversal,
        clamped=np.zeros(len(events), np.bool_),
        identity=np.array([identity(e.original or e.transaction_id) for e in events], np.uint64),
        country=np.array([country_code(e.country) for e in events], np.int64),
        mcc=np.array([mcc_code(e.mcc) for e in events], np.int64),
    )


def _answers(events: Sequence[Event], applied: Applied, grace_ms: int) -> list[Answer]:
    asked = [i for i, e in enumerate(events) if e.kind == "authorization"]
    matrix = feature_matrix(applied.aggregates, np.array([events[i].exponent for i in asked], np.int64))
    answers: list[Answer] = []
    row = 0
    for i, event in enumerate(events):
        if event.kind == "reversal":
            answers.append(
                Answer(
                    None, reversal=applied.reversal[i], reversed=event.original, beyond_grace=bool(applied.folded[i])
                )
            )
            continue
        late = int(applied.aggregates.late_by_ms[row]) or None
        behind = int(applied.behind_ms[i])
        answers.append(
            Answer(
                features={
                    f.name: int(v) if f.dtype == "int64" else float(v)
                    for f, v in zip(FEATURES, matrix[row], strict=True)
                },
                late_by_ms=late,
                beyond_grace=bool(applied.folded[i]) or max(behind, late or 0) > grace_ms,
                duplicate=bool(applied.duplicate[i]),
                conflict=bool(applied.conflict[i]),
            )
        )
        row += 1
    return answers


def split(events: Iterable[Event], sizes: Iterable[int]) -> Iterable[list[Event]]:
    """Cut events into consecutive batches of the given sizes; what is left is the last batch."""
    rest = iter(events)
    for size in sizes:
        batch = list(islice(rest, size))
        if not batch:
            return
        yield batch
    if batch := list(rest):
        yield batch
