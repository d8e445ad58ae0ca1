"""What the console counts, for Prometheus."""

from __future__ import annotations

from typing import Final, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from scoring.label import Answer

_REQUEST_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_LOGINS: Final = ("done", "refused", "locked")


class ConsoleMetrics:
    """Counters of a console process; labels have fixed values, all there from the start."""

    def __init__(self, registry: CollectorRegistry) -> None:
        answers = Counter("fraud_console_answers", "answers taken, by label", ["label"], registry=registry)
        self.answers = {label: answers.labels(label) for label in get_args(Answer)}
        self.refused = Counter(
            "fraud_console_refused", "answers, claims and releases that were refused", registry=registry
        )
        logins = Counter("fraud_console_logins", "logins, by what became of them", ["result"], registry=registry)
        self.logins = {result: logins.labels(result) for result in _LOGINS}
        self.outbox = Gauge("fraud_console_outbox", "entries that Kafka has not confirmed yet", registry=registry)
        self.requests = Histogram(
            "fraud_console_request_seconds", "a request, in to out", buckets=_REQUEST_S, registry=registry
        )
