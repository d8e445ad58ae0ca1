"""The index role against a real OpenSearch: records in, documents and rejected records out."""

from __future__ import annotations

import asyncio
import json
import threading
import time

import pytest
from confluent_kafka import Message
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from features.errors import ConfigError, ServerUnavailable
from features.outage import Outage
from streams.index import IndexHandler
from streams.role import Chunk, at_once
from streams.settings import Settings
from streams.watch.metrics import IndexMetrics
from tests.opensearch_proxy import DROP, Proxy
from tests.support import wait_until

NOW_MS = 1_767_323_050_000
TOPIC = "processed_transactions"


@pytest.fixture
def prefix(unique, opensearch_client):
    yield unique
    opensearch_client.indices.delete(index=f"{unique}*", params={"ignore_unavailable": "true"})
    opensearch_client.indices.delete_index_template(name=f"{unique}*", ignore=404)


@pytest.fixture
def settings(servers, prefix):
    return make_settings(servers.env()["FRAUD_OPENSEARCH_URL"], prefix)


def make_settings(url, prefix="", **more):
    return Settings(_env_file=None, opensearch_url=url, index_prefix=prefix, **more)


def outcome(number, *, card_id="tok_a", outcome="approve", score=12, **fraud):
    return json.dumps(
        {
            "transaction_id": f"tx-{number}",
            "card_id": card_id,
            "type": "authorization",
            "amount": 12.3,
            "amount_minor": 1230,
            "currency": "EUR",
            "event_time": "2026-01-02T03:04:05.678Z",
            "fraud": {
                "score": score,
                "probability": score / 1000,
                "outcome": outcome,
                "scored_at": "2026-01-02T03:04:06.000Z",
                "latency_ms": 12,
            }
            | fraud,
        }
    ).encode()


def chunk(values, partition=0):
    records = [
        Message(topic=TOPIC, partition=partition, offset=offset, key=b"tok_a", value=value)
        for offset, value in enumerate(values)
    ]
    return Chunk(TOPIC, partition, records)


def handler_of(settings, on_rejected):
    return IndexHandler(
        settings,
        on_rejected,
        lambda: NOW_MS,
        metrics=IndexMetrics(CollectorRegistry()),
        outage=Outage("opensearch", "FRAUD_OPENSEARCH_URL"),
    )


async def never(_):
    raise AssertionError


def indexed(settings, *batches):
    """Run the role over batches of chunks; what it rejected."""
    taken = []

    async def on_rejected(items):
        taken.extend(items)

    async def run():
        handler = handler_of(settings, on_rejected)
        await handler.start()
        await handler.assigned({0: None})
        for batch in batches:
            await (await handler.process(batch, at_once))
        await handler.stop()

    asyncio.run(run())
    return taken


def stored(client, prefix, query="*"):
    alias = f"{prefix}{TOPIC}"
    client.indices.refresh(index=alias)
    hits = client.search(index=alias, body={"size": 1000, "query": {"query_string": {"query": query}}})["hits"]["hits"]
    return {hit["_id"]: hit["_source"] for hit in hits}


def test_outcomes_become_documents(settings, prefix, opensearch_client):
    batch = [chunk([outcome(n) for n in range(3)]), chunk([outcome(9, card_id="a:b", outcome="block")], partition=1)]
    assert indexed(settings, batch) == []
    documents = stored(opensearch_client, prefix)
    assert sorted(documents) == ["a%3Ab:tx-9", "tok_a:tx-0", "tok_a:tx-1", "tok_a:tx-2"]
    assert documents["a%3Ab:tx-9"]["fraud"]["is_block"] == 1
    assert documents["tok_a:tx-0"]["indexed_at"] == "2026-01-02T03:04:10.000Z"
    assert list(stored(opensearch_client, prefix, "fraud.is_block:1")) == ["a%3Ab:tx-9"]


def test_a_replay_and_a_copy_change_no_count(settings, prefix, opensearch_client):
    first = [chunk([outcome(n) for n in range(5)])]
    again = [chunk([outcome(0, duplicate=True), *(outcome(n) for n in range(1, 5))])]
    indexed(settings, first, again)
    documents = stored(opensearch_client, prefix)
    assert len(documents) == 5
    assert documents["tok_a:tx-0"]["fraud"]["duplicate"] is True


