"""What the contract says of every record, worked out card by card in plain Python, with no code of the product.

It keeps each card's authorizations sorted by time and sums whatever lies in a window anew for each question: fast
enough for tens of thousands of records, and simple enough to be compared with the naive oracle of the tests.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from typing import Final

import msgspec

from faults.events import Event

TEN_MINUTES_MS: Final = 600_000
DAY_MS: Final = 86_400_000
WEEK_MS: Final = 7 * DAY_MS
GRACE_MS: Final = DAY_MS
CLOCK_SKEW_MS: Final = 300_000
KEPT_MS: Final = WEEK_MS + GRACE_MS
_HOUR_MS: Final = 3_600_000
_NO_LAST_S: Final = 604_800.0


class Expected(msgspec.Struct, frozen=True):
    """What must be answered; names as in the outcome, None and False where a field must be absent.

    Attributes:
        features: None of a reversal.
        inexact: a copy so far behind that its features are not promised.
        amount_minor: that stands, the first's.
        shown_ms: event time that stands.
    """

    amount_minor: int
    shown_ms: int
    features: dict[str, int | float] | None = None
    inexact: bool = False
    late_by_ms: int | None = None
    clock_skew_ms: int | None = None
    beyond_grace: bool = False
    duplicate: bool = False
    conflict: bool = False
    reversal: str | None = None


class Entry(msgspec.Struct, frozen=True, gc=False):
    """What a card's history keeps of a record that counted; of a reversal its original's id, and its offset."""

    time_ms: int
    amount_minor: int
    reversal: bool
    clamped: bool
    transaction_id: str
    country: str | None
    mcc: str | None


class _Authorization(msgspec.Struct, gc=False):
    event: Event
    t_ms: int
    clamped: bool
    features: dict[str, int | float]
    late_by_ms: int | None
    taken_out: bool


class _Card:
    """One card's records so far."""

    def __init__(self) -> None:
        self.newest_ms: int | None = None
        self.named: dict[str, list[_Authorization]] = {}
        self.times: list[tuple[int, int]] = []  # effective time and place in `order`
        self.order: list[_Authorization] = []
        self.remembered: dict[str, int] = {}
        self.entries: list[Entry] = []

    def find(self, transaction_id: str) -> _Authorization | None:
        """The authorization of that id that the history still knows."""
        for one in reversed(self.named.get(transaction_id, ())):
            if not self.is_gone(one.t_ms):
                return one
        return None

    def is_gone(self, t_ms: int) -> bool:
        """Whether a time lies too far behind the newest authorization."""
        return self.newest_ms is not None and self.newest_ms - t_ms > KEPT_MS

    def week(self, t_ms: int, newest_ms: int) -> list[_Authorization]:
        """Live authorizations of the week that ends at a time, oldest first, of equal times the first applied first."""
        since = max(t_ms - WEEK_MS, newest_ms - KEPT_MS)
        first, end = bisect_left(self.times, (since, -1)), bisect_right(self.times, (t_ms, len(self.order)))
        found = (self.order[place] for _, place in self.times[first:end])
        return [one for one in found if not one.taken_out]


class Oracle:
    """All cards; records are given in the order of their home partitions."""

    def __init__(self) -> None:
        self._cards: dict[str, _Card] = {}

    def apply(self, event: Event, broker_ms: int, offset: int) -> Expected:
        """Take the next record and answer it.

        Args:
            event: what the record means.
            broker_ms: its timestamp; of one sent home, the first one.
            offset: in its home partition.
        """
        card = self._cards.setdefault(event.card, _Card())
        ahead_ms = event.event_ms - broker_ms
        clamped = ahead_ms > CLOCK_SKEW_MS
        t_ms = broker_ms if clamped else event.event_ms
        if event.original is not None:
            what = _reverse(card, event, event.original, t_ms, offset)
            skew_ms = ahead_ms if clamped else None
            return Expected(event.amount_minor, event.event_ms, reversal=what, clock_skew_ms=skew_ms)
        first = card.find(event.transaction_id)
        return _authorize(card, event, t_ms, clamped=clamped) if first is None else _answer_again(card, first, event)

    def entries(self) -> dict[str, tuple[list[Entry], int]]:
        """Of each card everything that was ever kept, in order, and the time up to which it has been let go since."""
        return {name: (card.entries, (card.newest_ms or 0) - KEPT_MS) for name, card in self._cards.items()}


