"""What a role counts, for Prometheus."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import UNSET
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from scoring.outcome import Outcome
from streams.intake import Intake

_LATENCY_S: Final = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0)
_SIZES: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)


class RoleMetrics:
    """Counters that every role has."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.records = Counter("fraud_records", "records handled", registry=registry)
        self.batches = Counter("fraud_batches", "batches handled", registry=registry)
        self.batch_size = Histogram("fraud_batch_size", "records in a batch", buckets=_SIZES, registry=registry)
        self.batch_s = Histogram(
            "fraud_batch_seconds", "a batch, start to durable", buckets=_LATENCY_S, registry=registry
        )
        self.partitions = Gauge("fraud_partitions_assigned", "partitions of this process", registry=registry)


class ScoreMetrics:
    """Counters of the `score` role."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._outcomes = Counter("fraud_outcomes", "outcomes published", ["outcome"], registry=registry)
        self._dead = Counter("fraud_dead_letters", "records that are no transactions", ["reason"], registry=registry)
        self._rerouted = Counter("fraud_rerouted", "records published again to their home", registry=registry)
        self._duplicates = Counter("fraud_duplicates", "copies answered again", registry=registry)
        self._late = Counter("fraud_late", "authorizations behind their card's newest", registry=registry)
        self.repairs = Counter("fraud_store_repairs", "times Redis had lost its state", registry=registry)
        self._latency = Histogram(
            "fraud_latency_seconds", "broker timestamp to scored", buckets=_LATENCY_S, registry=registry
        )

    def batch(self, outcomes: Sequence[Outcome], intake: Intake) -> None:
        """Count a published batch."""
        for outcome in outcomes:
            fraud = outcome.fraud
            self._outcomes.labels(fraud.outcome).inc()
            self._latency.observe(max(fraud.latency_ms, 0) / 1000)
            if fraud.duplicate is not UNSET:
                self._duplicates.inc()
            if fraud.late_by_ms is not UNSET:
                self._late.inc()
        for reason, count in intake.dead.items():
            self._dead.labels(reason).inc(count)
        self._rerouted.inc(intake.rerouted)