def test_a_batch_is_written_after_its_turn(servers, prefix, opensearch_client):
    async def run(proxy):
        async def turn():
            turns.append(len(proxy.bulks))

        handler = handler_of(make_settings(proxy.url, prefix), never)
        await handler.start()
        rest = await handler.process([chunk([outcome(0)])], turn)
        turns.append(len(proxy.bulks))
        await rest
        turns.append(len(proxy.bulks))
        await handler.stop()

    turns = []
    with Proxy(servers.env()["FRAUD_OPENSEARCH_URL"]) as proxy:
        asyncio.run(run(proxy))
    assert turns == [0, 0, 1]
    assert len(stored(opensearch_client, prefix)) == 1


def test_rejected_records_are_handed_over_and_the_others_stored(settings, prefix, opensearch_client):
    values = [outcome(0), b"garbage", outcome(1, score=99_999), None, b"{}", outcome(2)]
    with capture_logs() as logged:
        rejected = indexed(settings, [chunk(values)])
    assert sorted((item.record.offset(), item.reason) for item in rejected) == [
        (1, "not_json"),
        (2, "poison"),
        (3, "empty"),
        (4, "missing_field"),
    ]
    assert sorted(stored(opensearch_client, prefix)) == ["tok_a:tx-0", "tok_a:tx-2"]
    lines = [entry for entry in logged if entry["event"] == "outcome_rejected"]
    assert sorted(line["offset"] for line in lines) == [1, 2, 3, 4]
    (poison,) = [line for line in lines if line["reason"] == "poison"]
    assert (poison["index"], poison["id"]) == (f"{prefix}processed_transactions-2026.01.02", "tok_a:tx-1")
    assert "fraud.score" in poison["detail"]
    assert "99999" not in str(lines)


def test_a_rejected_record_that_finds_no_place_ends_the_batch(settings):
    class NoPlaceError(Exception):
        pass

    async def refuse(_):
        raise NoPlaceError

    async def run():
        handler = handler_of(settings, refuse)
        await handler.start()
        try:
            await (await handler.process([chunk([b"garbage"])], at_once))
        finally:
            await handler.stop()

    with pytest.raises(NoPlaceError):
        asyncio.run(run())


def test_nothing_to_do_is_fine(settings):
    assert indexed(settings, [], [chunk([])]) == []


def test_a_lost_connection_loses_nothing(servers, prefix, opensearch_client):
    with Proxy(servers.env()["FRAUD_OPENSEARCH_URL"]) as proxy:
        proxy.script.extend([DROP, DROP])
        assert indexed(make_settings(proxy.url, prefix), [chunk([outcome(0)])]) == []
        assert len(proxy.bulks) == 3
    assert len(stored(opensearch_client, prefix)) == 1


def test_start_waits_for_a_server_that_comes_later(servers, prefix, opensearch_client):
    with Proxy(servers.env()["FRAUD_OPENSEARCH_URL"]) as proxy:
        proxy.stop()
        with capture_logs() as logged:
            opener = threading.Thread(target=lambda: (wait_until(lambda: logged), proxy.start()))
            opener.start()
            assert indexed(make_settings(proxy.url, prefix), [chunk([outcome(0)])]) == []
            opener.join()
    assert logged[0]["variable"] == "FRAUD_OPENSEARCH_URL"
    assert len(stored(opensearch_client, prefix)) == 1


def test_start_gives_up_when_told(servers):
    with Proxy(servers.env()["FRAUD_OPENSEARCH_URL"]) as proxy:
        proxy.stop()
        started_s = time.monotonic()
        with pytest.raises(ServerUnavailable, match="FRAUD_OPENSEARCH_URL"):
            indexed(make_settings(proxy.url, startup_wait_s=1.5))
        assert time.monotonic() - started_s < 10


def test_a_wrong_url_is_a_wrong_setting():
    with pytest.raises(ConfigError, match="FRAUD_OPENSEARCH_URL"):
        indexed(make_settings("opensearch:9200"))


def test_an_outage_can_be_cancelled(servers, prefix):
    async def run(proxy):
        handler = handler_of(make_settings(proxy.url, prefix), never)
        await handler.start()
        proxy.stop()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(await handler.process([chunk([outcome(0)])], at_once), 1)
        await handler.stop()

    with Proxy(servers.env()["FRAUD_OPENSEARCH_URL"]) as proxy:
        asyncio.run(run(proxy))
