"""What a role counts, for Prometheus.

Labels have fixed values, all there from the start at zero: no card, id or text of an error is ever a label. What is
counted per event is added up first and told once a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge

from sinks.deadletter import Reason
from streams.answers import Tally
from streams.intake import Intake
from streams.watch.histogram import LATENCY_S, SIZES, Histogram
from streams.watch.stages import INDEX_STAGES, SCORE_STAGES, Stages

_VERDICTS: Final = ("approve", "review", "block")
_REVERSALS: Final = ("applied", "unknown_original", "repeated")
OTHER: Final = "other"
DEGRADED: Final = ("store_away", "deadline", OTHER)
"""Why an outcome is `degraded`, as far as it is told apart here."""

ALERT_RESULTS: Final = ("queued", "sent", "throttled", "digested", "repeated", "given_up")
"""What becomes of an alert; one in a digest is counted as queued, digested and sent."""


class RoleMetrics:
    """Counters that every role has."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._records = Counter("fraud_records", "records handled", registry=registry)
        self._batches = Counter("fraud_batches", "batches handled", registry=registry)
        self._batch_size = Histogram("fraud_batch_size", "records in a batch", SIZES, registry)
        self._batch_s = Histogram("fraud_batch_seconds", "a batch, start to durable", LATENCY_S, registry)
        self._end_to_end = Histogram(
            "fraud_end_to_end_seconds", "a record's broker timestamp to its effects being durable", LATENCY_S, registry
        )
        self.partitions = Gauge("fraud_partitions_assigned", "partitions of this process", registry=registry)

    def batch(self, ages_s: Sequence[float], seconds: float) -> None:
        """A batch is durable.

        Args:
            ages_s: seconds since the broker took each of its records.
            seconds: since it was taken in hand.
        """
        self._batches.inc()
        self._records.inc(len(ages_s))
        self._batch_size.observe(len(ages_s))
        self._batch_s.observe(seconds)
        self._end_to_end.observe_all(ages_s)


class ScoreMetrics:
    """Counters of the `score` role.

    Args:
        registry: where they are collected.
        rebuilding: kept while partitions are rebuilt: partition -> records applied again so far.

    Attributes:
        stages: its stop watch.
        repairs: times Redis had lost its state.
    """

    def __init__(self, registry: CollectorRegistry, rebuilding: dict[int, int] | None = None) -> None:
        self.stages = Stages(registry, SCORE_STAGES)
        self._rebuilding = {} if rebuilding is None else rebuilding
        self._outcomes = _labelled("fraud_outcomes", "outcomes published", "outcome", _VERDICTS, registry)
        self._dead = _labelled(
            "fraud_dead_letters", "records that are no transactions", "reason", get_args(Reason), registry
        )
        self._reversals = _labelled("fraud_reversals", "reversals answered", "kind", _REVERSALS, registry)
        self._degraded = _labelled("fraud_degraded", "outcomes flagged as degraded", "reason", DEGRADED, registry)
        self._rerouted = Counter("fraud_rerouted", "records published again to their home", registry=registry)
        self._unusual = {
            field: Counter(f"fraud_{name}", documentation, registry=registry)
            for field, name, documentation in (
                ("duplicate", "duplicates", "copies answered again"),
                ("conflict", "conflicts", "copies that say otherwise than the first"),
                ("late_by_ms", "late", "authorizations behind their card's newest"),
                ("beyond_grace", "beyond_grace", "outcomes beyond what is kept exactly"),
                ("clock_skew_ms", "clock_skew", "events timed after their record"),
            )
        }
        self.repairs = Counter("fraud_store_repairs", "times Redis had lost its state", registry=registry)
        self._rebuilt = Counter("fraud_rebuild_records", "records applied again from the topic", registry=registry)
        self._hot_cards = Counter("fraud_hot_cards", "cards with tiles, in each batch", registry=registry)
        self._latency = Histogram("fraud_latency_seconds", "broker timestamp to scored", LATENCY_S, registry)

    def hot(self, cards: int) -> None:
        """Count the cards of a batch whose oldest records are folded."""
        if cards:
            self._hot_cards.inc(cards)

    @contextmanager
    def rebuild(self, partition: int) -> Iterator[Callable[[int], None]]:
        """A partition is rebuilt while the block runs; what it gives takes how many more records were applied."""
        self._rebuilding[partition] = 0

        def applied(records: int) -> None:
            self._rebuilding[partition] += records
            self._rebuilt.inc(records)

        try:
            yield applied
        finally:
            del self._rebuilding[partition]

    def batch(self, taken_s: Mapping[str, float], tally: Tally, intake: Intake) -> None:
        """Count a published batch, and its stages."""
        self.stages.done(taken_s)
        for field, counter in self._unusual.items():
            if count := tally.unusual.get(field):
                counter.inc(count)
        for kind, count in tally.reversals.items():
            self._reversals[kind].inc(count)
        for reason, count in tally.degraded.items():
            self._degraded.get(reason, self._degraded[OTHER]).inc(count)
        self._latency.observe_all([max(ms, 0) / 1000 for ms in tally.latency_ms])
        for verdict, count in tally.verdicts.items():
            self._outcomes[verdict].inc(count)
        if intake.rerouted:
            self._rerouted.inc(intake.rerouted)
        for reason, count in intake.dead.items():
            self._dead[reason].inc(count)


