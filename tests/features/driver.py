"""The product's window code driven record by record or in batches, over histories kept in a dictionary."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np

from features.apply import Applied
from features.catalogue import FEATURES, feature_matrix
from features.history import Entries, country_code, identity, mcc_code
from features.stored import Limits, apply_stored
from features.walk import Batch, Delivery
from features.windows import WEEK_MS
from tests.oracles.naive import Answer, Event

SKEW_MS = 300_000


class Cards:
    """Apply events as the online path does: packed values in, packed values out."""

    def __init__(self, grace_ms: int = 86_400_000, hot_card_records: int = 1_000_000) -> None:
        self.limits = Limits(WEEK_MS + grace_ms, grace_ms, SKEW_MS, hot_card_records)
        self.values: dict[str, bytes] = {}
        self.offset = 0
        self.since, self.until = 0, -1
        self.met: dict[str, int] = {}

    def begin(self) -> None:
        """A process starts: nothing is remembered of what came again."""
        self.since, self.until = 0, -1
        self.met.clear()

    def apply(
        self, events: Sequence[Event], *, first_offset: int | None = None, whole: int | None = None, commit: bool = True
    ) -> list[Answer]:
        """Apply one batch; with `first_offset` one that was delivered before, with `whole` a part of one."""
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
        first = begin if whole is None else whole
        if first > self.until:
            self.begin()
            self.since, self.until = first, self.offset - 1
        since, met = np.full(len(cards), self.since), {i: self.met[c] for i, c in enumerate(cards) if c in self.met}
        delivery = Delivery(since, np.full(len(cards), offsets[-1]), met)
        stored = apply_stored([self.values.get(c) for c in cards], batch, delivery, self.limits)
        if commit:
            self.met.update({cards[rank]: entries for rank, entries in stored.met.items()})
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


def but_the_flag(answer: Answer) -> Answer:
    """What must be the same when a record comes again: it is no duplicate then."""
    return replace(answer, duplicate=False)


def assert_answered_again(cards: Cards, batches: Iterable[list[Event]], part: int) -> None:
    """Every batch, delivered once more in parts of a size, is answered as it was and changes no history."""
    for batch in batches:
        begin = cards.offset
        first = cards.apply(batch)
        values = dict(cards.values)
        again: list[Answer] = []
        for piece in split(batch, [part] * len(batch)):
            again += cards.apply(piece, first_offset=begin + len(again))
        assert [but_the_flag(a) for a in again] == [but_the_flag(a) for a in first]
        assert cards.values == values


FATES = ("done", "done", "lost", "killed")


def deaths(
    cards: Cards, events: Sequence[Event], plan: Iterable[tuple[int, str]], *, in_halves: bool
) -> Iterator[tuple[int, Answer]]:
    """Apply events as processes do that die; every answer with its offset, again and again.

    Args:
        cards: without any history yet.
        events: of one partition.
        plan: size of each batch, and whether it is done, lost without effect, or committed and not acknowledged.
        in_halves: every batch is applied in two parts, as one is that fails.
    """
    position = acknowledged = 0
    again_until = -1
    for size, fate in [*plan, *[(7, "done")] * len(events)]:
        batch = events[position : position + size]
        cut = len(batch) // 2 if in_halves else 0
        for begin, part in [(position, batch[:cut]), (position + cut, batch[cut:])]:
            if part and fate != "lost":
                yield from enumerate(cards.apply(part, first_offset=begin, whole=position), begin)
        position += len(batch)
        if fate == "done":
            # What comes again is acknowledged when all of it is done.
            acknowledged = position if position > again_until else acknowledged
        else:
            position, again_until = acknowledged, cards.offset - 1
            cards.begin()


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
