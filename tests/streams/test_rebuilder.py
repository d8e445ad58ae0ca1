"""The rebuilder by itself: odd partitions, odd moments, and histories that nobody could have written."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from redis import Redis

from features.apply import Applied
from features.errors import StaleEpoch
from local.stack import Stack
from streams.cards import CardState, Pending
from streams.intake import Incoming
from streams.repair.rebuild import Rebuilder, Tally
from streams.repair.topic_reader import Span, TopicReader, reading
from streams.settings import Settings
from streams.wired.score import State, limits_of, make_reader, make_state, source_of
from tests.oracles.traffic import SPAN_MS, awkward, wire
from tests.streams.pipeline import Pipeline
from tests.streams.records import Sent, cards_of, ends, send, value_of
from tests.streams.test_dlq import letter

EVENTS = awkward(91, 800, 25, int(time.time() * 1000) - SPAN_MS - 60_000)
PARTITION = 1

Scene = Callable[[State], Awaitable[Any]]


def settings_of(pipeline: Pipeline) -> Settings:
    fields = {name.removeprefix("FRAUD_").lower(): value for name, value in pipeline.variables.items()}
    return Settings(_env_file=None, **fields)  # type: ignore[call-arg, arg-type]  # pydantic reads the text


def with_state(pipeline: Pipeline, scene: Scene) -> Any:
    async def run() -> Any:
        state = make_state(settings_of(pipeline))
        try:
            return await scene(state)
        finally:
            await state.store.stop()

    return asyncio.run(run())


def keys_of(redis: Redis, pipeline: Pipeline) -> dict[bytes, bytes]:
    """Histories, and what was applied: everything but the fencing tokens."""
    found = redis.scan_iter(f"{pipeline.prefix}*", count=1000)
    return {key: redis.get(key) or b"" for key in found if b"epoch" not in key}  # type: ignore[misc]


@pytest.fixture
def filled(pipeline: Pipeline) -> Pipeline:
    pipeline.publish((e.card, wire(e)) for e in EVENTS)
    return pipeline


def end_of(pipeline: Pipeline) -> int:
    return ends(pipeline, "transactions")[PARTITION]


def test_a_history_that_is_none_is_made_anew_with_its_partition(filled: Pipeline, redis_client: Redis) -> None:
    end = end_of(filled)
    first: Tally = with_state(filled, lambda state: state.rebuilder.rebuild(PARTITION, end))
    assert first.records == first.applied == end
    right = keys_of(redis_client, filled)
    histories = [key for key in right if b"hist:" in key]
    assert len(histories) == len(first.cards) > 3
    for damage in (b"", b"garbage", right[histories[0]][:-1], b"\xff" * 32):
        for key in histories:
            redis_client.set(key, damage)
        with_state(filled, lambda state: state.rebuilder.rebuild(PARTITION, end))
        assert keys_of(redis_client, filled) == right
    # Met while a gap is closed, as after an older snapshot.
    for key in histories:
        redis_client.set(key, b"garbage")
    redis_client.set(f"{filled.prefix}applied:{{{PARTITION}}}", end // 2)
    with_state(filled, lambda state: state.rebuilder.catch_up(PARTITION, end))
    assert keys_of(redis_client, filled) == right


def test_a_loss_in_the_middle_of_a_rebuild_begins_it_again(filled: Pipeline, redis_client: Redis) -> None:
    end, losses = end_of(filled), []
    with_state(filled, lambda state: state.rebuilder.rebuild(PARTITION, end))
    right = keys_of(redis_client, filled)

    def lose(_offsets: int) -> None:
        if not losses:
            losses.append(True)
            for key in redis_client.scan_iter(f"{filled.prefix}*", count=1000):
                redis_client.delete(key)

    async def scene(state: State) -> None:
        await state.rebuilder.rebuild(PARTITION, end - 1, lose)
        await state.rebuilder.catch_up(PARTITION, end)

    with_state(filled, scene)
    assert losses
    found = keys_of(redis_client, filled)
    assert found.keys() | {f"{filled.prefix}partitions".encode()} == right.keys()
    assert found[f"{filled.prefix}applied:{{{PARTITION}}}".encode()] == b"%d" % (end - 1)


def test_whoever_claims_the_partition_meanwhile_has_it(filled: Pipeline) -> None:
    end = end_of(filled)

    async def scene(state: State) -> None:
        other = make_state(settings_of(filled))
        claims: list[asyncio.Future[Any]] = []

        class Stolen(CardState):
            async def commit(self, pending: Pending) -> None:
                claims.append(asyncio.ensure_future(other.store.claim(PARTITION)))
                await claims[-1]
                await super().commit(pending)

        settings = settings_of(filled)
        cards = Stolen(state.store, limits_of(settings))
        rebuilder = Rebuilder(
            source_of(settings), reader=make_reader(settings), cards=cards, store=state.store, note=state.note
        )
        with pytest.raises(StaleEpoch):
            await rebuilder.rebuild(PARTITION, end)
        assert len(claims) == 1
        await other.store.stop()

    with_state(filled, scene)


def test_what_fails_by_itself_is_passed_over_and_the_rest_is_applied(filled: Pipeline, redis_client: Redis) -> None:
    end = end_of(filled)
    with_state(filled, lambda state: state.rebuilder.rebuild(PARTITION, end))
    right = keys_of(redis_client, filled)
    (poison,) = send(filled, [Sent(value_of(card_id=next(cards_of(PARTITION, 4, "poison"))), PARTITION)])
    more = [(e.card, wire(e)) for e in EVENTS]
    filled.publish(more)

    class Picky(CardState):
        async def apply(self, incoming: Sequence[Incoming], last: Any) -> tuple[Applied, Pending]:
            if any(item.offset == poison[1] for item in incoming):
                raise ZeroDivisionError
            return await super().apply(incoming, last)

    async def scene(state: State) -> None:
        settings = settings_of(filled)
        cards = Picky(state.store, limits_of(settings))
        rebuilder = Rebuilder(
            source_of(settings), reader=make_reader(settings), cards=cards, store=state.store, note=state.note
        )
        await rebuilder.rebuild(PARTITION, end_of(filled))

    with_state(filled, scene)
    found = keys_of(redis_client, filled)
    assert found.keys() == right.keys(), "no history of the card that fails"
    assert found[f"{filled.prefix}applied:{{{PARTITION}}}".encode()] == b"%d" % (end_of(filled) - 1)


def test_a_record_that_was_dead_lettered_as_poison_is_not_applied(pipeline: Pipeline) -> None:
    cards = cards_of(PARTITION, 4, "dead")
    records = [Sent(value_of(card_id=next(cards)), PARTITION) for _ in range(4)]
    places = send(pipeline, records)
    send(pipeline, [letter(pipeline, "transactions", places[2], records[2].value or b"")], "transactions.dlq")
    tally: Tally = with_state(pipeline, lambda state: state.rebuilder.rebuild(PARTITION, 4))
    assert (tally.records, tally.applied, len(tally.cards)) == (4, 3, 3)


def test_partitions_without_records_and_without_what_was_committed(
    pipeline: Pipeline, redis_client: Redis, kafka_admin: AdminClient
) -> None:
    async def nothing(state: State) -> list[Tally]:
        rebuilder = state.rebuilder
        return [await rebuilder.catch_up(0, 0), await rebuilder.rebuild(0, 0), await rebuilder.catch_up(0, 50)]

    assert [tally.records for tally in with_state(pipeline, nothing)] == [0, 0, 0]
    pipeline.publish((e.card, wire(e)) for e in EVENTS)
    end = end_of(pipeline)
    place = TopicPartition(f"{pipeline.prefix}transactions", PARTITION, end)
    kafka_admin.delete_records([place])[place].result(30)
    assert with_state(pipeline, lambda state: state.rebuilder.rebuild(PARTITION, end)).records == 0
    assert not [key for key in keys_of(redis_client, pipeline) if b"hist:" in key]


def test_markers_of_transactions_are_no_records(pipeline: Pipeline, redis_client: Redis) -> None:
    producer = Producer({**pipeline.bootstrap, "transactional.id": pipeline.prefix})
    producer.init_transactions(30)
    names = cards_of(PARTITION, 4, "tx")
    for kept in (True, False, True):
        producer.begin_transaction()
        producer.produce(f"{pipeline.prefix}transactions", value_of(card_id=next(names)), partition=PARTITION)
        producer.flush(30)
        (producer.commit_transaction if kept else producer.abort_transaction)(30)
    # Three records and three markers, the last of which is the last of the topic.
    assert end_of(pipeline) == 6
    tally: Tally = with_state(pipeline, lambda state: state.rebuilder.rebuild(PARTITION, 6))
    assert tally.applied == 2
    assert len([key for key in keys_of(redis_client, pipeline) if b"hist:" in key]) == 2


def test_a_range_whose_records_are_deleted_meanwhile_comes_to_its_end(
    filled: Pipeline, kafka_admin: AdminClient
) -> None:
    end, topic = end_of(filled), f"{filled.prefix}transactions"
    place = TopicPartition(topic, PARTITION, end - 3)
    with reading(filled.bootstrap, topic) as reader:
        kafka_admin.delete_records([place])[place].result(30)
        assert offsets(reader, Span(PARTITION, 0, end)) == [end - 3, end - 2, end - 1]
        place.offset = end
        kafka_admin.delete_records([place])[place].result(30)
        assert offsets(reader, Span(PARTITION, end - 3, end)) == []


def offsets(reader: TopicReader, span: Span) -> list[int]:
    found: list[int] = []
    reader.begin([span])
    while not reader.done():
        found += [message.offset() or 0 for message in reader.take()]
    assert reader.position(span.partition) == span.end
    return found


def test_a_tally_adds_up() -> None:
    one, other = Tally(3, 2, {1, 2}), Tally(5, 4, {2, 3})
    one.add(other)
    assert msgspec.structs.astuple(one) == (8, 6, {1, 2, 3})


def test_a_broker_that_goes_away_in_the_middle_is_waited_for(
    filled: Pipeline, servers: Stack, redis_client: Redis
) -> None:
    end, topic = end_of(filled), f"{filled.prefix}transactions"

    async def scene(state: State) -> Tally:
        with reading(filled.bootstrap, topic) as reader:
            assert await reader.run(lambda: reader.bounds(PARTITION)) == (0, end)
            servers.kill("kafka")
            waiting = asyncio.ensure_future(reader.run(lambda: reader.bounds(PARTITION)))
            rebuilding = asyncio.ensure_future(state.rebuilder.rebuild(PARTITION, end))
            done, _ = await asyncio.wait({waiting, rebuilding}, timeout=3)
            await asyncio.to_thread(servers.restart, "kafka")
            assert not done
            assert await waiting == (0, end)
            return await rebuilding

    assert with_state(filled, scene).applied == end
    assert redis_client.get(f"{filled.prefix}applied:{{{PARTITION}}}") == b"%d" % (end - 1)