class IndexMetrics:
    """Counters of the `index` role.

    Attributes:
        stages: its stop watch.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.stages = Stages(registry, INDEX_STAGES)
        self._documents = Counter("fraud_documents", "outcomes stored in OpenSearch", registry=registry)
        self._rejected = _labelled(
            "fraud_documents_rejected", "outcomes that became dead letters", "reason", get_args(Reason), registry
        )

    def batch(self, taken_s: Mapping[str, float], stored: int, rejected: Mapping[str, int]) -> None:
        """Count a batch: how many are stored, and how many became dead letters, by reason; and its stages."""
        self.stages.done(taken_s)
        self._documents.inc(stored)
        for reason, count in rejected.items():
            self._rejected[reason].inc(count)


class AlertMetrics:
    """Counters of the `alert` role.

    Args:
        registry: where they are collected.
        channels: names, as the routes file has them.

    Attributes:
        stages: its stop watch.
    """

    def __init__(self, registry: CollectorRegistry, channels: Sequence[str]) -> None:
        self.stages = Stages(registry, INDEX_STAGES)
        self._alerts = Counter(
            "fraud_alerts", "alerts by what became of them", ["channel", "result"], registry=registry
        )
        self._failed = Counter(
            "fraud_alert_attempts_failed", "attempts that a channel did not take", ["channel"], registry=registry
        )
        self._waiting = Gauge("fraud_alerts_waiting", "alerts not delivered yet", ["channel"], registry=registry)
        self._away = Gauge("fraud_alert_channel_away", "1 while a channel fails", ["channel"], registry=registry)
        self._refused = Gauge(
            "fraud_alert_routes_refused", "1 while the newest routes file cannot be used", registry=registry
        )
        self._changes = Counter("fraud_alert_routes_changes", "other routes put in force", registry=registry)
        self.know(channels)
        self._rejected = _labelled(
            "fraud_alert_outcomes_rejected", "records that are no outcomes", "reason", get_args(Reason), registry
        )
        self._stale = Counter("fraud_alert_outcomes_stale", "outcomes too old to be told", registry=registry)

    def know(self, channels: Iterable[str]) -> None:
        """Channels of the routes in force, all at zero from the start; one that is gone keeps what was counted."""
        for name in channels:
            for result in ALERT_RESULTS:
                self._alerts.labels(name, result)
            self._failed.labels(name)
            self._waiting.labels(name)
            self._away.labels(name)

    def routes_refused(self, *, refused: bool) -> None:
        """The newest routes file cannot be used, or can."""
        self._refused.set(refused)

    def routes_changed(self) -> None:
        """Other routes are in force."""
        self._changes.inc()

    def put(self, results: Mapping[tuple[str, str], int]) -> None:
        """Alerts were taken in: how many of each channel became what."""
        for (channel, result), count in results.items():
            self.count(channel, result, count)

    def count(self, channel: str, result: str, alerts: int) -> None:
        """Count alerts of a channel."""
        self._alerts.labels(channel, result).inc(alerts)

    def waits(self, channel: str, alerts: Callable[[], float]) -> None:
        """Who is to be asked how many alerts of a channel are not delivered yet."""
        self._waiting.labels(channel).set_function(alerts)

    def attempt_failed(self, channel: str) -> None:
        """A channel did not take a message."""
        self._failed.labels(channel).inc()

    def away(self, channel: str, *, away: bool) -> None:
        """A channel fails, or is back."""
        self._away.labels(channel).set(away)

    def batch(self, taken_s: Mapping[str, float], rejected: Mapping[str, int], stale: int) -> None:
        """Count a batch: records that are no outcomes, by reason; those that are too old; and its stages."""
        self.stages.done(taken_s)
        self._stale.inc(stale)
        for reason, count in rejected.items():
            self._rejected[reason].inc(count)


class BuildInfo:
    """Versions in force in this process: a sample whose value is 1; what a role does not have is empty."""

    def __init__(self, registry: CollectorRegistry) -> None:
        names = ("role", "version", "model", "ruleset", "feature_set")
        self._gauge = Gauge("fraud_build_info", "versions in force", names, registry=registry)

    def set(self, *, role: str, version: str, model: str = "", ruleset: str = "", feature_set: str = "") -> None:
        """Tell these, and those before no more."""
        self._gauge.clear()
        self._gauge.labels(role, version, model, ruleset, feature_set).set(1)


def _labelled(
    name: str, documentation: str, label: str, values: Sequence[str], registry: CollectorRegistry
) -> dict[str, Counter]:
    """A counter with a child for each value of its label."""
    counter = Counter(name, documentation, [label], registry=registry)
    return {value: counter.labels(value) for value in values}
