"""Records in wrong partitions are answered at their home, in its order; what claims to be rerouted is not believed."""

from __future__ import annotations

import asyncio
import binascii
import json
import random
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.producer import message_accumulator, producer
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from confluent_kafka import Producer

from features.partition import home_partition
from local.stack import Stack
from streams.headers import headers_of
from tests.oracles.naive import Event, NaiveCards
from tests.oracles.traffic import SPAN_MS, awkward, wire
from tests.streams.pipeline import Got, Pipeline
from tests.streams.records import (
    Header,
    Place,
    Raw,
    Sent,
    by_source,
    cards_of,
    now_ms,
    read_all,
    send,
    value_of,
    wait_acknowledged,
)
from tests.streams.test_score_exact import assert_answered
from tests.support import wait_until
from tests.topics import read_messages

VISA, SPACED = "4111111111111111", "4111 1111 1111 1111"
PARTITIONS = 4
FAR_FUTURE_MS = 9_000_000_000_000
HEADER = "rerouted_from"

FORGED: dict[str, tuple[Header, ...]] = {
    "garbage": ((HEADER, b"garbage"),),
    "empty": ((HEADER, b""),),
    "null": ((HEADER, None),),
    "bytes": ((HEADER, b"\xff:\xfe:\xfd"),),
    "negative": ((HEADER, b"0:0:-5"),),
    "negative place": ((HEADER, b"-1:-1:1000"),),
    "words": ((HEADER, b"a:b:c"),),
    "two parts": ((HEADER, b"1:2"),),
    "four parts": ((HEADER, b"1:2:3:4"),),
    "no time": ((HEADER, b"1:2:"),),
    "float": ((HEADER, b"1:2:1e3"),),
    "blank": ((HEADER, b" 1:2: 3"),),
    "signs": ((HEADER, b"+1:+2:+3"),),
    "underscore": ((HEADER, b"1:2:1_0"),),
    "other digits": ((HEADER, "\u0661:\u0661:\u0661".encode()),),
    "long": ((HEADER, b"1" * 100_000),),
    "huge": ((HEADER, b"1:2:" + b"9" * 50),),
    "future": ((HEADER, b"1:2:%d" % FAR_FUTURE_MS),),
    "twice": ((HEADER, b"x"), (HEADER, b"1:2:%d" % FAR_FUTURE_MS)),
    "other case": (("Rerouted_From", b"1:2:3"),),
    "many others": tuple((f"h{i}", b"x" * 100) for i in range(500)),
    "the outcome's": (("score", b"1000"), ("outcome", b"block")),
}


