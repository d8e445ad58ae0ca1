"""Two `score` processes, each with half of the partitions, beside one with all of them."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import Final

import msgspec
import psutil

from bench.cards import PARTITIONS, Cards, fill, span_ms
from bench.lab import BenchError, Lab, Running
from bench.throughput import answers

_MOST_S: Final = 120.0
_MEMBER_S: Final = 5.0


class Team(msgspec.Struct, frozen=True):
    """So many processes over all records.

    Attributes:
        per_s: events per second, from the first answer to the last.
        shares: of the events, by process.
        cores: cores busy in that time: with the processes, with Kafka, with Redis.
        machine: with anything.
    """

    per_s: float
    shares: list[float]
    cores: tuple[float, float, float]
    machine: float


class Pair(msgspec.Struct, frozen=True):
    """One and two, one after the other.

    Attributes:
        cores: of the machine.
    """

    one: Team
    two: Team
    cores: int

    @property
    def ratio(self) -> float:
        """Rate of two as a multiple of one's."""
        return self.two.per_s / self.one.per_s

    @property
    def busy(self) -> float:
        """Share of the machine that was busy with two: what is left is all that more processes could have."""
        return self.two.machine / self.cores


def measure_pair(lab: Lab, cards_count: int, count: int, number: int, cores: int) -> Pair:
    """One round, another first in each."""
    order = (1, 2) if number % 2 else (2, 1)
    teams = {size: _team(lab, size, f"p{number}-{size}-", cards_count, count, cores) for size in order}
    return Pair(teams[1], teams[2], cores)


def _team(lab: Lab, size: int, prefix: str, cards_count: int, count: int, cores: int) -> Team:
    """The processes share the partitions out first, and are suspended while the records are published."""
    cards = Cards(cards_count, 1, int(time.time() * 1000) - span_ms(cards_count, count))
    lab.make_topics(prefix)
    asyncio.run(fill(lab.redis_url, prefix, cards, cards.histories()))
    records = cards.records(count, prefix)
    workers = [lab.score(prefix, number=number) for number in range(size)]
    for worker in workers:
        worker.wait_ready()
        worker.wait(partial(_has, worker, PARTITIONS // size), "an even share of the partitions")
    for worker in workers:
        worker.process.suspend()
    began_s = time.monotonic()
    lab.publish(prefix, cards, records)
    if time.monotonic() - began_s > _MEMBER_S:
        raise BenchError("publishing took longer than the group keeps members that are silent; publish fewer records")
    before, idle_s, began_s = _spent(lab, workers), _idle_s(), time.monotonic()
    for worker in workers:
        worker.process.resume()
    workers[0].wait(lambda: lab.written(workers[0].sink) >= count, "the last answer", _MOST_S)
    seconds, idle_s, after = time.monotonic() - began_s, _idle_s() - idle_s, _spent(lab, workers)
    handled = [worker.metrics()["fraud_records_total"] for worker in workers]
    for worker in workers:
        worker.stop()
    duration_s, _ = answers(lab, workers[0].sink, count)
    own, kafka, redis = ((b - a) / seconds for a, b in zip(before, after, strict=True))
    shares = [one / sum(handled) for one in handled]
    return Team((count - 1) / duration_s, shares, (own, kafka, redis), cores - idle_s / seconds)


def _has(worker: Running, partitions: int) -> bool:
    return worker.metrics()["fraud_partitions_assigned"] == partitions


def _idle_s() -> float:
    """Seconds that the cores had nothing to do, together."""
    times = psutil.cpu_times()
    return float(times.idle + getattr(times, "iowait", 0.0))


def _spent(lab: Lab, workers: list[Running]) -> tuple[float, float, float]:
    return sum(worker.cpu_s() for worker in workers), lab.server_cpu_s("kafka"), lab.server_cpu_s("redis")
