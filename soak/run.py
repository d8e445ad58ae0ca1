"""One run: load, samples, and what must have come out at the end."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import psutil
from confluent_kafka import Consumer, TopicPartition
from opensearchpy import OpenSearchException

from local.errors import LocalStackError
from sinks.topics import PROCESSED, TRANSACTIONS
from soak.judge import Bound, Verdict, judge
from soak.lab import STATISTICS_S, TOPICS, Lab
from soak.load import Load, Plan
from soak.scrape import Scrape, quantile, scrape, total

_MIB: Final = 1024 * 1024
_CAUGHT_UP_S: Final = 180.0
_ASK_S: Final = 10.0
_POLL_S: Final = 0.5
# The lag is told every few seconds: what was sent meanwhile looks like lag.
_LAG_S: Final = 2 * STATISTICS_S

LATENCY: Final = "fraud_end_to_end_seconds"


class SoakError(LocalStackError):
    """The run did not do what it watches."""


class Sample(msgspec.Struct, frozen=True):
    """One look at everything, `at_s` seconds after the begin.

    Sizes are in MiB: `rss` is all that is resident, `own` what of it is no mapped file (an index that grows is mapped,
    and is no leak). p99 of broker timestamp to effects being durable in milliseconds; NaN: nothing was handled.
    """

    at_s: float
    sent: int
    score_rss: float
    index_rss: float
    redis_used: float
    redis_rss: float
    redis_keys: int
    opensearch_heap: float
    opensearch_own: float
    opensearch_rss: float
    kafka_rss: float
    score_lag: float
    index_lag: float
    score_p99_ms: float
    index_p99_ms: float


class Counts(msgspec.Struct, frozen=True):
    """What must be equal at the end."""

    sent: int
    in_topic: int
    outcomes: int
    documents: int

    @property
    def nothing_lost(self) -> bool:
        """Whether every transaction was answered once and indexed."""
        return self.sent == self.in_topic == self.outcomes == self.documents


def bounds(rate: float) -> dict[str, Bound]:
    """What each series may do in the second half of a run at so many transactions per second."""
    lag = Bound(absolute=_LAG_S * rate, most=2 * _LAG_S * rate)
    return {
        "score_rss": Bound(share=0.05, absolute=8),
        "index_rss": Bound(share=0.05, absolute=8),
        "redis_used": Bound(share=0.03, absolute=1),
        "redis_keys": Bound(share=0.01, absolute=1),
        "opensearch_heap": Bound(share=0.25, absolute=64, how="least"),
        "opensearch_own": Bound(share=0.1, absolute=32),
        "score_lag": lag,
        "index_lag": lag,
    }


def soak(lab: Lab, plan: Plan, every_s: float, say: Callable[[float], None]) -> tuple[list[Sample], Counts]:
    """Load the pipeline as planned and look at it every so often.

    Args:
        lab: with the roles running.
        plan: of the load.
        every_s: between two samples.
        say: takes the seconds so far.

    Raises:
        SoakError: a role ended, the load could not be sent, or was not handled in time.
    """
    load = Load(plan, lab.kafka, TRANSACTIONS, time.time_ns() // 1_000_000)
    samples: list[Sample] = []
    seen = _scrapes(lab)
    began_s = time.monotonic()
    load.start()
    try:
        while load.is_alive():
            load.join(max(began_s + (len(samples) + 1) * every_s - time.monotonic(), 0))
            if dead := lab.dead_roles():
                raise SoakError(f"a role has ended:\n{dead}")
            before, seen = seen, _scrapes(lab)
            samples.append(_sample(lab, time.monotonic() - began_s, load.sent, before, seen))
            say(samples[-1].at_s)
    finally:
        load.stop()
    if load.problem is not None:
        raise SoakError(str(load.problem))
    return samples, _counts(lab, load.sent)


def judged(samples: list[Sample], rate: float) -> dict[str, Verdict]:
    """The verdict on every series that has a bound."""
    at_s = [sample.at_s for sample in samples]
    return {
        name: judge(at_s, [float(getattr(sample, name)) for sample in samples], bound)
        for name, bound in bounds(rate).items()
    }


def _scrapes(lab: Lab) -> dict[str, Scrape]:
    return {name: scrape(role.url) for name, role in lab.roles.items()}


def _sample(lab: Lab, at_s: float, sent: int, before: dict[str, Scrape], after: dict[str, Scrape]) -> Sample:
    memory = lab.redis.info("memory")
    assert isinstance(memory, dict)
    return Sample(
        at_s=round(at_s, 1),
        sent=sent,
        score_rss=_rss(lab.roles["score"].process),
        index_rss=_rss(lab.roles["index"].process),
        redis_used=memory["used_memory"] / _MIB,
        redis_rss=memory["used_memory_rss"] / _MIB,
        redis_keys=int(str(lab.redis.dbsize())),
        opensearch_heap=_heap(lab),
        opensearch_own=_own(lab.server("opensearch")),
        opensearch_rss=_rss(lab.server("opensearch")),
        kafka_rss=_rss(lab.server("kafka")),
        score_lag=total(after["score"], "fraud_consumer_lag"),
        index_lag=total(after["index"], "fraud_consumer_lag"),
        score_p99_ms=1000 * quantile(0.99, before["score"], after["score"], LATENCY),
        index_p99_ms=1000 * quantile(0.99, before["index"], after["index"], LATENCY),
    )


def _rss(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / _MIB


def _own(process: psutil.Process) -> float:
    """Resident memory that is no mapped file; where the system does not tell, all that is resident."""
    status = Path(f"/proc/{process.pid}/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) / 1024
    return _rss(process)


def _heap(lab: Lab) -> float:
    try:
        nodes = lab.opensearch.nodes.stats(metric="jvm")["nodes"]
    except OpenSearchException:
        return math.nan
    return sum(int(node["jvm"]["mem"]["heap_used_in_bytes"]) for node in nodes.values()) / _MIB


def _counts(lab: Lab, sent: int) -> Counts:
    """Wait until everything is handled, and count."""
    deadline_s = time.monotonic() + _CAUGHT_UP_S
    while True:
        lab.opensearch.indices.refresh(index=PROCESSED)
        documents = int(lab.opensearch.count(index=PROCESSED)["count"])
        in_topic, outcomes = _written(lab, TOPICS["score"]), _written(lab, TOPICS["index"])
        found = Counts(sent, in_topic, outcomes, documents)
        if found.nothing_lost or time.monotonic() > deadline_s:
            return found
        time.sleep(_POLL_S)


def _written(lab: Lab, topic: str) -> int:
    """Records in a topic."""
    consumer = Consumer({**lab.kafka, "group.id": "soak"})
    try:
        partitions = consumer.list_topics(topic, _ASK_S).topics[topic].partitions
        return sum(consumer.get_watermark_offsets(TopicPartition(topic, p), _ASK_S)[1] for p in partitions)
    finally:
        consumer.close()
