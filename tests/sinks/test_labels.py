"""What labels make of documents: by hand, and against the engine's own scripts."""

from __future__ import annotations

import asyncio
import itertools
import json
from functools import partial

import msgspec
import pytest

from features.outage import Outage
from scoring.label import decode_label
from sinks.bulk import BulkWriter
from sinks.documents import outcome_document
from sinks.index_template import setup_index
from sinks.label_store import LabelStore
from sinks.labels import label_fields, order_of, put_document, put_label
from tests.outcome_examples import WHOLE_OUTCOME

NOW_MS = 1_767_600_000_000
ALIAS = "processed_transactions"


def label(number=1, **fields):
    known = {
        "label_id": f"l-{number}",
        "transaction_id": "tx-1",
        "card_id": "tok_a",
        "label": "fraud",
        "source": "analyst",
        "labelled_at": f"2026-01-05T00:00:{number:02d}Z",
    }
    return decode_label(json.dumps(known | fields).encode())


def outcome(prefix="", verdict="review", **fields):
    whole = json.loads(WHOLE_OUTCOME)
    whole["fraud"] |= {"outcome": verdict, "clock_skew_ms": 0}
    return outcome_document(json.dumps(whole | fields).encode(), index_prefix=prefix, indexed_at_ms=NOW_MS)


def test_a_label_copies_what_it_does_not_say():
    fields = label_fields(label(amount_minor=7, currency="JPY"), msgspec.json.decode(outcome().body), NOW_MS)
    assert (fields["amount_minor"], fields["currency"]) == (7, "JPY")
    assert (fields["outcome"], fields["rule"], fields["score"], fields["model"]) == ("review", "velocity", 912, "m1")
    assert (fields["is_fraud"], fields["is_caught"], fields["known"]) == (1, 1, 1)
    assert fields["event_time"] == "2026-01-02T03:04:05.678Z"
    assert fields["delay_hours"] == pytest.approx(68.9319, abs=1e-3)


def test_a_label_that_knows_its_transaction_alone_has_no_copies():
    fields = label_fields(label(label="undecided"), None, NOW_MS)
    assert fields["known"] == 0
    assert {"is_fraud", "is_caught", "outcome", "amount", "delay_hours"}.isdisjoint(fields)
    assert label_fields(label(amount_minor=1250, currency="KWD"), None, NOW_MS)["amount"] == 1.25


@pytest.mark.parametrize(
    ("said", "verdict", "state"),
    [
        ("fraud", "review", "closed"),
        ("valid", "review", "closed"),
        ("undecided", "review", "escalated"),
        ("withdrawn", "review", "open"),
        ("fraud", "approve", "closed"),
        ("withdrawn", "approve", None),
    ],
)
def test_what_a_label_does_to_a_review(said, verdict, state):
    fields = msgspec.json.decode(outcome(verdict=verdict).body)
    put_label(fields, label_fields(label(label=said), fields, NOW_MS))
    assert fields.get("review", {}).get("state") == state
    assert ("closed_at" in fields.get("review", {})) == (state == "closed")
    assert fields["label"].get("is_fraud") == {"fraud": 1, "valid": 0}.get(said)


def test_the_order_of_text_is_that_of_the_contract():
    early, late = label(1, source="chargeback"), label(2, source="rule")
    same = [label(2, source=source, label_id=name) for source in ("rule", "analyst", "chargeback") for name in "ab"]
    assert sorted(map(order_of, [*same, early])) == list(map(order_of, [early, *same]))
    assert order_of(early) < order_of(late)


# --- on the engine


@pytest.fixture
def prefix(unique, opensearch_client):
    setup_index(opensearch_client, unique)
    yield unique
    opensearch_client.indices.delete(index=f"{unique}*", params={"ignore_unavailable": "true"})
    opensearch_client.indices.delete_index_template(name=f"{unique}*", ignore=404)


@pytest.fixture
def writer(opensearch_client, prefix):
    return BulkWriter(opensearch_client, partial(setup_index, opensearch_client, prefix), Outage("opensearch", "X"))


@pytest.fixture
def store(opensearch_client, prefix, writer):
    return LabelStore(opensearch_client, writer, prefix, Outage("opensearch", "X"))


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 60))


def get(client, document):
    return client.get(index=document.index, id=document.id)["_source"]


def found(client, index, query="*"):
    client.indices.refresh(index=index)
    answer = client.search(index=index, body={"size": 1000, "query": {"query_string": {"query": query}}})
    return [hit["_source"] for hit in answer["hits"]["hits"]]


