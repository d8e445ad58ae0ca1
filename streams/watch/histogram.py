"""A histogram for the hot path: without a lock, since one thread observes, and without a call per bucket."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import HistogramMetricFamily
from prometheus_client.registry import Collector

LATENCY_S: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0,
)  # fmt: skip
# From here on columns are cheaper than one value after the other.
_MANY: Final = 64
SIZES: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


class Histogram(Collector):
    """Counts values in buckets, by one label with fixed values, or by none.

    One thread observes; any thread may collect: it sees counts that only grow.

    Args:
        name: of the metric, with its unit.
        documentation: what it is, in a few words.
        bounds: upper bounds of the buckets, ascending; the last bucket has none.
        registry: where it is collected.
        label: name of the label; empty: none.
        values: all values of the label; each is there from the start, at zero.
    """

    def __init__(
        self,
        name: str,
        documentation: str,
        bounds: Sequence[float],
        registry: CollectorRegistry,
        *,
        label: str = "",
        values: Sequence[str] = ("",),
    ) -> None:
        self._name, self._documentation = name, documentation
        self._bounds = tuple(bounds)
        self._edges = np.array(bounds, np.float64)
        self._label = label
        self._counts = {value: [0] * (len(bounds) + 1) for value in values}
        self._sums = dict.fromkeys(values, 0.0)
        registry.register(self)

    def observe(self, value: float, label: str = "") -> None:
        """Count a value."""
        self._counts[label][bisect_left(self._bounds, value)] += 1
        self._sums[label] += value

    def observe_all(self, values: Sequence[float]) -> None:
        """Count many values, of a histogram without a label."""
        counts = self._counts[""]
        if len(values) < _MANY:
            for value in values:
                counts[bisect_left(self._bounds, value)] += 1
        else:
            found = np.bincount(self._edges.searchsorted(np.array(values)), minlength=len(counts)).tolist()
            counts[:] = [before + more for before, more in zip(counts, found, strict=True)]
        self._sums[""] += sum(values)

    def observe_each(self, values: Mapping[str, float]) -> None:
        """Count one value for each of some values of the label."""
        counts, sums, bounds = self._counts, self._sums, self._bounds
        for label, value in values.items():
            counts[label][bisect_left(bounds, value)] += 1
            sums[label] += value

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """What Prometheus asks for."""
        labels = [self._label] if self._label else []
        family = HistogramMetricFamily(self._name, self._documentation, labels=labels)
        names = [*(repr(float(bound)) for bound in self._bounds), "+Inf"]
        for value, counts in self._counts.items():
            reached, buckets = 0, []
            for name, count in zip(names, list(counts), strict=True):
                reached += count
                buckets.append((name, float(reached)))
            family.add_metric([value] if self._label else [], buckets, self._sums[value])
        yield family
