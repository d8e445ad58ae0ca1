"""Live labelled traffic in the contract's JSON fields: endless for `simulate`, a fixed play for the demo.

Nothing here reads a clock or sends anything: times come in as arguments, transactions go out as dicts. Labels stay
beside the transactions, never inside.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

import numpy as np

from local import population

_BLOCK: Final = 1_024
_DAY_MS: Final = 86_400_000
_MEAN_CHAIN: Final = sum(population.ATTACK_LENGTHS) / 2 - 1
_CALM_MS: Final = 900_000
"""Around a scenario's attack its card makes no purchase of its own: what is flagged then is the attack."""


@dataclass(frozen=True, slots=True)
class Label:
    """What a transaction really is; positions count from 1, the attack's head."""

    is_fraud: bool
    attack_id: int | None = None
    attack_position: int | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """A transaction, when to publish it (epoch milliseconds, its event time too) and what it really is."""

    due_ms: int
    transaction: dict[str, str]
    label: Label


@dataclass(frozen=True, slots=True)
class ScenarioEvent:
    """One transaction of the demo.

    Attributes:
        event: due at its event time, which lies in the past when the demo plays it.
        part: what it stands for.
        expected: what the outcome must be; "flagged" is review or block, None is either.
    """

    event: Event
    part: Literal["background", "one-off", "attack"]
    expected: Literal["approve", "flagged"] | None


@dataclass(frozen=True, slots=True, order=True)
class _Planned:
    """A purchase before it becomes a transaction, in order of time."""

    due_ms: int
    card: int
    amount_minor: int
    attack: int = -1
    position: int = 0

    @property
    def label(self) -> Label:
        return Label(is_fraud=True, attack_id=self.attack, attack_position=self.position) if self.position else ORDINARY


ORDINARY: Final = Label(is_fraud=False)


def natural_cards(rate: float) -> int:
    """Cards among which `rate` transactions per second are as dense per card as in the reference history.

    With far fewer of them every card looks attacked.

    >>> natural_cards(1.0)
    24000
    """
    return math.ceil(rate * _DAY_MS / 1000 / population.CARD_TRANSACTIONS_PER_DAY)


class Traffic:
    """Endless traffic in order of time; the same arguments give the same transactions.

    >>> first = next(iter(Traffic(cards=1000, seed=7, start_ms=1_767_225_600_000, rate=50.0)))
    >>> first.transaction["currency"], first.label.is_fraud
    ('USD', False)
    """

    def __init__(
        self, cards: int, seed: int, start_ms: int, rate: float, attack_share: float = population.FRAUD_SHARE
    ) -> None:
        """Set the traffic up.

        Args:
            cards: cards that it is spread over; see `natural_cards`.
            seed: of the draws.
            start_ms: when it begins, epoch milliseconds; part of the transaction ids, so two runs never share one.
            rate: transactions per second, attacks included.
            attack_share: share of the transactions that belong to an attack, 0 to below 1.

        Raises:
            ValueError: an argument is out of range.
        """
        if cards < 1 or seed < 0 or not rate > 0 or not 0 <= attack_share < 1:
            raise ValueError(
                "cards must be at least 1, seed 0 or more, rate above 0 and attack_share from 0 to below 1"
            )
        self._cards = cards
        self._rng = np.random.default_rng(seed)
        self._start_ms = start_ms
        self._prefix = f"sim-{start_ms:x}-{seed:x}"
        # An attack brings its head, which replaces an ordinary purchase, and its chain, which comes on top.
        self._head_share = attack_share / (1 + _MEAN_CHAIN * (1 - attack_share))
        self._gap_ms = 1000 / rate * (1 + _MEAN_CHAIN * self._head_share)

    def __iter__(self) -> Iterator[Event]:
        """The transactions from the start on."""
        number = 0
        for block in self._blocks():
            yield from _events(self._rng, block, self._prefix, number)
            number += len(block)

    def _blocks(self) -> Iterator[list[_Planned]]:
        """Purchases in order of time, some thousand at once."""
        pending: list[_Planned] = []
        now_ms, attacks = float(self._start_ms), 0
        while True:
            times_ms = now_ms + np.cumsum(self._rng.exponential(self._gap_ms, _BLOCK))
            now_ms = float(times_ms[-1])
            card = self._rng.integers(self._cards, size=_BLOCK).tolist()
            amount = population.ordinary_amounts(self._rng, _BLOCK).tolist()
            is_head = self._rng.random(_BLOCK) < self._head_share
            for due_ms, one_card, one_amount, head in zip(
                times_ms.astype(np.int64).tolist(), card, amount, is_head.tolist(), strict=True
            ):
                purchase = _Planned(due_ms, one_card, one_amount)
                if head:
                    length = int(population.attack_lengths(self._rng, 1)[0])
                    pending.extend(_attack(self._rng, purchase, length, attacks))
                    attacks += 1
                else:
                    pending.append(purchase)
            heapq.heapify(pending)
            ready = []
            while pending and pending[0].due_ms <= int(now_ms):
                ready.append(heapq.heappop(pending))
            yield ready


