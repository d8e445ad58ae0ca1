"""What `/metrics` of a role says, and what has happened between two looks at it."""

from __future__ import annotations

import math
import urllib.request
from collections.abc import Mapping
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

_TIMEOUT_S: Final = 10.0

Labels = frozenset[tuple[str, str]]
Scrape = dict[str, dict[Labels, float]]
"""Sample name -> labels -> value."""


def scrape(url: str) -> Scrape:
    """Ask a role; raises OSError where it does not answer."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=_TIMEOUT_S) as answer:  # noqa: S310 - our own address
        return parsed(answer.read().decode())


def parsed(text: str) -> Scrape:
    """Samples of an exposition text."""
    found: Scrape = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
    return found


def total(seen: Scrape, name: str) -> float:
    """Sum of a metric over its labels; 0 where it is not there."""
    return sum(seen.get(name, {}).values())


def quantile(q: float, before: Scrape, after: Scrape, histogram: str) -> float:
    """A quantile of what a histogram counted between two looks, linear within a bucket; NaN where it counted nothing.

    Args:
        q: between 0 and 1.
        before: the earlier look.
        after: the later one.
        histogram: its name.
    """
    name = f"{histogram}_bucket"
    counts = _by_bound(after.get(name, {}))
    for bound, count in _by_bound(before.get(name, {})).items():
        counts[bound] = counts.get(bound, 0.0) - count
    wanted, lower, reached = q * counts.get(math.inf, 0.0), 0.0, 0.0
    if not wanted:
        return math.nan
    for bound, count in sorted(counts.items()):
        if count >= wanted:
            if math.isinf(bound):
                return lower
            return lower + (bound - lower) * (wanted - reached) / (count - reached)
        lower, reached = bound, count
    return lower


def _by_bound(samples: Mapping[Labels, float]) -> dict[float, float]:
    found: dict[float, float] = {}
    for labels, value in samples.items():
        bound = float(dict(labels)["le"])
        found[bound] = found.get(bound, 0.0) + value
    return found
