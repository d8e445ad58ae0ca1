"""What the `index` role counts beside its outcomes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge

from scoring.label import Answer
from sinks.deadletter import Reason


class LabelMetrics:
    """Counters of labels."""

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = Counter("fraud_labels", "labels taken", ["label"], registry=registry)
        self._labels = {answer: labels.labels(answer) for answer in get_args(Answer)}
        rejected = Counter("fraud_labels_rejected", "records that are no labels", ["reason"], registry=registry)
        self._rejected = {reason: rejected.labels(reason) for reason in get_args(Reason)}
        self._waiting = Gauge(
            "fraud_labels_waiting", "labels whose transaction is not in OpenSearch", registry=registry
        )

    def took(self, labels: Mapping[str, int], rejected: Mapping[str, int]) -> None:
        """Count a batch: labels by what they say, rejected records by reason."""
        for answer, count in labels.items():
            self._labels[answer].inc(count)
        for reason, count in rejected.items():
            self._rejected[reason].inc(count)

    def waiting(self, labels: int) -> None:
        """How many labels have no transaction now."""
        self._waiting.set(labels)


class DeadLetterMetrics:
    """Counters of dead letters."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._indexed = Counter("fraud_dead_letters_indexed", "dead letters stored in OpenSearch", registry=registry)

    def took(self, letters: int) -> None:
        """Count a batch."""
        self._indexed.inc(letters)
