"""What Redis needs for cards in mid-life."""

from __future__ import annotations

import asyncio
import time

import msgspec
from redis import Redis

from bench.cards import EMPTY, Cards, fill
from bench.lab import Lab


class Memory(msgspec.Struct, frozen=True):
    """Bytes of Redis, by its own account (`used_memory`), without the buffers of connections.

    Attributes:
        cards: how many were stored.
        live: transactions of the last week among all that their histories hold.
        per_card: bytes of a card with an empty history: key, expiry and header.
        per_live: bytes that the histories add, per live transaction.
    """

    cards: int
    live: int
    per_card: float
    per_live: float


def measure_memory(lab: Lab, cards_count: int) -> Memory:
    """Store cards with empty histories, then the same cards with full ones, and look at the differences."""
    cards = Cards(cards_count, 1, int(time.time() * 1000))
    full = cards.histories()
    client = Redis.from_url(lab.redis_url)
    used = [_used(client)]
    for histories in ([EMPTY] * cards_count, full):
        asyncio.run(fill(lab.redis_url, "", cards, histories))
        used.append(_used(client))
    client.flushdb()
    client.close()
    return Memory(cards_count, cards.live, (used[1] - used[0]) / cards_count, (used[2] - used[1]) / cards.live)


def _used(client: Redis) -> int:
    answer = client.info("memory")
    assert isinstance(answer, dict)
    # A connection's buffers last a while beyond what was written over it.
    return int(answer["used_memory"]) - int(answer["mem_clients_normal"])
