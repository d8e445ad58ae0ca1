"""The matrix: each row a fault, the traffic that it meets, and how long it is looked at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from faults.alert_faults import AlertsKilled, ChannelHangs
from faults.fault import Fault
from faults.model_faults import InTheTraffic, ModelBroken, ModelSwapped, Poisoned, removed, truncated
from faults.redis_faults import Away, Flushed, Frozen, OutOfMemory, ReadOnly, RestartedEmpty, Slow
from faults.server_faults import BrokerRestarted, ReadOnlyIndex, SearchAway, SearchDiskFull, Throttled
from faults.worker_faults import AtBoundary, DiesAgain, JoinAndLeave, KillAtRandom, LogDiskFull, RollingStop, Zombie

LEAD_S: Final = 3.0
"""Load before the fault."""


class Row(msgspec.Struct, frozen=True):
    """One row of the matrix.

    Attributes:
        name: for people and for `--only`.
        fault: makes what goes wrong.
        kinds: the awkward traffic, of `faults.traffic.KINDS`.
        load_s: how long the load lasts, `LEAD_S` before the fault included.
        workers: `score` workers at the start.
        share: how much of the traffic is awkward.
        variables: settings of the workers.
    """

    name: str
    fault: Callable[[], Fault]
    kinds: tuple[str, str, str]
    load_s: float = 12.0
    workers: int = 1
    share: float = 0.2
    variables: dict[str, str] = {}


_CRASH_S: Final = 17.0
"""A group waits ten seconds for a member that is gone without a word."""


ROWS: Final[tuple[Row, ...]] = (
    Row("no fault", InTheTraffic, ("copies", "late", "reversals")),
    Row("kill -9 after the read from Kafka", lambda: AtBoundary("read"), ("copies", "late", "strays"), _CRASH_S),
    Row("kill -9 after the commit to Redis", lambda: AtBoundary("publish"), ("copies", "late", "reversals"), _CRASH_S),
    Row("kill -9 between two commits", lambda: AtBoundary("commit"), ("reversals", "strays", "hot"), _CRASH_S),
    Row(
        "kill -9 in the middle of the publish",
        lambda: AtBoundary("mid-publish"),
        ("copies", "pans", "hostile"),
        _CRASH_S,
    ),
    Row(
        "kill -9 before the offsets are committed",
        lambda: AtBoundary("done"),
        ("reversals", "clocks", "strays"),
        _CRASH_S,
    ),
    Row(
        "kill -9 before the offsets are committed, and again over what comes again",
        lambda: DiesAgain("done"),
        ("copies", "late", "reversals"),
        2 * _CRASH_S,
    ),
    Row(
        "kill -9 at random moments, 4 times", lambda: KillAtRandom("score", 4, 1), ("copies", "late", "reversals"), 24.0
    ),
    Row("SIGTERM, a new worker takes over", RollingStop, ("copies", "hot", "strays")),
    Row(
        "exception before the read from Redis",
        lambda: AtBoundary("read", "--raise-at"),
        ("late", "pans", "copies"),
        14.0,
    ),
    Row(
        "exception after the commit to Redis",
        lambda: AtBoundary("publish", "--raise-at"),
        ("copies", "reversals", "late"),
        14.0,
    ),
    Row("workers join and leave, 1-3-2", JoinAndLeave, ("copies", "late", "strays"), 18.0),
    Row("zombie: stopped past its session, then woken", Zombie, ("copies", "reversals", "hot"), 22.0, workers=2),
    Row("Redis: FLUSHALL", Flushed, ("copies", "late", "reversals")),
    Row("Redis: restarted empty", RestartedEmpty, ("clocks", "pans", "copies")),
    Row("Redis: killed for 15 s", lambda: Away(15.0), ("copies", "late", "hot"), 22.0),
    Row(
        "Redis: killed for 15 s, FRAUD_ON_STORE_LOSS=degrade",
        lambda: Away(15.0, degrades=True),
        ("copies", "late", "strays"),
        26.0,
        variables={"FRAUD_ON_STORE_LOSS": "degrade"},
    ),
    Row("Redis: frozen for 10 s", lambda: Frozen(10.0), ("copies", "reversals", "strays"), 20.0),
    Row(
        "Redis: every answer 100 ms late, FRAUD_DEADLINE_MS=100",
        lambda: Slow(0.1, 6.0),
        ("late", "hostile", "hot"),
        16.0,
        variables={"FRAUD_DEADLINE_MS": "100"},
    ),
    Row("Redis: out of memory for 6 s", OutOfMemory, ("copies", "late", "pans"), 16.0),
    Row("Redis: read-only for 6 s", ReadOnly, ("reversals", "late", "clocks"), 16.0),
    Row("Kafka broker killed and restarted", BrokerRestarted, ("copies", "strays", "reversals"), 18.0),
    Row("OpenSearch: killed for 30 s", lambda: SearchAway(30.0), ("copies", "late", "hostile"), 40.0),
    Row("OpenSearch: 429, and errors per item", Throttled, ("copies", "late", "pans"), 20.0),
    Row("OpenSearch: index read-only", ReadOnlyIndex, ("copies", "reversals", "clocks"), 16.0),
    Row("OpenSearch: disk full (flood stage)", SearchDiskFull, ("copies", "late", "reversals"), 28.0),
    Row("index worker: kill -9, 3 times", lambda: KillAtRandom("index", 3, 2), ("copies", "late", "clocks"), 20.0),
    Row("alert worker: kill -9, 3 times", lambda: AlertsKilled(3, 3), ("copies", "late", "reversals"), 18.0),
    Row("alert channel hangs for 10 s", ChannelHangs, ("copies", "pans", "hostile"), 18.0),
    Row("local disk full: logs on /dev/full", LogDiskFull, ("copies", "strays", "hostile")),
    Row("model file missing at a start", lambda: ModelBroken(removed), ("copies", "late", "hot"), 16.0),
    Row("model file truncated at a start", lambda: ModelBroken(truncated), ("pans", "late", "reversals"), 16.0),
    Row(
        "model swapped during the run",
        lambda: ModelSwapped(lambda site: site.models[0].parent / "model-2"),
        ("copies", "late", "strays"),
    ),
    Row("poison: records at which scoring fails", Poisoned, ("poison", "copies", "late"), share=0.02),
    Row("producer clocks years off", InTheTraffic, ("clocks", "copies", "reversals"), share=0.4),
    Row("hostile records", InTheTraffic, ("hostile", "pans", "strays"), share=0.5),
)
