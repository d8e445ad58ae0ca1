"""The aggregates as a plain double loop over each card's list, written from the contract alone.

Nothing is kept but what happened: every answer is worked out anew from the card's authorizations up to the one asked
about. Readings of the contract that are not obvious stand here once:

* An authorization is *gone* when it is older than the card's newest authorization by more than one week plus grace. The
  newest is the greatest effective time among all the card's authorizations, reversed ones included; it never falls.
* An authorization that is gone on arrival still counts in its own windows, and moves nothing else.
* A reversal of an authorization in the history is forgotten together with it. A reversal of anything else is remembered
  until it is more than one week plus grace behind the newest, whether or not its original came meanwhile.
* A copy conflicts when its amount, currency or *effective* time differs from the first's.
* A copy flagged ``beyond_grace`` too has the features of the first application, but the contract does not promise them.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

TEN_MINUTES_MS = 600_000
WEEK_MS = 604_800_000
DAY_MS = 86_400_000
HOUR_MS = 3_600_000
NO_LAST_S = 604_800.0

Features = dict[str, int | float]


@dataclass(frozen=True)
class Event:
    """One decoded record of a card, taken in the order of its home partition.

    Attributes:
        card: Card id as stored.
        transaction_id: The record's own id, unique per card.
        kind: ``authorization`` or ``reversal``.
        t_ms: Effective time, epoch milliseconds (the clock-skew rule already applied).
        amount_minor: Amount in minor units of ``currency``, 1 to 10^15.
        exponent: Decimals of the currency.
        currency: ISO 4217 code.
        original: For a reversal, the id of the authorization that it reverses.
        mcc: Merchant category, or None when missing.
        country: Country of the merchant, or None when missing.
    """

    card: str
    transaction_id: str
    kind: str
    t_ms: int
    amount_minor: int
    exponent: int = 2
    currency: str = "USD"
    original: str | None = None
    mcc: str | None = None
    country: str | None = None


@dataclass(frozen=True)
class Answer:
    """What the contract says about one record; ``features`` is None for a reversal."""

    features: Features | None
    late_by_ms: int | None = None
    beyond_grace: bool = False
    duplicate: bool = False
    conflict: bool = False
    reversal: str | None = None
    reversed: str | None = None


@dataclass
class Applied:
    """An authorization that was applied, with its place in the order and that of the reversal that takes it out.

    ``taken_out_at`` may be less than ``seq``: the reversal came first.
    """

    event: Event
    seq: int
    taken_out_at: int | None = None


@dataclass
class _Card:
    authorizations: list[Applied] = field(default_factory=list)
    # Original's id -> (place in the order, time that decides how long it is remembered).
    remembered: dict[str, tuple[int, int]] = field(default_factory=dict)


class NaiveCards:
    """All cards seen so far; records are given one by one in order.

    Args:
        grace_ms: How late an authorization may be and still be exact.
        hot: Most raw records of a card before the oldest (by time, then order) are folded; None never folds. Weekly
            features stay exact here, so compare them within 1 % when it is set.
    """

    def __init__(self, grace_ms: int = DAY_MS, hot: int | None = None) -> None:
        self.grace_ms = grace_ms
        self.keep_ms = WEEK_MS + grace_ms
        self.hot = hot
        self._cards: dict[str, _Card] = {}
        self._seq = -1

    def apply(self, event: Event) -> Answer:
        """Take the next record and answer it."""
        self._seq += 1
        card = self._cards.setdefault(event.card, _Card())
        if event.kind == "reversal":
            return self._reverse(card, event)
        position = self._find(card, event.transaction_id)
        if position is not None:
            return self._answer_again(card, position, event)
        return self._authorize(card, event)

    def authorizations(self) -> Iterable[Applied]:
        """Every authorization applied so far, card by card, in order; copies are not among them."""
        for card in self._cards.values():
            yield from card.authorizations

    def _authorize(self, card: _Card, event: Event) -> Answer:
        remembered = self._remembered(card, event.transaction_id)
        card.authorizations.append(Applied(event, self._seq, None if remembered is None else remembered[0]))
        features, late_by_ms = self._replay(card, len(card.authorizations) - 1)
        return Answer(features, late_by_ms, beyond_grace=late_by_ms is not None and late_by_ms > self.grace_ms)

    def _answer_again(self, card: _Card, position: int, copy: Event) -> Answer:
        first = card.authorizations[position].event
        features, late_by_ms = self._replay(card, position)
        behind_ms = max(a.event.t_ms for a in card.authorizations) - first.t_ms
        said = (copy.amount_minor, copy.currency, copy.t_ms)
        return Answer(
            features,
            late_by_ms,
            beyond_grace=behind_ms > self.grace_ms or self._is_folded(card, position),
            duplicate=True,
            conflict=said != (first.amount_minor, first.currency, first.t_ms),
        )

    def _reverse(self, card: _Card, event: Event) -> Answer:
        original = event.original
        assert original is not None
        position = self._find(card, original)
        if position is None:
            return Answer(None, reversal=self._remember(card, original, event.t_ms), reversed=original)
        target = card.authorizations[position]
        folded = self._is_folded(card, position)
        if target.taken_out_at is not None:
            return Answer(None, beyond_grace=folded, reversal="repeated", reversed=original)
        if folded:
            return Answer(None, beyond_grace=True, reversal="unknown_original", reversed=original)
        target.taken_out_at = self._seq
        return Answer(None, reversal="applied", reversed=original)

    def _remember(self, card: _Card, original: str, t_ms: int) -> str:
        if self._remembered(card, original) is not None:
            return "repeated"
        times = [a.event.t_ms for a in card.authorizations]
        card.remembered[original] = (self._seq, max([t_ms, *times]))
        return "unknown_original"

    def _remembered(self, card: _Card, original: str) -> tuple[int, int] | None:
        if original not in card.remembered:
            return None
        seq, t_ms = card.remembered[original]
        gone = any(a.event.t_ms - t_ms > self.keep_ms for a in card.authorizations)
        return None if gone else (seq, t_ms)

    def _find(self, card: _Card, transaction_id: str) -> int | None:
        """Position of the authorization with this id that is still in the history."""
        same = [p for p, a in enumerate(card.authorizations) if a.event.transaction_id == transaction_id]
        if not same:
            return None
        newest_ms = max(a.event.t_ms for a in card.authorizations)
        kept = [p for p in same if newest_ms - card.authorizations[p].event.t_ms <= self.keep_ms]
        assert len(kept) <= 1
        return kept[0] if kept else None

    def _is_folded(self, card: _Card, position: int) -> bool:
        if self.hot is None:
            return False
        target = card.authorizations[position]
        younger = [a for a in card.authorizations if (a.event.t_ms, a.seq) > (target.event.t_ms, target.seq)]
        return len(younger) >= self.hot

    def _replay(self, card: _Card, position: int) -> tuple[Features, int | None]:
        """Features and lateness of the authorization at ``position``, from it and those before it alone."""
        me = card.authorizations[position]
        before = card.authorizations[:position]
        newest_before_ms = max((a.event.t_ms for a in before), default=me.event.t_ms)
        newest_ms = max(newest_before_ms, me.event.t_ms)
        week = []
        for other in before:
            gone = newest_ms - other.event.t_ms > self.keep_ms
            taken_out = other.taken_out_at is not None and other.taken_out_at <= me.seq
            in_window = me.event.t_ms - WEEK_MS <= other.event.t_ms <= me.event.t_ms
            if in_window and not gone and not taken_out:
                week.append(other.event)
        late_by_ms = newest_before_ms - me.event.t_ms
        return features_of(me.event, week), late_by_ms if late_by_ms > 0 else None


def features_of(me: Event, earlier: list[Event]) -> Features:
    """Every feature of one authorization.

    Args:
        me: The authorization asked about.
        earlier: The live authorizations before it, in order, whose time lies in its one-week window.
    """
    week = [*earlier, me]
    ten = [e for e in week if e.t_ms >= me.t_ms - TEN_MINUTES_MS]
    unit = 10**me.exponent
    amount = me.amount_minor / unit
    avg_10m = sum(e.amount_minor for e in ten) / len(ten) / unit
    avg_1w = sum(e.amount_minor for e in week) / len(week) / unit
    last = None
    for e in earlier:
        if last is None or e.t_ms >= last.t_ms:  # of equal times the latest in order
            last = e
    return {
        "amount": amount,
        "num_trans_last_10m": len(ten),
        "num_trans_last_1w": len(week),
        "avg_amt_last_10m": avg_10m,
        "avg_amt_last_1w": avg_1w,
        "amt_ratio1": avg_10m / avg_1w,
        "amt_ratio2": amount / avg_1w,
        "count_ratio": len(ten) / len(week),
        "secs_since_last": NO_LAST_S if last is None else (me.t_ms - last.t_ms) / 1000,
        "prev_amt": 0.0 if last is None else last.amount_minor / unit,
        "min_amt_last_10m": min(e.amount_minor for e in ten) / unit,
        "max_amt_last_10m": max(e.amount_minor for e in ten) / unit,
        "max_amt_last_1w": max(e.amount_minor for e in week) / unit,
        "hour_of_day": me.t_ms // HOUR_MS % 24,
        "num_countries_last_10m": len({e.country for e in ten if e.country is not None}),
        "num_mccs_last_10m": len({e.mcc for e in ten if e.mcc is not None}),
    }