def test_the_script_and_the_function_agree_in_any_order(opensearch_client, prefix, writer):
    labels = [label(1, label="undecided"), label(2), label(3, label="withdrawn"), label(2, source="chargeback")]
    cases = [
        (verdict, order)
        for verdict in ("review", "block")
        for size in (1, 2, 3)
        for order in itertools.permutations(labels, size)
    ]
    documents = [outcome(prefix, verdict, transaction_id=f"tx-{n}") for n, (verdict, _) in enumerate(cases)]
    run(writer.write(documents))
    expected = []
    for document, (_, order) in zip(documents, cases, strict=True):
        fields = msgspec.json.decode(document.body)
        for one in order:
            put_label(fields, label_fields(one, fields, NOW_MS) | {"document": document.id})
        expected.append(fields)
    for step in range(3):
        updates = [
            put_document(document.index, label_fields(order[step], None, NOW_MS) | {"document": document.id})
            for document, (_, order) in zip(documents, cases, strict=True)
            if step < len(order)
        ]
        assert run(writer.write(updates)) == []
    assert [get(opensearch_client, document) for document in documents] == expected


def test_a_label_finds_its_document_with_and_without_its_time(opensearch_client, prefix, writer, store):
    timed, untimed = outcome(prefix), outcome(prefix, transaction_id="tx-2")
    run(writer.write([timed, untimed]))
    run(store.write([label(event_time="2026-01-02T03:04:05.678Z")], NOW_MS))
    assert get(opensearch_client, timed)["label"]["is_fraud"] == 1
    opensearch_client.indices.refresh(index=f"{prefix}*")
    run(store.write([label(2, transaction_id="tx-2", label="valid")], NOW_MS))
    assert get(opensearch_client, untimed)["review"]["state"] == "closed"
    assert {one["amount"] for one in found(opensearch_client, f"{prefix}fraud_labels", "known:1 AND is_caught:1")} == {
        12.3
    }


def test_labels_that_come_again_or_late_change_nothing(opensearch_client, prefix, writer, store):
    document = outcome(prefix)
    run(writer.write([document]))
    new, old = label(9, label="valid", event_time="2026-01-02T03:04:05Z"), label(1, event_time="2026-01-02T03:04:05Z")
    for batch in ([new], [old], [new, old], [old]):
        assert run(store.write(batch, NOW_MS)) == []
    (stands,) = found(opensearch_client, f"{prefix}fraud_labels")
    assert (stands["label"], stands["label_id"]) == ("valid", "l-9")
    assert get(opensearch_client, document)["label"]["is_fraud"] == 0
    assert len(found(opensearch_client, f"{prefix}fraud_labels_given")) == 2


def test_a_label_before_its_document_waits_and_is_seen_waiting(opensearch_client, prefix, writer, store):
    run(store.write([label(), label(2, transaction_id="never")], NOW_MS))
    opensearch_client.indices.refresh(index=f"{prefix}*")
    assert run(store.settle(NOW_MS)) == 2
    assert opensearch_client.indices.exists(index=f"{prefix}{ALIAS}-*", params={"allow_no_indices": "false"}) is False
    document = outcome(prefix)
    run(writer.write([document]))
    opensearch_client.indices.refresh(index=f"{prefix}*")
    assert run(store.settle(NOW_MS)) == 1
    assert get(opensearch_client, document)["label"]["label"] == "fraud"
    assert [one["transaction_id"] for one in found(opensearch_client, f"{prefix}fraud_labels", "known:0")] == ["never"]
    assert found(opensearch_client, f"{prefix}fraud_labels", "known:1")[0]["rule"] == "velocity"


def test_of_many_that_wait_each_has_its_turn(opensearch_client, prefix, writer, store, monkeypatch):
    monkeypatch.setattr("sinks.label_store._PAGE", 3)
    run(store.write([label(n, transaction_id=f"tx-{n}") for n in range(10)], NOW_MS))
    oldest = outcome(prefix, transaction_id="tx-0")
    run(writer.write([oldest]))
    opensearch_client.indices.refresh(index=f"{prefix}*")
    waiting = [run(store.settle(NOW_MS)) for _ in range(5)]
    assert waiting[0] == 10
    assert 9 in waiting
    assert get(opensearch_client, oldest)["label"]["label"] == "fraud"


def test_a_document_written_again_gets_its_label_back(opensearch_client, prefix, writer, store):
    document, other = outcome(prefix), outcome(prefix, transaction_id="tx-2")
    replaced = set()
    run(writer.write([document, other], replaced))
    assert replaced == set()
    run(store.write([label(event_time="2026-01-02T03:04:05Z")], NOW_MS))
    labelled = get(opensearch_client, document)
    run(writer.write([document, other], replaced))
    assert replaced == {0, 1}
    assert "label" not in get(opensearch_client, document)
    assert run(store.restore([document, other])) == 1
    assert get(opensearch_client, document) == labelled


def test_an_update_of_nothing_is_refused(prefix, writer):
    there = outcome(prefix)
    run(writer.write([there]))
    update = put_document(there.index, label_fields(label(transaction_id="gone"), None, NOW_MS))
    (refused,) = run(writer.write([update, there]))
    assert (refused.position, refused.reason) == (0, "document_missing_exception")
