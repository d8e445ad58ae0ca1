"""What an event costs where there are many cards, and where one of them is hot."""

from __future__ import annotations

import time
from typing import Final

import msgspec
import numpy as np

from bench.cards import TTL_MS, Cards, span_ms
from bench.lab import Lab
from bench.throughput import Pass, measure_pass, prepare
from features.fold import fold_hot
from features.history import folded_header, unpack
from features.windows import WEEK_MS

FEW: Final = 10_000
MANY: Final = 1_000_000
ENTRIES: Final = 4
"""Of each history, with few cards and with many: full ones of a million cards would need 700 MB of Redis."""
HOT_PER_WEEK: Final = 100_000
_HOT_RECORDS: Final = 4096


class Growth(msgspec.Struct, frozen=True):
    """The same load on few cards and on many."""

    few: Pass
    many: Pass

    @property
    def cpu_ratio(self) -> float:
        """CPU of an event with many cards, the process's and Redis', as a multiple of that with few."""
        return _cpu_us(self.many) / _cpu_us(self.few)

    @property
    def time_ratio(self) -> float:
        """The same of the time that an event takes."""
        return self.few.per_s / self.many.per_s


class Hot(msgspec.Struct, frozen=True):
    """Quiet cards alone, and the same with a hot one among them, each as often as in life.

    Attributes:
        share: of the events, those of the hot card.
    """

    quiet: Pass
    mixed: Pass
    share: float

    @property
    def mixed_ratio(self) -> float:
        """CPU of an event, the process's and Redis', where one card is hot, as a multiple of that where none is."""
        return _cpu_us(self.mixed) / _cpu_us(self.quiet)

    @property
    def hot_ratio(self) -> float:
        """The same of an event of the hot card itself, where those of the others cost what they cost without it."""
        return 1 + (self.mixed_ratio - 1) / self.share


def measure_growth(lab: Lab, count: int, number: int) -> Growth:
    """One round: few cards, then many; each with histories of `ENTRIES`, at the rate at which those came about."""
    passes = []
    for cards_count in (FEW, MANY):
        prefix = f"c{number}-{cards_count}-"
        began_ms = int(time.time() * 1000) - span_ms(cards_count, count, ENTRIES)
        cards = Cards(cards_count, 1, began_ms, entries=ENTRIES)
        prepare(lab, prefix, cards, cards.histories(), count)
        passes.append(measure_pass(lab, lab.score(prefix), count))
    return Growth(*passes)


def measure_hot(lab: Lab, cards_count: int, count: int, number: int) -> Hot:
    """One round: quiet cards, then the same and a hot one, its history folded as the role folds it."""
    began_ms = int(time.time() * 1000) - span_ms(cards_count, count)
    passes = []
    for per_week in (0, HOT_PER_WEEK):
        prefix = f"h{number}-{per_week}-"
        cards = Cards(cards_count, 1, began_ms, hot_per_week=per_week)
        histories = cards.histories()
        if per_week:
            histories[-1] = folded(cards.history_of(cards_count, per_week * TTL_MS // WEEK_MS))
        prepare(lab, prefix, cards, histories, count)
        passes.append(measure_pass(lab, lab.score(prefix), count))
    quiet, mixed = passes
    return Hot(quiet, mixed, hot_share(cards_count))


def hot_share(cards_count: int) -> float:
    """Share of the events that are the hot card's.

    >>> round(hot_share(10_000), 2)
    0.29
    """
    hot = HOT_PER_WEEK / WEEK_MS
    return hot / (hot + 1 / span_ms(cards_count, 1))


def folded(packed: bytes) -> bytes:
    """The packed history of a card after its oldest entries were folded."""
    card = fold_hot(unpack([packed]), np.zeros(1, np.bool_), limit=_HOT_RECORDS, retention_ms=TTL_MS)
    head = folded_header(int(card.settled[0]), int(card.written[0]), card.tiles.of(0), int(card.tiles.folded_ms[0]))
    return head + card.words.tobytes()


def _cpu_us(one: Pass) -> float:
    return one.cpu_us + one.redis_cpu_us