def scenario(
    start_ms: int, seed: int, *, background: int = 4_000, attacks: int = 5, span_ms: int = _DAY_MS
) -> list[ScenarioEvent]:
    """The demo's play in order of event time.

    Three purchases on cards seen neither before nor after, and attacks whose second transaction is a small test of the
    card, inside background traffic as dense per card as in the reference history.

    Args:
        start_ms: first event time; `start_ms + span_ms` must not lie after the moment of publishing.
        seed: of the draws.
        background: ordinary transactions.
        attacks: how many.
        span_ms: time from the first to the last event, at least two hours.

    Raises:
        ValueError: the span is too short.
    """
    if span_ms < 8 * _CALM_MS:
        raise ValueError(f"a scenario needs at least {8 * _CALM_MS} ms, not {span_ms}")
    rng = np.random.default_rng(seed)
    used = math.ceil(background * _DAY_MS / span_ms / population.CARD_TRANSACTIONS_PER_DAY)
    cards = max(used, attacks)
    assaults = _assaults(rng, rng.choice(cards, size=attacks, replace=False).tolist(), start_ms, span_ms)
    calm = {one[0].card: (one[0].due_ms - _CALM_MS, one[-1].due_ms + _CALM_MS) for one in assaults}
    plan = [purchase for one in assaults for purchase in one]
    # One-off cards are numbered after those of the background, so nothing else is ever bought with them.
    for number, amount_minor in enumerate((10_000, 2_499, 6_450)):
        plan.append(_Planned(start_ms + span_ms * (number + 1) // 4, cards + number, amount_minor))
    times_ms = (start_ms + rng.integers(span_ms, size=background)).tolist()
    owners, amounts = rng.integers(cards, size=background), population.ordinary_amounts(rng, background)
    for due_ms, card, amount_minor in zip(times_ms, owners.tolist(), amounts.tolist(), strict=True):
        begins_ms, ends_ms = calm.get(card, (0, 0))
        moved_ms = begins_ms - 1 if begins_ms <= due_ms <= ends_ms else due_ms
        plan.append(_Planned(max(moved_ms, start_ms), card, amount_minor))
    plan.sort()
    events = _events(rng, plan, f"demo-{start_ms:x}-{seed:x}", 0, card_prefix=f"card-{start_ms:x}")
    return [_cast(event, purchase, cards) for event, purchase in zip(events, plan, strict=True)]


def _assaults(rng: np.random.Generator, cards: list[int], start_ms: int, span_ms: int) -> list[list[_Planned]]:
    """Attacks in the second half of a span, when their cards have a history, ended before it ends."""
    latest_ms = span_ms - 2 * _CALM_MS
    heads_ms = (start_ms + rng.integers(span_ms // 2, latest_ms, size=len(cards))).tolist()
    amounts = population.ordinary_amounts(rng, len(cards)).tolist()
    lengths = population.attack_lengths(rng, len(cards)).tolist()
    assaults = []
    for number, head in enumerate(zip(heads_ms, cards, amounts, strict=True)):
        first, *chain = _attack(rng, _Planned(*head), lengths[number], number)
        rising = sorted(purchase.amount_minor for purchase in chain)
        tests = [
            _Planned(purchase.due_ms, purchase.card, amount_minor, purchase.attack, purchase.position)
            for purchase, amount_minor in zip(chain, rising, strict=True)
        ]
        assaults.append([first, *tests])
    return assaults


def _attack(rng: np.random.Generator, head: _Planned, length: int, number: int) -> list[_Planned]:
    """An ordinary purchase turned into the head of an attack, and what follows it."""
    chain = np.array([length - 1])
    delays_ms = [0, *population.chain_delays_ms(rng, chain).tolist()]
    amounts = [head.amount_minor, *population.chain_amounts(rng, chain).tolist()]
    return [
        _Planned(head.due_ms + delay_ms, head.card, amount_minor, number, position)
        for position, (delay_ms, amount_minor) in enumerate(zip(delays_ms, amounts, strict=True), start=1)
    ]


def _cast(event: Event, purchase: _Planned, cards: int) -> ScenarioEvent:
    """What a transaction stands for, and what must come of it."""
    if purchase.card >= cards:
        return ScenarioEvent(event, "one-off", "approve")
    if purchase.position:
        return ScenarioEvent(event, "attack", "flagged" if purchase.position > 1 else None)
    return ScenarioEvent(event, "background", None)


def _events(
    rng: np.random.Generator, plan: list[_Planned], id_prefix: str, first: int, card_prefix: str = "card"
) -> Iterator[Event]:
    """Transactions of purchases, with everything that the contract lets them say."""
    details = population.purchase_details(rng, np.array([purchase.card for purchase in plan], dtype=np.int64))
    columns = (column.tolist() for column in details)
    for number, (purchase, row) in enumerate(zip(plan, zip(*columns, strict=True), strict=True), start=first):
        merchant, category, country, channel, device, ip_address = row
        card, cents = purchase.card, purchase.amount_minor
        transaction = {
            "transaction_id": f"{id_prefix}-{number}",
            "card_id": f"{card_prefix}-{card:07d}",
            "amount": f"{cents // 100}.{cents % 100:02d}",
            "currency": population.CURRENCY,
            "event_time": _timestamp(purchase.due_ms),
            "merchant_id": f"merchant-{merchant:04d}",
            "merchant_category": population.CATEGORIES[category],
            "country": population.COUNTRIES[country],
            "channel": population.CHANNELS[channel],
            "device_id": f"device-{card}-{device}",
            "ip_address": population.IP_ADDRESSES[ip_address],
            "email": f"cardholder{card}@example.com",
        }
        yield Event(purchase.due_ms, transaction, purchase.label)


def _timestamp(time_ms: int) -> str:
    """Epoch milliseconds as RFC 3339 in UTC."""
    moment = datetime.fromtimestamp(time_ms // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{time_ms % 1000:03d}Z"