class World:
    """What was published before the role started, and what is in the topics once everything is acknowledged."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.events: list[Event] = []
        self.names: list[str] = []
        self.records: list[Sent] = []

    def add(self, name: str, record: Sent) -> None:
        self.names.append(name)
        self.records.append(record)

    def publish(self) -> None:
        self.places = send(self.pipeline, self.records)

    def gather(self) -> None:
        self.topic = {raw.place: raw for raw in read_all(self.pipeline, "transactions")}
        self.outcomes = read_all(self.pipeline, "processed_transactions")
        self.answers = by_source(self.outcomes)
        self.original_of = {
            place: where for place, raw in self.topic.items() if (where := self._original(place, raw)) is not None
        }
        self.home_of = {where: place for place, where in self.original_of.items()}

    def _original(self, place: Place, raw: Raw) -> Place | None:
        """Where a record was published first, if it is one that counts: at its home."""
        if place in set(self.places):
            sent = self.records[self.places.index(place)]
            card = sent_card(sent)
            return place if home_partition(card.encode(), PARTITIONS) == place[0] else None
        partition, offset, _ = (raw.header(HEADER) or b"").split(b":")
        return int(partition), int(offset)

    def answer(self, name: str) -> dict[str, Any]:
        return self.answers[self.home_of[self.place(name)]].json()

    def place(self, name: str) -> Place:
        return self.places[self.names.index(name)]


def sent_card(sent: Sent) -> str:
    card: str = json.loads(sent.value or b"")["card_id"]
    return card.replace(" ", "") if card == SPACED else card


def scored_ms(body: dict[str, Any]) -> int:
    return round(datetime.fromisoformat(body["fraud"]["scored_at"]).timestamp() * 1000)


def add_strays(world: World, events: list[Event]) -> None:
    """Awkward traffic as four careless producers publish it."""
    rng = random.Random(3)
    for number, event in enumerate(events):
        key = event.card.encode()
        partition, sent_key = (
            (0, key),
            (binascii.crc32(key) % PARTITIONS, key),
            (rng.randrange(PARTITIONS), None),
            (home_partition(key, PARTITIONS), key),
        )[rng.randrange(4)]
        world.events.append(event)
        world.add(f"event {number}", Sent(wire(event, rng), partition, sent_key))


@pytest.fixture(scope="module")
def world(servers: Stack, model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    pipeline = Pipeline(servers.env(), "rerouting-", model_dir, tmp_path_factory.mktemp("rerouting"))
    pipeline.setup()
    made = World(pipeline)
    add_strays(made, awkward(31, 2_500, 150, now_ms() - SPAN_MS - 60_000))
    wrong = (home_partition(VISA.encode(), PARTITIONS) + 1) % PARTITIONS
    for turn, text in enumerate((SPACED, VISA, SPACED)):
        made.add(f"pan {turn}", Sent(value_of(card_id=text, transaction_id=f"pan-{turn}"), wrong, text.encode()))
    cards = cards_of(2, PARTITIONS, "forged")
    for name, headers in FORGED.items():
        for where, partition in (("at home", 2), ("astray", 1)):
            card = next(cards)
            made.add(f"{name} {where}", Sent(value_of(card_id=card), partition, card.encode(), headers))
    # Ahead of the clock by more than is allowed now, by less once the role has started.
    ahead_ms = now_ms() + 303_000
    for turn, partition in enumerate((2, 3)):
        card = next(cards)
        made.add(f"ahead {turn}", Sent(value_of(card_id=card, event_time=ahead_ms), partition, card.encode()))
    published_ms = now_ms()
    made.publish()
    wait_until(lambda: now_ms() > published_ms + 4_000)
    try:
        pipeline.start("score").wait_ready()
        wait_acknowledged(pipeline)
        made.gather()
        yield made
    finally:
        pipeline.stop_all()


def test_every_record_is_answered_once_at_its_home(world: World) -> None:
    assert sorted(world.original_of.values()) == sorted(world.places)
    assert world.answers.keys() == world.original_of.keys()
    assert read_all(world.pipeline, "transactions.dlq") == []
    for place, got in world.answers.items():
        assert got.place[0] == place[0]


def test_a_rerouted_record_is_the_same_and_says_where_it_was(world: World) -> None:
    rerouted = [raw for place, raw in world.topic.items() if place not in set(world.places)]
    assert len(rerouted) > 500
    for raw in rerouted:
        original = world.topic[world.original_of[raw.place]]
        assert (raw.key, raw.value) == (original.key, original.value)
        wanted = f"{original.place[0]}:{original.place[1]}:{original.timestamp_ms}"
        assert raw.headers == [(HEADER, wanted.encode())]
    metrics = world.pipeline.roles[0].get("/metrics")[1]
    assert f"fraud_rerouted_total {len(rerouted)}.0" in metrics


def test_features_are_those_of_the_home_partitions_order(world: World) -> None:
    event_at = dict(zip(world.places, world.events, strict=False))
    cards = NaiveCards()
    compared = 0
    for place, original in sorted(world.original_of.items()):
        event = event_at.get(original)
        if event is None:
            continue
        raw = world.answers[place]
        got = Got(raw.place[0], raw.place[1], raw.key, raw.json(), {k: v or b"" for k, v in raw.headers})
        assert_answered(got, event, cards.apply(event))
        compared += 1
    assert compared == len(world.events)


def test_latency_counts_from_the_first_arrival(world: World) -> None:
    for place, got in world.answers.items():
        body = got.json()
        since_ms = scored_ms(body) - body["fraud"]["latency_ms"]
        assert since_ms == world.topic[world.original_of[place]].timestamp_ms, world.topic[place]
        source = body["fraud"]["source"]
        assert (source["topic"], source["partition"], source["offset"]) == ("rerouting-transactions", *place)


def test_clock_skew_is_judged_at_the_first_arrival(world: World) -> None:
    for name in ("ahead 0", "ahead 1"):
        first = world.topic[world.place(name)]
        fraud = world.answer(name)["fraud"]
        assert fraud["clock_skew_ms"] == first.json()["event_time"] - first.timestamp_ms, name
        assert fraud["features"]["hour_of_day"] == first.timestamp_ms // 3_600_000 % 24


def test_a_card_number_has_the_home_of_its_digits(world: World) -> None:
    bodies = [world.answer(f"pan {turn}") for turn in range(3)]
    assert len({body["card_id"] for body in bodies}) == 1
    assert [body["fraud"]["features"]["num_trans_last_1w"] for body in bodies] == [1, 2, 3]
    assert {body["fraud"]["source"]["partition"] for body in bodies} == {home_partition(VISA.encode(), PARTITIONS)}


@pytest.mark.parametrize("where", ["at home", "astray"])
def test_forged_headers_do_no_harm(world: World, where: str) -> None:
    for name in FORGED:
        body = world.answer(f"{name} {where}")
        fraud = body["fraud"]
        assert 0 <= fraud["latency_ms"] < 120_000, name
        assert "clock_skew_ms" not in fraud, name
        assert fraud["features"]["num_trans_last_1w"] == 1, name
        assert set(world.answers[world.home_of[world.place(f"{name} {where}")]].headers) == {
            ("outcome", fraud["outcome"].encode()),
            ("score", str(fraud["score"]).encode()),
            ("transaction_id", body["transaction_id"].encode()),
        }, name


def assert_next_is_answered(pipeline: Pipeline) -> None:
    """The role lives, and answers a right record behind what is in the topic."""
    card = next(cards_of(1, PARTITIONS, "next"))
    (place,) = send(pipeline, [Sent(value_of(card_id=card), 1, card.encode())])
    wait_acknowledged(pipeline)
    assert place in by_source(read_all(pipeline, "processed_transactions"))


def test_a_stray_that_grows_too_big_to_publish_again_stops_nothing(pipeline: Pipeline) -> None:
    """Its key, compressed by the producer, is larger than what the topic takes from us."""
    card = next(cards_of(3, PARTITIONS, "stray"))
    topic = f"{pipeline.prefix}transactions"
    sender = Producer({**pipeline.bootstrap, "compression.type": "gzip", "message.max.bytes": 16 * 1024 * 1024})
    sender.produce(topic, value_of(card_id=card), b"k" * 5_000_000, 1)
    sender.produce(topic, value_of(card_id=card, transaction_id="t2"), b"k" * 5_000_000, 3)
    assert sender.flush(30) == 0
    pipeline.start("score").wait_ready()
    assert_next_is_answered(pipeline)


class NoText(str):
    """A header name whose bytes are not UTF-8."""

    __slots__ = ()

    def encode(self, *_: object) -> bytes:
        return b"\xff\xfe\x80name"


def test_header_names_that_are_no_text_stop_nothing(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (message_accumulator, producer):  # the C builder takes nothing but text
        monkeypatch.setattr(module, "DefaultRecordBatchBuilder", _DefaultRecordBatchBuilderPy)
    home, wrong = next(cards_of(1, PARTITIONS, "name")), next(cards_of(2, PARTITIONS, "name"))

    async def publish() -> None:
        sender = AIOKafkaProducer(bootstrap_servers=pipeline.bootstrap["bootstrap.servers"])
        await sender.start()
        try:
            for card in (home, wrong):
                await sender.send_and_wait(
                    f"{pipeline.prefix}transactions", value_of(card_id=card), card.encode(), 1,
                    headers=[(NoText("x"), b"1"), (HEADER, b"x")],
                )  # fmt: skip
        finally:
            await sender.stop()

    asyncio.run(publish())
    pipeline.start("score").wait_ready()
    assert_next_is_answered(pipeline)
    # Called often enough, Python calls a method without a look at its error; and a batch that is halved is read again.
    for message in read_messages(pipeline.bootstrap, f"{pipeline.prefix}processed_transactions") * 100:
        assert headers_of(message)
    told = []
    for message in read_messages(pipeline.bootstrap, f"{pipeline.prefix}transactions"):
        told.append(headers_of(message))
        assert headers_of(message) == (told[-1] or [])
    assert told.count(None) == 2
