"""Run a row: load, fault, wait until all is answered, compare."""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from faults.check_outcomes import Excused
from faults.events import Planned
from faults.fault import Fault
from faults.fleet import FleetError
from faults.load import Load
from faults.readback import read_back
from faults.rows import LEAD_S, Row
from faults.site import PARTITIONS, Site
from faults.timing import catch_up_s, longest_pause_s, pause_by_partition_s, score_times
from faults.traffic import Traffic
from faults.verify import verify
from local.stack import Stack
from scoring.model import Model
from sinks.topics import TRANSACTIONS

ONE_BATCH: Final = 4_000
"""Records that come again at most: a batch of `FRAUD_MAX_BATCH`."""
_ANSWERED_S: Final = 120.0
_REPAIRED_MS: Final = 20_000
"""So long after the end of a fault outcomes may still be degraded: what has piled up is late, and a worker looks for
Redis every few seconds."""


class Moments(msgspec.Struct, frozen=True):
    """When the load began and ended, and the fault likewise, epoch milliseconds."""

    began: int
    ended: int
    injected: int
    healed: int


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """A row's figures.

    Attributes:
        bound: so many repeats the row's crashes may cause.
        pause_s, catch_up_s: of outcomes.
        index_pause_s, index_catch_up_s: of documents.
        ends: exit codes of workers that nobody had told to end, a signal as a negative number.
        notes: what was wrong, one line each.
        finished: whether there are figures.
    """

    name: str
    kinds: tuple[str, ...]
    rate: float
    notes: list[str]
    records: int = 0
    lost: int = 0
    wrong: int = 0
    repeated: int = 0
    bound: int = 0
    differing: int = 0
    dead_letters: int = 0
    degraded: int = 0
    pause_s: float = 0.0
    catch_up_s: float = 0.0
    index_pause_s: float = 0.0
    index_catch_up_s: float = 0.0
    ends: list[int] = []
    seconds: float = 0.0
    finished: bool = True

    @property
    def good(self) -> bool:
        """Whether the goal is met."""
        return not (self.lost or self.wrong or self.differing or self.notes) and self.repeated <= self.bound


def run_row(row: Row, stack: Stack, model: Path, folder: Path, prefix: str, rate: int, seed: int = 1) -> Result:
    """Run one row on its own topics, keys and indices, which are removed afterwards.

    Args:
        row: what to do.
        stack: running servers.
        model: folder of the model; one to swap to lies beside it.
        folder: for logs; made here.
        prefix: of topics, groups, keys and indices.
        rate: records per second.
        seed: of the traffic.
    """
    began_s = time.monotonic()
    count = round(row.load_s * rate)
    now_ms = time.time_ns() // 1_000_000
    plan = Traffic(seed, count, row.kinds, share=row.share, now_ms=now_ms, partitions=PARTITIONS).records(count)
    fault = row.fault()
    with Site(stack, model, folder, prefix, **row.variables) as site:
        try:
            fault.prepare(site)
            _start(site, row.workers)
            load = Load(site.kafka, site.topic(TRANSACTIONS), plan, rate)
            moments = _play(fault, site, load)
            notes = _finish(site, fault) + fault.complaints(site)
        finally:
            fault.close(site)
        result = _judge(row, site, plan, moments, fault, notes)
        site.clean()
    return msgspec.structs.replace(result, seconds=round(time.monotonic() - began_s, 1))


def not_finished(row: Row, rate: int, problem: Exception) -> Result:
    """A row that could not be played to its end: it has no figures, and misses the goal."""
    return Result(name=row.name, kinds=row.kinds, rate=rate, notes=[f"not finished: {problem}"], finished=False)


def _start(site: Site, workers: int) -> None:
    site.setup()
    for _ in range(workers):
        site.fleet.start("score")
    site.fleet.start("index")
    site.fleet.wait_ready()
    if site.fleet.ends:
        raise FleetError(f"workers ended before the row began: {site.fleet.ends}; logs are in {site.folder}")


def _play(fault: Fault, site: Site, load: Load) -> Moments:
    """Offer the load, and break things in the midst of it."""
    load.start()
    time.sleep(LEAD_S)
    injected = _now_ms()
    fault.inject(site)
    time.sleep(fault.hold_s)
    fault.heal(site)
    healed = _now_ms()
    load.finish()
    return Moments(load.began_ms, load.ended_ms, injected, healed)


def _finish(site: Site, fault: Fault) -> list[str]:
    """Wait until all is answered, and end the workers in good order."""
    notes = []
    if not site.wait_answered(_ANSWERED_S):
        left = {role: site.lag(role) for role in ("score", "index", *site.also)}
        notes.append(f"not all answered within {_ANSWERED_S:g} s: {left}")
    notes += fault.settle(site)
    notes += [
        f"{role} ended with {code} when told to stop"
        for role, code in site.fleet.stop()
        if code not in fault.last_codes
    ]
    return notes


def _judge(row: Row, site: Site, plan: Sequence[Planned], moments: Moments, fault: Fault, notes: list[str]) -> Result:
    """Compare everything with the oracle."""
    models = {one.version: one for one in map(Model.load, site.models)}
    excused = Excused(fault.flag, range(moments.injected, moments.healed + _REPAIRED_MS))
    gc.disable()  # it would look through millions of objects, again and again, and find nothing
    try:
        left = read_back(site)
        verified = verify(plan, left, site.topic(TRANSACTIONS), site.key_prefix, models, excused)
    finally:
        gc.enable()
    bound = fault.crashes * ONE_BATCH
    findings = verified.findings
    if verified.unflagged > bound:
        notes.append(f"{verified.unflagged} copies are not flagged as duplicate")
    if fault.flag and not findings.degraded:
        notes.append(f"no outcome says that it is degraded: {fault.flag}")
    scored = score_times(verified.asked, {group[0].place: group[0].stored.ts_ms for group in verified.answers})
    rate = len(plan) / (moments.ended - moments.began) * 1000
    return Result(
        name=row.name,
        kinds=row.kinds,
        records=len(left.transactions),
        rate=rate,
        lost=findings.count("lost"),
        wrong=findings.count("wrong"),
        repeated=findings.repeated,
        bound=bound,
        differing=findings.count("differs"),
        dead_letters=findings.dead_letters,
        degraded=findings.degraded,
        pause_s=pause_by_partition_s(left.outcomes, moments.began, moments.ended),
        catch_up_s=_catch_up(scored, moments.healed, rate),
        index_pause_s=longest_pause_s((done for _, done in verified.indexed), moments.began, moments.ended),
        index_catch_up_s=_catch_up(verified.indexed, moments.healed, rate),
        ends=[code for _, code in site.fleet.ends],
        notes=findings.notes() + notes,
    )


def _catch_up(times: Sequence[tuple[int, int]], since_ms: int, rate: float) -> float:
    return catch_up_s([came for came, _ in times], [done for _, done in times], since_ms, rate)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
