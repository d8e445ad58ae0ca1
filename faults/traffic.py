"""A row's records: steady traffic of many cards with the row's awkward kinds mixed in."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from faults.events import Event, Planned, Speller, card_number, token
from faults.oracle import DAY_MS, GRACE_MS, TEN_MINUTES_MS, WEEK_MS

RECORDS_PER_CARD: Final = 40
POISON: Final = "poison-"
"""What ids begin with at which scoring fails, in workers that are told to."""
_HOT_MOST: Final = 3_500
"""Below the number of raw records from which the oldest of a card are folded: exact in every window."""
_HOUR_MS: Final = 3_600_000
_YEAR_MS: Final = 365 * DAY_MS
_SPAN_MS: Final = 8 * DAY_MS
_FARTHEST_MS: Final = 14 * DAY_MS
"""Nothing is older, but what wrong clocks say: each day is an index."""
_BURST: Final = 0.15
_CURRENCIES: Final = (("USD", 2), ("EUR", 2), ("JPY", 0), ("KWD", 3))
_COUNTRIES: Final = ("US", "DE", "JP", "BR", None)
_MCCS: Final = ("5411", "5812", "4829", "7995", None)


class _Card:
    """A card in mid-life."""

    def __init__(self, rng: random.Random, number: int, now_ms: int, digits: str) -> None:
        self.digits = digits
        self.name = token(digits) if digits else f"card-{number}"
        self.currency, self.exponent = rng.choice(_CURRENCIES)
        self.clock_ms = now_ms - _SPAN_MS - rng.randrange(DAY_MS)
        self.limit_ms = now_ms - _HOUR_MS
        self.sent: list[tuple[Event, Planned]] = []
        self.promised: list[str] = []
        self.made = 0

    def new_id(self) -> str:
        """Short on purpose: other cards have the same."""
        self.made += 1
        return f"t{self.made}"


class Traffic:
    """Makes the records of a row; the same arguments give the same.

    Args:
        seed: of all choices.
        records: how many will be asked for.
        kinds: the awkward kinds, of `KINDS`.
        share: how much of the traffic is awkward.
        now_ms: no clock but an awkward one is ahead of it.
        partitions: of the topic.
    """

    def __init__(
        self, seed: int, records: int, kinds: Sequence[str], *, share: float, now_ms: int, partitions: int
    ) -> None:
        self._rng = random.Random(seed)  # noqa: S311 - traffic, not secrets
        self._speller = Speller(self._rng, partitions)
        self._kinds, self._share, self._now_ms = [KINDS[kind] for kind in kinds], share, now_ms
        count = max(20, records // RECORDS_PER_CARD)
        numbers = count // 4 if "pans" in kinds else 0
        self._cards = [
            _Card(self._rng, i, now_ms, card_number(seed * 100_000 + i) if i < numbers else "") for i in range(count)
        ]
        # Cards whose clocks are wrong lose their history by it, so they are some cards and not all.
        self.wrong_clocks = self._cards[-max(2, count // 6) :]
        self.hot, self.hot_left = _Card(self._rng, count, now_ms, ""), _HOT_MOST
        self._ready: list[Planned] = []

    def records(self, count: int) -> list[Planned]:
        """The next records, in order."""
        while len(self._ready) < count:
            card = self._rng.choice(self._cards)
            if self._rng.random() < self._share:
                self._ready += self._rng.choice(self._kinds)(self, card)
            else:
                self._ready += self.ordinary(card)
        taken, self._ready = self._ready[:count], self._ready[count:]
        return taken

    @property
    def rng(self) -> random.Random:
        """The source of all choices."""
        return self._rng

    def ordinary(self, card: _Card, *, stray: bool = False) -> list[Planned]:
        """A purchase some hours after the last, or a few within minutes."""
        rng = self._rng
        if rng.random() < _BURST:
            gaps = [rng.choice((0, 1, 900, 30_000, 120_000)) for _ in range(rng.randint(2, 6))]
        else:
            gaps = [int(rng.expovariate(RECORDS_PER_CARD / _SPAN_MS))]
        made = []
        for gap in gaps:
            card.clock_ms = min(card.clock_ms + gap, card.limit_ms)
            made.append(self.authorize(card, card.clock_ms, stray=stray))
        return made

    def authorize(self, card: _Card, t_ms: int, *, transaction_id: str = "", stray: bool = False) -> Planned:
        """An authorization of the card at a time."""
        rng = self._rng
        event = Event(
            card=card.name,
            transaction_id=transaction_id or card.new_id(),
            event_ms=t_ms,
            amount_minor=10**15 if rng.random() < 0.001 else int(10 ** rng.uniform(0, 6)),
            currency=card.currency,
            exponent=card.exponent,
            mcc=rng.choice(_MCCS),
            country=rng.choice(_COUNTRIES),
            last4=card.digits[-4:] or None,
        )
        return self.send(card, event, stray=stray)

    def send(self, card: _Card, event: Event, *, stray: bool = False) -> Planned:
        """Spell an event, and remember it where it can be sent again."""
        planned = self._speller.plan(event, digits=card.digits, stray=stray)
        if event.original is None:
            card.sent = [*card.sent[-39:], (event, planned)]
        return planned

    def bad(self) -> Planned:
        """A record that is no transaction."""
        return self._speller.bad()


def _copies(traffic: Traffic, card: _Card) -> list[Planned]:
    """A producer's retry: the same bytes, or the same transaction saying something else."""
    if not card.sent:
        return traffic.ordinary(card)
    event, planned = traffic.rng.choice(card.sent)
    if traffic.rng.random() < 0.7:
        return [planned]
    changed = traffic.rng.choice((
        {"amount_minor": event.amount_minor // 2 + 1}, {"event_ms": event.event_ms + 1}, {"country": "FR"},
    ))  # fmt: skip
    return [traffic.send(card, msgspec.structs.replace(event, **changed))]


def _late(traffic: Traffic, card: _Card) -> list[Planned]:
    """An old event, most within the grace, some beyond, some at a window's edge to the millisecond."""
    rng = traffic.rng
    behind = rng.choice((rng.randrange(TEN_MINUTES_MS), rng.randrange(GRACE_MS), GRACE_MS, rng.randrange(9 * DAY_MS)))
    if card.sent and rng.random() < 0.3:
        event, _ = rng.choice(card.sent)
        edge = rng.choice((0, TEN_MINUTES_MS, WEEK_MS)) + rng.choice((-1, 0, 1))
        return [traffic.authorize(card, min(event.event_ms + edge, card.limit_ms))]
    return [traffic.authorize(card, max(card.clock_ms - behind, card.limit_ms - _FARTHEST_MS))]


def _reversals(traffic: Traffic, card: _Card) -> list[Planned]:
    """A reversal: of something sent, of something that is still to come, or twice."""
    rng = traffic.rng
    if card.promised and rng.random() < 0.5:
        return [traffic.authorize(card, card.clock_ms, transaction_id=card.promised.pop())]
    if card.sent and rng.random() < 0.7:
        original = rng.choice(card.sent)[0].transaction_id
    else:
        original = card.new_id()
        card.promised.append(original)
    return [_reversal(traffic, card, original) for _ in range(rng.choice((1, 1, 2)))]


def _reversal(traffic: Traffic, card: _Card, original: str) -> Planned:
    event = Event(
        card=card.name,
        transaction_id=f"r{card.new_id()}",
        event_ms=card.clock_ms,
        amount_minor=100,
        currency=card.currency,
        exponent=card.exponent,
        original=original,
        last4=card.digits[-4:] or None,
    )
    return traffic.send(card, event)


def _strays(traffic: Traffic, card: _Card) -> list[Planned]:
    """From a producer that keys by CRC32, or not at all."""
    return traffic.ordinary(card, stray=True)


def _pans(traffic: Traffic, card: _Card) -> list[Planned]:
    """A quarter of the cards have card numbers; here with unfit optional fields as well."""
    event = Event(
        card=card.name,
        transaction_id=card.new_id(),
        event_ms=card.clock_ms,
        amount_minor=traffic.rng.randrange(1, 10**6),
        currency=card.currency,
        exponent=card.exponent,
        last4=card.digits[-4:] or None,
        dropped=traffic.rng.choice(((), ("device_id",), ("merchant_id", "email"))),
    )
    return [traffic.send(card, event)]


def _clocks(traffic: Traffic, _card: _Card) -> list[Planned]:
    """A terminal whose clock is years ahead or behind."""
    card = traffic.rng.choice(traffic.wrong_clocks)
    years = traffic.rng.choice((-30, -5, -3, 1, 2, 8, 70))
    return [traffic.authorize(card, card.limit_ms + years * _YEAR_MS + traffic.rng.randrange(_YEAR_MS))]


def _hostile(traffic: Traffic, _card: _Card) -> list[Planned]:
    """A record that is no transaction."""
    return [traffic.bad()]


def _hot(traffic: Traffic, card: _Card) -> list[Planned]:
    """One card with a good part of the traffic."""
    if traffic.hot_left <= 0:
        return traffic.ordinary(card)
    traffic.hot_left -= 1
    hot = traffic.hot
    hot.clock_ms = min(hot.clock_ms + traffic.rng.randrange(240_000), hot.limit_ms)
    return [traffic.authorize(hot, hot.clock_ms)]


def _poison(traffic: Traffic, card: _Card) -> list[Planned]:
    """A transaction at which the workers of its row fail."""
    planned = traffic.authorize(card, card.clock_ms, transaction_id=f"{POISON}{card.new_id()}")
    card.sent.pop()
    if planned.home != planned.partition:
        return traffic.ordinary(card)
    return [msgspec.structs.replace(planned, event=None, home=-1, reason="poison")]


KINDS: Final[dict[str, Callable[[Traffic, _Card], list[Planned]]]] = {
    "copies": _copies,
    "late": _late,
    "reversals": _reversals,
    "strays": _strays,
    "pans": _pans,
    "clocks": _clocks,
    "hostile": _hostile,
    "hot": _hot,
    "poison": _poison,
}
"""The awkward kinds by name."""
