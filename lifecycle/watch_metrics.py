"""Drift for Prometheus."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Gauge

from features.catalogue import FEATURE_NAMES
from lifecycle.drift import Drift
from lifecycle.traffic import FIELDS
from scoring.reference import SCORE

KINDS: Final = ("psi", "ks", "surge", "missing", "constant", "flagged", "calibration", "recall")
"""Kinds of alarms."""


class WatchMetrics:
    """What `fraudstream watch` found last.

    Args:
        registry: where it is collected.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, told: str, *labels: str) -> Gauge:
            return Gauge(name, told, labels, registry=registry)

        self._psi = gauge("fraud_drift_psi", "population stability index against training", "feature")
        self._ks = gauge("fraud_drift_ks", "Kolmogorov-Smirnov distance from training", "feature")
        self._missing = gauge("fraud_missing_field_ratio", "share of transactions without an optional field", "field")
        self._alarms = gauge("fraud_drift_alarms", "alarms of the last look", "kind")
        self._flagged = gauge("fraud_flagged_ratio", "share of transactions reviewed or blocked")
        self._calibration = gauge("fraud_calibration_ratio", "frauds per expected fraud; NaN: not known")
        self._recall = gauge("fraud_recall_ratio", "share of the frauds flagged in the last week known; NaN: not known")
        self._rows = gauge("fraud_watch_rows", "transactions looked at")
        self._at = gauge("fraud_watch_timestamp_seconds", "when was looked last")
        for name in (*FEATURE_NAMES, SCORE):
            self._psi.labels(name)
            self._ks.labels(name)
        for name in FIELDS:
            self._missing.labels(name)
        for kind in KINDS:
            self._alarms.labels(kind)

    def show(self, found: Drift, now_ms: int) -> None:
        """Show what was found."""
        for one in found.columns:
            self._psi.labels(one.name).set(one.psi)
            self._ks.labels(one.name).set(one.ks)
        for name, share in found.missing_fields.items():
            self._missing.labels(name).set(share)
        for kind in KINDS:
            self._alarms.labels(kind).set(sum(alarm.kind == kind for alarm in found.alarms))
        self._flagged.set(found.flagged)
        self._calibration.set(float("nan") if found.calibration is None else found.calibration)
        recalls = [week.recall for week in found.weeks if week.recall is not None]
        self._recall.set(recalls[-1] if recalls else float("nan"))
        self._rows.set(found.rows)
        self._at.set(now_ms / 1000)
