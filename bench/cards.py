"""Cards in mid-life: packed histories as the `score` role leaves them, and the records that come next."""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np

from features.history import Entries, Int64, UInt64, country_code, header, mcc_code, pack_words
from features.partition import home_partition
from features.redis_link import connect
from features.store import OnlineStore
from features.times import format_rfc3339
from features.windows import WEEK_MS

PARTITIONS: Final = 4
TTL_MS: Final = WEEK_MS + 86_400_000
# What a history keeps spans a week and the day of grace: of 28 entries some 25 lie within the week.
ENTRIES: Final = 28
# Written before the first record of the topic, none of which the histories have met.
_WRITTEN: Final = -1
EMPTY: Final = header(0, _WRITTEN)

_COUNTRIES: Final = ("DE", "FR", "GB", "JP", "US")
_MCCS: Final = ("4111", "5411", "5541", "5812", "5999")
_AT_ONCE: Final = 2000


def span_ms(cards: int, count: int, entries: int = ENTRIES) -> int:
    """How long so many cards, with so many entries each, take for so many transactions."""
    return TTL_MS * count // (entries * cards)


class Sent(msgspec.Struct, frozen=True, gc=False):
    """A record to publish: number of its card, and its bytes."""

    card: int
    value: bytes


class Cards:
    """A number of cards, each with a level of spending and a country of its own.

    Args:
        count: how many.
        seed: same seed, same cards and records.
        now_ms: end of the histories, epoch milliseconds; the records follow it.
        entries: of each history.
        hot_per_week: transactions a week of the last card, which is then one more than `count`; 0: there is none.

    Attributes:
        names: card ids.
        homes: partition of each card.
        live: entries of all histories that lie within the last week.
    """

    def __init__(self, count: int, seed: int, now_ms: int, *, entries: int = ENTRIES, hot_per_week: int = 0) -> None:
        self._random = np.random.default_rng(seed)
        self._now_ms = now_ms
        self._entries, self._quiet = entries, count
        self._per_ms, self._hot_per_ms = 1 / span_ms(count, 1, entries), hot_per_week / WEEK_MS
        count += hot_per_week > 0
        self.names = [f"card-{i:07d}" for i in range(count)]
        self.homes = [home_partition(name.encode(), PARTITIONS) for name in self.names]
        self._level = self._random.normal(3.3, 0.6, count)
        self._country = self._random.integers(0, len(_COUNTRIES), count)
        self.live = 0

    def histories(self) -> list[bytes]:
        """A packed history per card, of so many authorizations in order of time."""
        count, entries = len(self.names), self._entries
        times = np.sort(self._now_ms - self._random.integers(0, TTL_MS, (count, entries)), axis=1).ravel()
        self.live = int((times >= self._now_ms - WEEK_MS).sum())
        words = self._words(times, np.repeat(np.arange(count), entries)).reshape(count, -1)
        head = header(entries, _WRITTEN)
        return [head + row.tobytes() for row in words]

    def history_of(self, card: int, entries: int) -> bytes:
        """The packed history of one card with so many authorizations."""
        times = np.sort(self._now_ms - self._random.integers(0, TTL_MS, entries))
        return header(entries, _WRITTEN) + self._words(times, np.full(entries, card)).tobytes()

    def _words(self, times: Int64, card: Int64) -> UInt64:
        n, no = len(times), np.zeros(len(times), np.bool_)
        return pack_words(
            Entries(
                times, self._amounts(card), no, no, self._random.integers(0, 2**63, n).astype(np.uint64),
                np.array([country_code(c) for c in _COUNTRIES])[self._country[card]],
                np.array([mcc_code(m) for m in _MCCS])[self._random.integers(0, len(_MCCS), n)],
            )
        )  # fmt: skip

    def records(self, count: int, prefix: str) -> list[Sent]:
        """The authorizations that come next, of cards drawn evenly, with ids `<prefix><number>`.

        Their event times go on at the rate at which the histories came about: a backlog of `span_ms`. Were they as
        dense as a benchmark sends them, every card would look attacked, and a model would flag half of them.
        """
        per_ms = self._per_ms + self._hot_per_ms
        card = self._random.integers(0, self._quiet, count)
        if self._hot_per_ms:
            card[self._random.random(count) < self._hot_per_ms / per_ms] = self._quiet
        amount, mcc = self._amounts(card).tolist(), self._random.integers(0, len(_MCCS), count).tolist()
        return [
            Sent(c, self._encoded(f"{prefix}{i}", c, amount[i], _MCCS[mcc[i]], self._now_ms + int((i + 1) / per_ms)))
            for i, c in enumerate(card.tolist())
        ]

    def _amounts(self, card: Int64) -> Int64:
        major = np.exp(self._random.normal(self._level[card], 0.5))
        return np.maximum((major * 100).astype(np.int64), 1)

    def _encoded(self, transaction_id: str, card: int, amount_minor: int, mcc: str, event_ms: int) -> bytes:
        return msgspec.json.encode(
            {
                "transaction_id": transaction_id,
                "card_id": self.names[card],
                "amount": f"{amount_minor // 100}.{amount_minor % 100:02d}",
                "currency": "EUR",
                "event_time": format_rfc3339(event_ms),
                "merchant_id": f"m-{card % 997}",
                "merchant_category": mcc,
                "country": _COUNTRIES[self._country[card]],
                "channel": "ecom",
                "device_id": f"dev-{card}",
                "ip_address": "192.0.2.1",
                "email": f"c{card}@example.com",
            }
        )


async def fill(redis_url: str, key_prefix: str, cards: Cards, histories: list[bytes]) -> None:
    """Store the histories by the store's own commit, as if nothing of the topic had been applied yet."""
    client = connect(redis_url)
    store = OnlineStore(client, key_prefix=key_prefix, ttl_ms=TTL_MS, startup_wait_s=10)
    for partition in range(PARTITIONS):
        before = await store.claim(partition)
        own = [i for i, home in enumerate(cards.homes) if home == partition]
        for start in range(0, len(own), _AT_ONCE):
            some = {cards.names[i]: histories[i] for i in own[start : start + _AT_ONCE]}
            await store.commit(partition, some, applied_before=before, applied=-1)
            before = -1
    await client.aclose()
