"""Awkward traffic through a process, once in peace and once with a kill -9 in the middle, compared with the oracle."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import msgspec
from confluent_kafka import Producer

from bench.cards import PARTITIONS
from bench.lab import BenchError, Lab, Running
from bench.peers.verdict import Verdict, answers_of, judge, misscored
from faults.check_outcomes import read_topic_of
from faults.events import Planned
from faults.findings import Findings
from faults.oracle import Expected
from faults.readback import Place, read_topic
from faults.traffic import Traffic
from local.process import kill
from scoring.model import Model
from sinks.topics import TRANSACTIONS

KINDS: Final = ("late", "copies", "reversals")
SHARE: Final = 0.06
_SEED: Final = 5
_MOST_S: Final = 120.0
_TAKEN_S: Final = 30.0
_POLL_S: Final = 0.005
_QUIET_S: Final = 3.0
_LOST_AFTER_S: Final = 15.0

Start = Callable[[str], Running]
"""Starts a process on the topics of a prefix, or starts it again."""


class Case(msgspec.Struct, frozen=True):
    """A topic of awkward records, and what must be answered to each."""

    prefix: str
    expected: dict[Place, Expected]


class Killed(msgspec.Struct, frozen=True):
    """What a kill -9 did: answers that were there before, and all of them in the end."""

    answered: int
    verdict: Verdict


def prepare(lab: Lab, prefix: str, count: int) -> Case:
    """Publish awkward records to the topic of a prefix, and work out what is right."""
    now_ms = int(time.time() * 1000)
    plan = Traffic(_SEED, count, KINDS, share=SHARE, now_ms=now_ms, partitions=PARTITIONS).records(count)
    lab.make_topics(prefix)
    topic = f"{prefix}{TRANSACTIONS}"
    _publish(lab, topic, plan)
    findings = Findings()
    asked = read_topic_of(plan, read_topic(lab.kafka, topic), findings)
    if len(asked.transactions) != count or findings.count("wrong"):
        raise BenchError(f"the topic holds {len(asked.transactions)} good records of {count}")
    return Case(prefix, {place: said for place, (_, _, _, said) in asked.transactions.items()})


def in_peace(lab: Lab, start: Start, case: Case) -> Verdict:
    """Let a process answer everything."""
    running = start(case.prefix)
    running.wait(lambda: lab.written(running.sink) >= len(case.expected), "the last answer", _MOST_S)
    running.stop()
    return _verdict(lab, running, case)


def with_a_kill(lab: Lab, start: Start, case: Case) -> Killed:
    """Kill a process when half is answered, start it again, and wait until it has no more to say."""
    running = start(case.prefix)
    _wait_for(lab, running, len(case.expected) // 2)
    kill(running.process)
    before = lab.written(running.sink)
    if before >= len(case.expected):
        raise BenchError(f"{case.prefix} was done before it was killed: more records are needed")
    running = start(case.prefix)
    running.wait(lambda: lab.written(running.sink) > before, "an answer after the kill", _MOST_S)
    _wait_until_quiet(lab, running, _QUIET_S)
    verdict = _verdict(lab, running, case)
    if verdict.lost:
        _wait_until_quiet(lab, running, _LOST_AFTER_S)
        verdict = _verdict(lab, running, case)
    running.stop()
    return Killed(before, verdict)


def _publish(lab: Lab, topic: str, plan: list[Planned]) -> None:
    producer = Producer({**lab.kafka, "enable.idempotence": True, "log_level": 3})
    for number, planned in enumerate(plan):
        producer.produce(topic, planned.value, planned.key, planned.partition)
        if number % 1000 == 0:
            producer.poll(0)
    if producer.flush(_TAKEN_S):
        raise BenchError("Kafka did not take the records")


def _wait_for(lab: Lab, running: Running, count: int) -> None:
    """As `Running.wait`, but at a pace at which the middle of a fast run is not missed."""
    deadline_s = time.monotonic() + _MOST_S
    while lab.written(running.sink) < count:
        if time.monotonic() > deadline_s:
            raise BenchError(f"half of the answers did not come; {running.said()}")
        time.sleep(_POLL_S)


def _wait_until_quiet(lab: Lab, running: Running, quiet_s: float) -> None:
    """Wait until nothing was written for a while."""
    seen, since_s = lab.written(running.sink), time.monotonic()

    def quiet() -> bool:
        nonlocal seen, since_s
        now = lab.written(running.sink)
        if now != seen:
            seen, since_s = now, time.monotonic()
        return time.monotonic() - since_s > quiet_s

    running.wait(quiet, "an end of its answers", _MOST_S)


def _verdict(lab: Lab, running: Running, case: Case) -> Verdict:
    answers = answers_of(read_topic(lab.kafka, running.sink))
    if bad := misscored(Model.load(lab.model).predict, answers):
        raise BenchError(f"{case.prefix}: {bad} answers are not the model's")
    return judge(case.expected, answers)
