"""Labels, dead letters and samples beside the index role, as an operator meets them: the command, topics, documents."""

from __future__ import annotations

import json

import pytest
from confluent_kafka import Producer
from opensearchpy import OpenSearch

from tests.streams.records import value_of, wait_acknowledged
from tests.support import wait_until


@pytest.fixture
def indexed(make_pipeline, opensearch_client):
    """A pipeline with a score and an index role, and a few outcomes in OpenSearch."""
    pipeline = make_pipeline(FRAUD_SAMPLE_S="1")
    pipeline.start("score").wait_ready()
    pipeline.publish([(f"card-{n}", value_of(card_id=f"card-{n}", transaction_id=f"t-{n}")) for n in range(6)])
    pipeline.publish([("broken", b"no transaction")])
    yield pipeline
    pipeline.stop_all()
    opensearch_client.indices.delete(index=f"{pipeline.prefix}*", params={"ignore_unavailable": "true"})
    opensearch_client.indices.delete_index_template(name=f"{pipeline.prefix}*", ignore=404)


def labels(pipeline, *records: dict | bytes) -> None:
    producer = Producer(pipeline.bootstrap)
    for at, record in enumerate(records):
        known = {"label_id": f"l-{at}", "label": "fraud", "source": "analyst", "labelled_at": "2026-01-05T00:00:00Z"}
        value = record if isinstance(record, bytes) else json.dumps(known | record).encode()
        producer.produce(f"{pipeline.prefix}fraud_labels", value)
    assert producer.flush(30) == 0


def found(client: OpenSearch, pipeline, alias: str, query: str = "*") -> list[dict]:
    client.indices.refresh(index=f"{pipeline.prefix}*")
    body = {"size": 100, "query": {"query_string": {"query": query}}}
    answer = client.search(index=f"{pipeline.prefix}{alias}", body=body, params={"ignore_unavailable": "true"})
    return [hit["_source"] for hit in answer["hits"]["hits"]]


def test_labels_dead_letters_and_lag_are_in_opensearch_and_a_replay_erases_no_label(indexed, opensearch_client):
    def documents(alias, query="*"):
        return found(opensearch_client, indexed, alias, query)

    # Before the role and its documents: the labels wait.
    labels(
        indexed, {"card_id": "card-0", "transaction_id": "t-0"}, b"no label", {"card_id": "x", "transaction_id": "y"}
    )
    role = indexed.start("index").wait_ready()
    wait_until(lambda: len(documents("processed_transactions")) == 6)
    wait_until(
        lambda: [d["transaction_id"] for d in documents("processed_transactions", "label.is_fraud:1")] == ["t-0"]
    )
    labels(indexed, {"card_id": "card-1", "transaction_id": "t-1", "label": "valid", "label_id": "second"})
    wait_until(lambda: documents("processed_transactions", "label.is_fraud:0"))

    wait_until(lambda: {d["reason"] for d in documents("dead_letters")} == {"not_json"})
    assert {d["source"]["topic"] for d in documents("dead_letters")} == {
        f"{indexed.prefix}transactions",
        f"{indexed.prefix}fraud_labels",
    }
    assert all(set(d) == {"at", "place", "reason", "source"} for d in documents("dead_letters"))
    wait_until(lambda: {d["role"] for d in documents("operations")} >= {"score", "index", "index-labels"})
    assert all(d["lag"] >= 0 for d in documents("operations", "kind:lag"))
    wait_until(lambda: "fraud_labels_waiting 1.0" in role.get("/metrics")[1])
    assert 'fraud_labels_rejected_total{reason="not_json"} 1.0' in role.get("/metrics")[1]
    wait_acknowledged(indexed, "index", "processed_transactions")
    assert role.stop() == 0

    before = documents("processed_transactions", "label.label:*")
    # A group of its own reads everything again: every outcome is written once more.
    indexed.variables["FRAUD_GROUP_PREFIX"] = f"{indexed.prefix}again"
    again = indexed.start("index").wait_ready()
    wait_until(lambda: all(d["indexed_at"] > before[0]["indexed_at"] for d in documents("processed_transactions")))
    wait_until(lambda: len(documents("processed_transactions", "label.label:*")) == len(before) == 2)
    wait_until(lambda: len(documents("fraud_labels_given")) == 3)
    assert again.stop() == 0


def test_opensearch_away_is_waited_for(indexed, opensearch_client):
    role = indexed.start("index").wait_ready()
    wait_until(lambda: len(found(opensearch_client, indexed, "processed_transactions")) == 6, 60)
    opensearch_client.cluster.put_settings(body={"transient": {"cluster.blocks.read_only": True}})
    try:
        labels(indexed, {"card_id": "card-2", "transaction_id": "t-2"})
        wait_until(lambda: "opensearch_away" in role.log())
    finally:
        opensearch_client.cluster.put_settings(body={"transient": {"cluster.blocks.read_only": None}})
    wait_until(lambda: found(opensearch_client, indexed, "processed_transactions", "label.is_fraud:1"), 40)
    assert role.process.poll() is None
    assert role.stop() == 0
