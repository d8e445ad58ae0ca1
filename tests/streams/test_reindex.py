"""`fraudstream reindex` as an operator runs it: killed, run again, with readers and the index role beside it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from functools import partial
from http import HTTPStatus

import pytest
from confluent_kafka import Producer
from opensearchpy.exceptions import TransportError

from features.outage import Outage
from features.times import format_rfc3339
from sinks.bulk import BulkWriter
from sinks.documents import outcome_document
from sinks.generations import Generations
from sinks.index_template import setup_index
from tests.support import wait_until

DAY_MS = 86_400_000
COUNT = 4_000
ALIAS = "processed_transactions"


@pytest.fixture
def pipeline(make_pipeline, opensearch_client):
    made = make_pipeline(FRAUD_SAMPLE_S="0")
    yield made
    made.stop_all()
    opensearch_client.indices.delete(index=f"{made.prefix}*", params={"ignore_unavailable": "true"})
    opensearch_client.indices.delete_index_template(name=f"{made.prefix}*", ignore=404)


def outcome(number, now_ms):
    moment = format_rfc3339(now_ms - number % 3 * DAY_MS)
    return json.dumps(
        {
            "transaction_id": f"t-{number}", "card_id": f"c-{number % 50}", "type": "authorization", "amount": 1.0,
            "amount_minor": 100, "currency": "EUR", "event_time": moment,
            "fraud": {
                "score": number % 1000, "probability": number % 1000 / 1000, "outcome": "review", "rule": None,
                "model": "m", "ruleset": "r", "feature_set": "f", "scored_at": moment, "latency_ms": 3,
                "source": {"topic": "t", "partition": 0, "offset": number},
            },
        }
    ).encode()  # fmt: skip


def publish(pipeline, topic, records):
    producer = Producer(pipeline.bootstrap)
    for number, value in enumerate(records):
        producer.produce(f"{pipeline.prefix}{topic}", value, partition=number % 4)
        producer.poll(0)
    assert producer.flush(30) == 0


def label(number, **fields):
    known = {
        "label_id": f"l-{number}", "transaction_id": f"t-{number}", "card_id": f"c-{number % 50}", "label": "fraud",
        "source": "analyst", "labelled_at": "2026-01-05T00:00:00Z",
    }  # fmt: skip
    return json.dumps(known | fields).encode()


def count(client, pipeline, query="*"):
    lenient = {"ignore_unavailable": "true"}
    client.indices.refresh(index=f"{pipeline.prefix}{ALIAS}", params=lenient)
    body = {"query": {"query_string": {"query": query}}}
    try:
        return client.count(index=f"{pipeline.prefix}{ALIAS}", body=body, params=lenient)["count"]
    except TransportError as exc:
        # The very first index was made a moment ago, and none of its shards serves yet.
        if exc.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
            return 0
        raise


def start_reindex(pipeline):
    return subprocess.Popen(
        [sys.executable, "-m", "fraudstream", "reindex"], env={"PATH": "", **pipeline.variables}, cwd=pipeline.folder,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def positions(client, pipeline):
    """How far the plan in the cluster says that the topic was read."""
    answer = client.get(index=f"{pipeline.prefix}fraudstream_reindex", id="state", ignore=404)
    return sum(answer.get("_source", {}).get("positions", {}).values()) if answer.get("found") else 0


def written(client, pipeline):
    answer = client.indices.stats(index=f"{pipeline.prefix}*", metric="indexing")
    return sum(one["primaries"]["indexing"]["index_total"] for name, one in answer["indices"].items() if "_g2-" in name)


def store_one_that_the_topic_lacks(client, prefix, now_ms):
    writer = BulkWriter(client, partial(setup_index, client, prefix), Outage("opensearch", "X"))
    lost = outcome_document(outcome(99_999, now_ms), index_prefix=prefix, indexed_at_ms=now_ms)
    assert asyncio.run(writer.write([lost])) == []


@pytest.mark.slow
def test_killed_and_run_again_readers_see_every_document_all_the_time(pipeline, opensearch_client):
    client, prefix, now_ms = opensearch_client, pipeline.prefix, int(time.time() * 1000)
    publish(pipeline, ALIAS, [outcome(number, now_ms) for number in range(COUNT)])
    store_one_that_the_topic_lacks(client, prefix, now_ms)
    role = pipeline.start("index").wait_ready()
    publish(pipeline, "fraud_labels", [label(number) for number in range(30)])
    wait_until(lambda: count(client, pipeline) == COUNT + 1, 120)
    wait_until(lambda: count(client, pipeline, "label.is_fraud:1") == 30, 60)

    seen, stopping = [], threading.Event()

    def read():
        while not stopping.is_set():
            seen.append(client.count(index=f"{prefix}{ALIAS}")["count"])
            stopping.wait(0.05)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        first = start_reindex(pipeline)
        wait_until(lambda: first.poll() is not None or written(client, pipeline) > 1000, 60)
        assert first.poll() is None
        first.kill()
        first.wait()
        assert positions(client, pipeline) >= 0
        assert "generation 2" in pipeline.run("reindex", "--status").stdout
        # Goes on while the role writes: labels and outcomes that the first run could not know.
        publish(pipeline, "fraud_labels", [label(100, label="valid")])
        publish(pipeline, ALIAS, [outcome(number, now_ms) for number in range(COUNT, COUNT + 200)])
        done = pipeline.run("reindex")
    finally:
        stopping.set()
        reader.join()
    assert "3 indices replaced by generation 2" in done.stdout
    wait_until(lambda: count(client, pipeline) == COUNT + 201, 60)
    wait_until(lambda: count(client, pipeline, "label.is_fraud:0") == 1, 60)
    assert min(seen) >= COUNT + 1
    assert count(client, pipeline, "label.is_fraud:1") == 30
    assert count(client, pipeline, "review.state:closed") == 31
    assert count(client, pipeline, "transaction_id:t\\-99999") == 1
    behind = client.indices.get_alias(name=f"{prefix}{ALIAS}")
    assert len(behind) == 3
    assert all("_g2-" in name for name in behind)
    # The names of the contract are aliases now, and the role writes on under them.
    publish(pipeline, ALIAS, [outcome(COUNT + 300, now_ms)])
    wait_until(lambda: count(client, pipeline) == COUNT + 202, 60)
    assert set(client.indices.get_alias(name=f"{prefix}{ALIAS}")) == set(behind)
    publish(pipeline, "fraud_labels", [label(COUNT + 300, label="valid")])
    wait_until(lambda: count(client, pipeline, "label.is_fraud:0") == 2, 60)
    setup_index(client, prefix)
    # And again: a third generation replaces the second.
    assert "generation 3" in pipeline.run("reindex").stdout
    assert count(client, pipeline) == COUNT + 202
    assert count(client, pipeline, "label.is_fraud:0") == 2
    assert "no reindex is under way" in pipeline.run("reindex", "--status").stdout
    assert role.stop() == 0


def test_given_up_it_leaves_everything_as_it_was(pipeline, opensearch_client):
    client, prefix, now_ms = opensearch_client, pipeline.prefix, int(time.time() * 1000)
    assert "no indices of outcomes yet" in pipeline.run("reindex").stdout
    publish(pipeline, ALIAS, [outcome(number, now_ms) for number in range(20)])
    role = pipeline.start("index").wait_ready()
    wait_until(lambda: count(client, pipeline) == 20, 60)
    before = set(client.indices.get_alias(name=f"{prefix}{ALIAS}"))
    # As if it had been killed while it held the writers up.
    generations = Generations(client, prefix)
    plan = generations.plan(dict.fromkeys(range(4), 0), now_ms)
    generations.make(plan)
    generations.freeze(plan, frozen=True)
    publish(pipeline, ALIAS, [outcome(21, now_ms)])
    wait_until(lambda: "opensearch_away" in role.log())
    assert count(client, pipeline) == 20
    assert "generation 2 given up" in pipeline.run("reindex", "--abandon").stdout
    wait_until(lambda: count(client, pipeline) == 21, 60)
    assert set(client.indices.get(index=f"{prefix}{ALIAS}*")) == before
    assert role.stop() == 0
