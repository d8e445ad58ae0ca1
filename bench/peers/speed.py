"""Events per second of a peer: cards in mid-life, and a topic that is full before it looks."""

from __future__ import annotations

import time
from typing import Final

import msgspec
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # it re-exports them

from bench.cards import PARTITIONS, Cards, Sent, span_ms
from bench.lab import BenchError, Lab, Running
from bench.peers.peers import Peer, Peers
from bench.throughput import Pass
from faults.readback import read_topic
from features.history import unpack
from sinks.topics import PROCESSED

_MOST_S: Final = 120.0
_ANSWER_S: Final = 15.0


class Speed(msgspec.Struct, frozen=True):
    """One process over all records.

    Attributes:
        per_s: events per second, from the first answer to the last by the broker's clock.
        cpu_us: CPU microseconds of the process per event.
        kafka_cpu_us: of the broker, in the same time.
        redis_cpu_us: of Redis.
        records: how many events.
    """

    per_s: float
    cpu_us: float
    kafka_cpu_us: float
    redis_cpu_us: float
    records: int


def speed_of(measured: Pass, records: int) -> Speed:
    """A pass of bench's own as one of these."""
    return Speed(measured.per_s, measured.cpu_us, measured.kafka_cpu_us, measured.redis_cpu_us, records)


def measure_peer(lab: Lab, peers: Peers, peer: Peer, cards_count: int, count: int, number: int) -> Speed:
    """One pass.

    The peer takes a record per card that holds its history and answers each; cards that no live record is of are left
    out, since slow peers would need minutes for them. Then it is suspended while the live records are published, so
    that it finds all of them when it goes on.
    """
    prefix = f"s{number}-{peer.name}-"
    cards = Cards(cards_count, 1, int(time.time() * 1000) - span_ms(cards_count, count))
    make_topics(lab, prefix)
    packed = cards.histories()
    live = cards.records(count, prefix)
    needed = {sent.card for sent in live}
    histories = [sent for sent in history_records(cards, packed) if sent.card in needed]
    lab.publish(prefix, cards, histories)
    running = peers.start(peer, prefix)
    running.wait(lambda: lab.written(running.sink) >= len(histories), "the last history", _MOST_S)
    running.process.suspend()
    lab.publish(prefix, cards, live)
    before = _cpu_s(lab, running)
    running.process.resume()
    running.wait(lambda: lab.written(running.sink) >= len(histories) + count, "the last answer", _MOST_S)
    own_us, kafka_us, redis_us = ((b - a) * 1e6 / count for a, b in zip(before, _cpu_s(lab, running), strict=True))
    running.stop()
    times = sorted(one.ts_ms for one in read_topic(lab.kafka, running.sink))
    if len(times) != len(histories) + count:
        raise BenchError(f"{peer.name} answered {len(times) - len(histories)} times to {count} records")
    per_s = (count - 1) * 1000 / max(times[-1] - times[len(histories)], 1)
    return Speed(per_s, own_us, kafka_us, redis_us, count)


def make_topics(lab: Lab, prefix: str) -> None:
    """The topics of a prefix; answers get the broker's time, since some frameworks hand on the record's."""
    topic = NewTopic(f"{prefix}{PROCESSED}", PARTITIONS, 1, config={"message.timestamp.type": "LogAppendTime"})
    admin = AdminClient({**lab.kafka, "log_level": 0})
    admin.create_topics([topic])[topic.topic].result(_ANSWER_S)
    lab.make_topics(prefix)


def history_records(cards: Cards, packed: list[bytes]) -> list[Sent]:
    """A record per card with the entries of its packed history, as the programs keep them."""
    histories = unpack(packed)
    columns = histories.entries
    ids = [f"{number:016x}" for number in columns.identity.tolist()]
    codes = ([str(code) for code in column.tolist()] for column in (columns.country, columns.mcc))
    entries = list(zip(columns.time_ms.tolist(), ids, columns.amount_minor.tolist(), *codes, strict=True))
    records, start = [], 0
    for card, length in enumerate(histories.counts.tolist()):
        body = {"type": "history", "card_id": cards.names[card], "history": entries[start : start + length]}
        records.append(Sent(card, msgspec.json.encode(body)))
        start += length
    return records


def _cpu_s(lab: Lab, running: Running) -> tuple[float, ...]:
    return running.cpu_s(), lab.server_cpu_s("kafka"), lab.server_cpu_s("redis")