def _authorize(card: _Card, event: Event, t_ms: int, *, clamped: bool) -> Expected:
    promised_ms = card.remembered.get(event.transaction_id)
    taken_out = promised_ms is not None and not card.is_gone(promised_ms)
    before_ms = t_ms if card.newest_ms is None else card.newest_ms
    newest_ms = max(before_ms, t_ms)
    late_by_ms = before_ms - t_ms if before_ms > t_ms else None
    one = _Authorization(event, t_ms, clamped, {}, late_by_ms, taken_out)
    one.features = _features(one, card.week(t_ms, newest_ms))
    card.newest_ms = newest_ms
    card.named.setdefault(event.transaction_id, []).append(one)
    insort(card.times, (t_ms, len(card.order)))
    card.order.append(one)
    card.entries.append(
        Entry(t_ms, event.amount_minor, False, clamped, event.transaction_id, event.country, event.mcc)  # noqa: FBT003 - a row
    )
    beyond = late_by_ms is not None and late_by_ms > GRACE_MS
    return _answer(one, one.event, conflict=False, beyond_grace=beyond)


def _answer_again(card: _Card, first: _Authorization, copy: Event) -> Expected:
    beyond = (card.newest_ms or 0) - first.t_ms > GRACE_MS
    ahead_ms = copy.event_ms - first.t_ms
    agrees = ahead_ms > CLOCK_SKEW_MS if first.clamped else ahead_ms == 0
    conflict = copy.amount_minor != first.event.amount_minor or not agrees
    again = _answer(first, copy, conflict=conflict, beyond_grace=beyond)
    return msgspec.structs.replace(again, duplicate=True, inexact=beyond)


def _answer(first: _Authorization, said: Event, *, conflict: bool, beyond_grace: bool) -> Expected:
    # Of a first whose clock ran ahead the history keeps the effective time alone.
    shown_ms = said.event_ms if first.clamped and not conflict else first.t_ms
    return Expected(
        amount_minor=first.event.amount_minor,
        shown_ms=shown_ms,
        features=first.features,
        late_by_ms=first.late_by_ms,
        clock_skew_ms=shown_ms - first.t_ms or None,
        beyond_grace=beyond_grace,
        conflict=conflict,
    )


def _reverse(card: _Card, event: Event, original: str, t_ms: int, offset: int) -> str:
    target = card.find(original)
    if target is None:
        promised_ms = card.remembered.get(original)
        if promised_ms is not None and not card.is_gone(promised_ms):
            return "repeated"
        kept_ms = t_ms if card.newest_ms is None else max(t_ms, card.newest_ms)
        card.remembered[original] = kept_ms
    elif target.taken_out:
        return "repeated"
    else:
        target.taken_out = True
        kept_ms = target.t_ms
    card.entries.append(Entry(kept_ms, offset, True, False, original, event.country, event.mcc))  # noqa: FBT003 - a row
    return "unknown_original" if target is None else "applied"


def _features(me: _Authorization, earlier: list[_Authorization]) -> dict[str, int | float]:
    """Every feature of the catalogue, from the words of its table."""
    unit = 10**me.event.exponent
    week = [*(one.event.amount_minor for one in earlier), me.event.amount_minor]
    recent = [one for one in earlier if one.t_ms >= me.t_ms - TEN_MINUTES_MS]
    ten = [*(one.event.amount_minor for one in recent), me.event.amount_minor]
    seen = [*(one.event for one in recent), me.event]
    amount, avg_10m, avg_1w = me.event.amount_minor / unit, sum(ten) / len(ten) / unit, sum(week) / len(week) / unit
    last = earlier[-1] if earlier else None
    return {
        "num_trans_last_10m": len(ten),
        "num_trans_last_1w": len(week),
        "avg_amt_last_10m": avg_10m,
        "avg_amt_last_1w": avg_1w,
        "amt_ratio1": avg_10m / avg_1w,
        "amt_ratio2": amount / avg_1w,
        "count_ratio": len(ten) / len(week),
        "amount": amount,
        "secs_since_last": _NO_LAST_S if last is None else (me.t_ms - last.t_ms) / 1000,
        "prev_amt": 0.0 if last is None else last.event.amount_minor / unit,
        "min_amt_last_10m": min(ten) / unit,
        "max_amt_last_10m": max(ten) / unit,
        "max_amt_last_1w": max(week) / unit,
        "hour_of_day": me.t_ms // _HOUR_MS % 24,
        "num_countries_last_10m": len({e.country for e in seen} - {None}),
        "num_mccs_last_10m": len({e.mcc for e in seen} - {None}),
    }
