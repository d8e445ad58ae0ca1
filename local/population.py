"""The reference population: how much cards spend, where, and how attacks look.

Everything is drawn vectorised from a numpy generator that the caller owns, so that one seed gives one population. Only
amounts, times and cards differ between fraud and ordinary spending; the details of a purchase (merchant, country,
device, ...) are drawn the same way for both and carry no signal.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

CURRENCY: Final = "USD"
AMOUNT_SHARES: Final = (0.05, 0.075, 0.525, 0.25, 0.10)
"""Share of the transactions in each bucket of AMOUNT_BUCKETS_MINOR."""
AMOUNT_BUCKETS_MINOR: Final = ((1, 200), (100, 1_200), (1_000, 10_100), (10_000, 100_100), (100_000, 1_000_100))
"""Lowest and highest amount of each bucket, both included, in cents."""

FRAUD_SHARE: Final = 0.0025
"""Share of the transactions that belong to an attack."""
ATTACK_LENGTHS: Final = (3, 10)
"""Fewest and most transactions of an attack, the head included."""
ATTACK_GAP_MS: Final = (30_000, 120_000)
"""Shortest and longest time between two transactions of an attack."""
CARD_TRANSACTIONS_PER_DAY: Final = 3.6
"""How often a card of the reference population is used (540 times in five months)."""

CATEGORIES: Final = ("5411", "5812", "5541", "5912", "5999", "4111", "5732", "5651", "7011", "4814", "5942", "7832")
COUNTRIES: Final = ("US", "CA", "GB", "DE", "FR", "ES", "IT", "NL", "SE", "JP", "AU", "BR")
CHANNELS: Final = ("contactless", "chip", "ecommerce", "mobile", "atm")
MERCHANTS: Final = 5_000
_CHANNEL_SHARES: Final = (0.35, 0.25, 0.25, 0.10, 0.05)
_AWAY_SHARE: Final = 0.03
_DOCUMENTATION_NETWORKS: Final = ("192.0.2", "198.51.100", "203.0.113")
IP_ADDRESSES: Final = tuple(f"{network}.{host}" for network in _DOCUMENTATION_NETWORKS for host in range(1, 255))


class Details(NamedTuple):
    """What else a purchase says, as positions in the tables of this module; every array has shape (n,)."""

    merchant: Ints
    category: Ints
    country: Ints
    channel: Ints
    device: Ints
    ip_address: Ints


def ordinary_amounts(rng: np.random.Generator, size: int) -> Ints:
    """Amounts of ordinary purchases, shape (size,), in cents."""
    return _amounts_in(rng, rng.choice(len(AMOUNT_SHARES), size=size, p=AMOUNT_SHARES))


def attack_lengths(rng: np.random.Generator, size: int) -> Ints:
    """Transactions of each attack, the head included, shape (size,)."""
    fewest, most = ATTACK_LENGTHS
    return rng.integers(fewest, most, size=size, endpoint=True)


def chain_amounts(rng: np.random.Generator, chain_lengths: Ints) -> Ints:
    """Amounts of what follows each attack's head, attack after attack, in cents.

    An attack holds a fixed mix of buckets (small ones first in line when it is short) in a random order.

    Args:
        rng: source of randomness.
        chain_lengths: transactions after each head, shape (attacks,).

    Returns:
        Shape (chain_lengths.sum(),).
    """
    attack = np.repeat(np.arange(len(chain_lengths)), chain_lengths)
    rank = np.arange(len(attack)) - np.repeat(np.cumsum(chain_lengths) - chain_lengths, chain_lengths)
    buckets = _CHAIN_BUCKETS[chain_lengths[attack], rank]
    shuffled = np.lexsort((rng.random(len(attack)), attack))
    return _amounts_in(rng, buckets[shuffled])


def chain_delays_ms(rng: np.random.Generator, chain_lengths: Ints) -> Ints:
    """Time from each attack's head to each transaction after it, attack after attack, in milliseconds."""
    shortest, longest = ATTACK_GAP_MS
    gaps_ms = rng.integers(shortest, longest, size=int(chain_lengths.sum()), endpoint=True)
    elapsed_ms = np.concatenate((np.zeros(1, np.int64), np.cumsum(gaps_ms)))
    before_ms = elapsed_ms[np.cumsum(chain_lengths) - chain_lengths]
    return np.asarray(elapsed_ms[1:] - np.repeat(before_ms, chain_lengths), np.int64)


def purchase_details(rng: np.random.Generator, cards: Ints) -> Details:
    """Merchant, country, device and the rest of one purchase per element of `cards`, shape (n,) each."""
    size = len(cards)
    merchant = (MERCHANTS * rng.random(size) ** 2).astype(np.int64)  # a few merchants see most of the purchases
    home = cards % len(COUNTRIES)
    away = rng.random(size) < _AWAY_SHARE
    return Details(
        merchant=merchant,
        category=merchant % len(CATEGORIES),
        country=np.where(away, rng.integers(len(COUNTRIES), size=size), home),
        channel=rng.choice(len(CHANNELS), size=size, p=_CHANNEL_SHARES),
        device=rng.integers(2, size=size),
        ip_address=rng.integers(len(IP_ADDRESSES), size=size),
    )


def _amounts_in(rng: np.random.Generator, buckets: Ints) -> Ints:
    lowest, highest = np.asarray(AMOUNT_BUCKETS_MINOR, dtype=np.int64)[buckets].T
    return np.asarray(rng.integers(lowest, highest, endpoint=True), np.int64)


def _chain_buckets() -> Ints:
    """Bucket of each place of a chain before shuffling, by chain length: shape (longest + 1, longest)."""
    longest = ATTACK_LENGTHS[1] - 1
    table = np.zeros((longest + 1, longest), dtype=np.int64)
    for length in range(1, longest + 1):
        # The tolerance keeps a share that is whole in decimals (0.075 * 40) from being rounded up.
        counts = np.ceil(np.asarray(AMOUNT_SHARES) * length - 1e-9).astype(np.int64)
        table[length, :length] = np.repeat(np.arange(len(counts)), counts)[:length]
    return table


_CHAIN_BUCKETS: Final = _chain_buckets()
