"""Awkward traffic: a seeded generator for large runs and Hypothesis strategies for small ones."""

import random

from hypothesis import strategies as st

from .naive import DAY_MS, TEN_MINUTES_MS, WEEK_MS, Event
from .scenario import AMOUNTS, COUNTRIES, CURRENCIES, GRACE_MS, KEEP_MS, KINDS, MCCS, CardTraffic
from .wire import wire

__all__ = ["SPAN_MS", "awkward", "small_streams", "wire"]

SPAN_MS = 40 * DAY_MS
# At most so many records on the busiest card, to stay below the default number from which a card is folded.
_BUSIEST = 3_500


def _one_card(rng: random.Random, card: str, records: int, base_ms: int) -> list[Event]:
    currency, exponent = rng.choice(CURRENCIES)
    # A busy card's traffic fills a part of the span, a quiet card's records lie hours to days apart.
    pace_ms = min(DAY_MS, SPAN_MS / records)
    start_ms = base_ms + rng.randrange(SPAN_MS // 2)
    traffic = CardTraffic(rng, card, start_ms, base_ms + SPAN_MS, pace_ms, currency, exponent)
    traffic.authorize(start_ms)
    weights = [weight for weight, _ in KINDS]
    kinds = [kind for _, kind in KINDS]
    while len(traffic.events) < records:
        rng.choices(kinds, weights)[0](traffic)
    return traffic.events[:records]


def _sizes(rng: random.Random, n: int, cards: int) -> list[int]:
    """Records per card: one busy card, a tenth with a single record, the rest uneven."""
    if cards == 1:
        return [n]
    busiest = min(_BUSIEST, max(1, n // 16))
    singles = min(cards // 10, cards - 2)
    others = cards - 1 - singles
    left = n - busiest - singles - others
    if left < 0:
        raise ValueError(f"{n} records are too few for {cards} cards")
    sizes = [1] * others
    for chosen in rng.choices(range(others), [rng.uniform(0.05, 1) for _ in range(others)], k=left):
        sizes[chosen] += 1
    return [busiest, *[1] * singles, *sizes]


def awkward(seed: int, n: int, cards: int, base_ms: int) -> list[Event]:
    """Exactly ``n`` records of ``cards`` cards, every awkward kind among them; the same seed gives the same.

    Args:
        seed: Of the generator.
        n: Number of records, authorizations and reversals and copies alike.
        cards: Number of cards; the first is busy with ``n / 16`` records, at most 3,500.
        base_ms: Start of the traffic. No time is later than ``base_ms + SPAN_MS``, so with that in the past no clock
            is ahead of the broker's; late ones may be up to 64 days before it.

    Returns:
        The records in one order; each card's are in the order in which its home partition must hold them.
    """
    rng = random.Random(seed)
    streams = [_one_card(rng, f"card-{seed}-{i}", size, base_ms) for i, size in enumerate(_sizes(rng, n, cards))]
    runs: list[int] = []  # whose turn it is: neighbours of a card stay together often enough to share a batch
    for i, stream in enumerate(streams):
        left = len(stream)
        while left > 0:
            left -= 8
            runs.append(i)
    rng.shuffle(runs)
    done = [0] * len(streams)
    merged: list[Event] = []
    for i in runs:
        merged += streams[i][done[i] : done[i] + 8]
        done[i] += 8
    return merged


_BASE_MS = 1_700_000_000_000
_NEAR_MS = tuple(
    edge + away
    for edge in (0, TEN_MINUTES_MS, 2 * TEN_MINUTES_MS, GRACE_MS, WEEK_MS, WEEK_MS + TEN_MINUTES_MS, KEEP_MS)
    for away in (-1, 0, 1)
    if 0 <= edge + away <= KEEP_MS
)
_FAR_MS = (*_NEAR_MS, -KEEP_MS, KEEP_MS + 1, KEEP_MS + GRACE_MS, 2 * WEEK_MS, 2 * KEEP_MS, 2 * KEEP_MS + 1)


@st.composite
def _events(draw: st.DrawFn, offsets_ms: tuple[int, ...]) -> Event:
    which = draw(st.integers(0, 2))
    currency, exponent = CURRENCIES[which + 1]
    ids = st.sampled_from("abcde")
    reversal = draw(st.integers(0, 3)) == 0
    return Event(
        card=f"c{which}",
        transaction_id="r" + draw(ids) if reversal else draw(ids),
        kind="reversal" if reversal else "authorization",
        t_ms=_BASE_MS + draw(st.sampled_from(offsets_ms)),
        amount_minor=draw(st.sampled_from(AMOUNTS) | st.integers(1, 10**6)),
        exponent=exponent,
        currency=currency,
        original=draw(ids) if reversal else None,
        mcc=None if reversal else draw(st.sampled_from(MCCS)),
        country=None if reversal else draw(st.sampled_from(COUNTRIES)),
    )


def small_streams(max_events: int = 40, *, far: bool = True) -> st.SearchStrategy[list[Event]]:
    """Up to ``max_events`` records of three cards, with times around every edge and ids that collide.

    Args:
        max_events: Longest stream.
        far: Also times so far apart that authorizations are gone; without, all lie within one week plus a day.
    """
    return st.lists(_events(_FAR_MS if far else _NEAR_MS), max_size=max_events)
