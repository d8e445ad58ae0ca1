"""What is read only when Prometheus asks: lag, servers that are away, lost log lines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, get_args

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from features.outage import Outage
from streams.watch.lag import Progress
from streams.watch.log_lines import lines_lost

State = Literal["starting", "waiting", "rebuilding", "ready", "degraded", "stuck", "draining"]


class Observed(Collector):
    """Reads the state of a role when it is asked for, so that no batch pays for it.

    Args:
        registry: where it is collected.
        outages: the servers that the role needs.
        progress: where its partitions stand now.
        state: its health in one word, and whether that is ready.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        outages: Sequence[Outage],
        progress: Callable[[], Mapping[int, Progress]],
        state: Callable[[], tuple[State, bool]],
    ) -> None:
        self._outages, self._progress, self._state = outages, progress, state
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """What Prometheus asks for."""
        yield from self._kafka()
        yield from self._servers()
        now, is_ready = self._state()
        yield GaugeMetricFamily("fraud_ready", "1 while the role handles records as it should", value=float(is_ready))
        states = GaugeMetricFamily("fraud_health_state", "1 for the state of the role", labels=["state"])
        for state in get_args(State):
            states.add_metric([state], float(state == now))
        yield states
        yield CounterMetricFamily("fraud_log_lines_lost", "log lines that stderr did not take", value=lines_lost())

    def _kafka(self) -> Iterable[Metric]:
        lag = GaugeMetricFamily("fraud_consumer_lag", "records not acknowledged yet", labels=["partition"])
        committed = GaugeMetricFamily("fraud_committed_offset", "next after a restart", labels=["partition"])
        position = GaugeMetricFamily("fraud_position_offset", "next to be handed over", labels=["partition"])
        end = GaugeMetricFamily("fraud_end_offset", "next to be written by a producer", labels=["partition"])
        for partition, at in sorted(self._progress().items()):
            for family, value in ((lag, at.lag), (committed, at.committed), (position, at.position), (end, at.end)):
                family.add_metric([str(partition)], value)
        return lag, committed, position, end

    def _servers(self) -> Iterable[Metric]:
        away = GaugeMetricFamily("fraud_server_away", "1 while a server does not answer", labels=["server"])
        waited = CounterMetricFamily("fraud_server_away_seconds", "time without a server", labels=["server"])
        failed = CounterMetricFamily("fraud_server_failures", "attempts it did not answer", labels=["server"])
        for outage in self._outages:
            away.add_metric([outage.server], float(outage.since_s is not None))
            waited.add_metric([outage.server], outage.total_s)
            failed.add_metric([outage.server], outage.failures)
        return away, waited, failed
