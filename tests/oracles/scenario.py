"""One card's awkward records, made step by step: each kind of step is a function with a weight."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from .naive import DAY_MS, HOUR_MS, TEN_MINUTES_MS, WEEK_MS, Event

GRACE_MS = DAY_MS
KEEP_MS = WEEK_MS + GRACE_MS
CURRENCIES = (("USD", 2), ("EUR", 2), ("JPY", 0), ("KWD", 3))
COUNTRIES = ("US", "DE", "JP", "BR", None, None)
MCCS = ("5411", "5812", "4829", "7995", None)
AMOUNTS = (1, 2, 3, 99, 100, 12_345, 10**9 + 7, 10**15 - 1, 10**15)
_ID_STARTS = ("t", "t", "é:", "100%/", 'a"b ')


@dataclass
class CardTraffic:
    """One card's records so far; every step adds one awkward thing or a few."""

    rng: random.Random
    card: str
    t_ms: int  # the card's newest time
    limit_ms: int
    pace_ms: float  # mean gap of ordinary traffic
    currency: str
    exponent: int
    events: list[Event] = field(default_factory=list)
    promised: list[str] = field(default_factory=list)  # reversed already, not yet sent

    def new_id(self) -> str:
        """A short id on purpose: other cards have the same."""
        return self.rng.choice(_ID_STARTS) + str(len(self.events))

    def amount(self) -> int:
        """Minor units: mostly ordinary, now and then an extreme."""
        if self.rng.random() < 0.1:
            return self.rng.choice(AMOUNTS)
        return int(10 ** self.rng.uniform(0, 6))

    def authorize(self, t_ms: int, transaction_id: str | None = None) -> None:
        """Add an authorization; the time is kept between the epoch and the end of the span."""
        t_ms = max(0, min(t_ms, self.limit_ms))
        self.t_ms = max(self.t_ms, t_ms)
        self.events.append(
            Event(
                card=self.card,
                transaction_id=transaction_id or self.new_id(),
                kind="authorization",
                t_ms=t_ms,
                amount_minor=self.amount(),
                exponent=self.exponent,
                currency=self.currency,
                mcc=self.rng.choice(MCCS),
                country=self.rng.choice(COUNTRIES),
            )
        )

    def reverse(self, original: str, t_ms: int | None = None) -> None:
        """Add a reversal of ``original``, at the card's newest time unless told."""
        t_ms = min(self.t_ms if t_ms is None else t_ms, self.limit_ms)
        self.events.append(
            Event(
                card=self.card,
                transaction_id=f"r{len(self.events)}",
                kind="reversal",
                t_ms=max(0, t_ms),
                amount_minor=self.amount(),
                exponent=self.exponent,
                currency=self.currency,
                original=original,
            )
        )

    def sent(self, last: int | None = None) -> Event:
        """Some authorization sent before, among the ``last`` ones if given; the first record of a card is one."""
        some = self.events if last is None else self.events[-last:]
        authorizations = [e for e in some if e.kind == "authorization"] or [self.events[0]]
        return self.rng.choice(authorizations)


def _ordinary(c: CardTraffic) -> None:
    c.authorize(c.t_ms + int(c.rng.expovariate(1 / c.pace_ms)))


def _burst(c: CardTraffic) -> None:
    for _ in range(c.rng.randint(3, 12)):
        c.authorize(c.t_ms + c.rng.choice((0, 1, 250, 30_000, 120_000)))


def _equal_time(c: CardTraffic) -> None:
    c.authorize(c.sent(last=5).t_ms)


def _window_edge(c: CardTraffic) -> None:
    window = c.rng.choice((TEN_MINUTES_MS, TEN_MINUTES_MS, WEEK_MS))
    away = c.rng.choice((-1, 0, 1))
    forward = c.sent(last=30).t_ms + window + away
    c.authorize(forward if forward <= c.limit_ms else c.t_ms - window + away)


def _late(c: CardTraffic) -> None:
    farthest = c.rng.choice((2 * 60_000, 15 * 60_000, 5 * HOUR_MS, GRACE_MS))
    c.authorize(c.t_ms - c.rng.randint(1, farthest))


def _late_edge(c: CardTraffic) -> None:
    edge = c.rng.choice((GRACE_MS, GRACE_MS, WEEK_MS, KEEP_MS))
    c.authorize(c.t_ms - edge + c.rng.choice((-1, 0, 1)))


def _very_late(c: CardTraffic) -> None:
    c.authorize(c.t_ms - c.rng.choice((c.rng.randint(GRACE_MS, KEEP_MS), c.rng.randint(KEEP_MS, 8 * KEEP_MS))))


def _quiet(c: CardTraffic) -> None:
    gap = c.rng.choice((KEEP_MS - 1, KEEP_MS, KEEP_MS + 1, 9 * DAY_MS, 12 * DAY_MS))
    if c.t_ms + gap <= c.limit_ms:
        c.authorize(c.t_ms + gap)


def _copy(c: CardTraffic) -> None:
    """Of the last one, of one a little back (A-B-A), or of any, days later or long gone."""
    c.events.append(c.sent(last=c.rng.choice((1, 3, 10, 10_000))))


def _contradicting_copy(c: CardTraffic) -> None:
    first = c.sent(last=c.rng.choice((1, 3, 10, 10_000)))
    other_ms = min(first.t_ms + c.rng.choice((1, -60_000, HOUR_MS)), c.limit_ms)
    changes: tuple[dict[str, Any], ...] = (
        {"amount_minor": c.amount()},
        {"t_ms": other_ms},
        {"amount_minor": c.amount(), "t_ms": other_ms},
    )
    c.events.append(replace(first, **c.rng.choice(changes)))


def _reversal(c: CardTraffic) -> None:
    c.reverse(c.sent(last=c.rng.choice((1, 5, 50))).transaction_id)


def _reversal_of_copy(c: CardTraffic) -> None:
    _copy(c)
    c.reverse(c.events[-1].transaction_id)
    c.events.append(c.events[-2])  # and the copy once more, after it


def _reversal_of_late(c: CardTraffic) -> None:
    _late(c)
    c.reverse(c.events[-1].transaction_id)


def _repeated_reversal(c: CardTraffic) -> None:
    reversals = [e for e in c.events if e.kind == "reversal"]
    if reversals:
        c.events.append(c.rng.choice(reversals))


def _reversal_of_any(c: CardTraffic) -> None:
    """Often of something gone; with a time of its own."""
    c.reverse(c.sent().transaction_id, c.t_ms - c.rng.choice((0, HOUR_MS, 20 * DAY_MS, -HOUR_MS)))


def _reversal_of_unknown(c: CardTraffic) -> None:
    c.reverse(f"never{len(c.events)}")


def _reversal_first(c: CardTraffic) -> None:
    c.promised.append(f"p{len(c.events)}")
    c.reverse(c.promised[-1])


def _promised(c: CardTraffic) -> None:
    """What was reversed before it came; after it another, which must not see it."""
    if c.promised:
        c.authorize(c.t_ms + c.rng.choice((0, 1_000, -60_000)), c.promised.pop(0))
        c.authorize(c.t_ms + 1)


KINDS: tuple[tuple[int, Callable[[CardTraffic], None]], ...] = (
    (40, _ordinary),
    (4, _burst),
    (5, _equal_time),
    (10, _window_edge),
    (7, _late),
    (3, _late_edge),
    (3, _very_late),
    (1, _quiet),
    (6, _copy),
    (2, _contradicting_copy),
    (5, _reversal),
    (1, _reversal_of_copy),
    (1, _reversal_of_late),
    (2, _repeated_reversal),
    (2, _reversal_of_any),
    (1, _reversal_of_unknown),
    (3, _reversal_first),
    (3, _promised),
)
