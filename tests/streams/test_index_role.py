"""Score and index end to end on the real servers, OpenSearch gone for a while: every outcome is a document, once."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from opensearchpy import OpenSearch
from opensearchpy.helpers import scan

from features.partition import home_partition
from local.stack import Stack
from tests.oracles.traffic import awkward, wire
from tests.search import PatientTransport
from tests.streams.pipeline import Pipeline
from tests.streams.records import Place, Raw, Sent, by_source, ends, now_ms, read_all, send, value_of, wait_acknowledged
from tests.streams.test_score_exact import base_ms
from tests.support import wait_until

PREFIX = "indexing-"
ALIAS = f"{PREFIX}processed_transactions"
DAY_MS = 86_400_000
DERIVED = ("is_block", "is_review", "is_late", "is_degraded", "is_duplicate")
WEEKDAYS = {"1 Mon", "2 Tue", "3 Wed", "4 Thu", "5 Fri", "6 Sat", "7 Sun"}

STRANGE_CARDS = ("a:b", "a%3Ab", "%", ":", "%:%3A", "\U0001f4b3" * 128, "x" * 128, " ", "../_doc/1", '"}\n'[:2])
DAYS_AGO = (0, 1, 8, 30, 200, 399, 401, 5_000)


def outcome(number: int, **changed: Any) -> dict[str, Any]:
    fraud = {
        "outcome": "approve", "score": 1, "probability": 0.001, "rule": None, "features": {}, "model": "m",
        "ruleset": "none",
        "feature_set": "f", "scored_at": "2026-01-02T03:04:06.000Z", "latency_ms": 12,
        "source": {"topic": "t", "partition": 0, "offset": 1},
    }  # fmt: skip
    body = {
        "transaction_id": f"x-{number}", "card_id": "other", "amount": 1.5, "amount_minor": 150, "currency": "EUR",
        "event_time": "2026-01-02T03:04:05.678Z", "fraud": fraud | changed.pop("fraud", {}),
    }  # fmt: skip
    return body | changed


def encoded(*_: object, **changed: Any) -> bytes:
    return json.dumps(outcome(0, **changed)).encode()


NO_OUTCOMES: dict[str, bytes | None] = {
    "tombstone": None, "empty": b"", "no JSON": b"{", "no UTF-8": b"\xff", "an array": b"[]", "null": b"null",
    "a number": b"1",
    "no field": b"{}", "a transaction": value_of(), "deep": b"[" * 100_000,
    "deep inside": b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}",
    "no fraud": json.dumps({k: v for k, v in outcome(0).items() if k != "fraud"}).encode(),
    "fraud is text": encoded().replace(b'"fraud": {', b'"fraud": "x", "fr": {'), "no time": encoded(event_time=None),
    "a bad time": encoded(event_time="yesterday"), "no zone": encoded(event_time="2026-01-02T03:04:05.678"),
    "before 1970": encoded(event_time="1960-01-01T00:00:00.000Z"),
    "after 9999": encoded(event_time="9999-12-31T23:59:59.999-23:59"),
    "skew beyond all": encoded(fraud={"clock_skew_ms": 10**17}),
    "skew below zero": encoded(fraud={"clock_skew_ms": -(10**18)}),
    "skew too big": encoded(fraud={"clock_skew_ms": 10**40}), "latency is text": encoded(fraud={"latency_ms": "x"}),
    "empty id": encoded(transaction_id=""), "id is a number": encoded(card_id=1),
    "lone surrogate": encoded(card_id="\ud800"),
    "refused by the engine": encoded(amount_minor="many"), "beyond a long": encoded(amount_minor=10**30),
    "an empty field name": encoded(**{"": 1}), "score is an object": encoded(fraud={"score": {"a": 1}}),
    "amount is a list": encoded(amount=[{}]),
}  # fmt: skip
ODD_OUTCOMES: dict[str, bytes] = {
    "no latency to speak of": encoded(transaction_id="odd-1", fraud={"latency_ms": 1e308}),
    "a latency below zero": encoded(transaction_id="odd-2", fraud={"latency_ms": -1e308}),
    "unknown fields": encoded(transaction_id="odd-3", new={"a": [1, {"b": None}]}, **{"dots.in.it": 1}),
    "an address that is none": encoded(transaction_id="odd-4", ip_address="300.1.1.1"),
    "a long text": encoded(transaction_id="odd-5", email="x" * 500_000),
    "another zone": encoded(transaction_id="odd-6", event_time="2026-01-02T03:04:05.678+05:30"),
}


def millis(stamp: str) -> int:
    return (datetime.fromisoformat(stamp) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def index_of(body: dict[str, Any]) -> str:
    fraud = body["fraud"]
    effective_ms = millis(body["event_time"]) - fraud.get("clock_skew_ms", 0)
    broker_ms = millis(fraud["scored_at"]) - round(fraud["latency_ms"])
    if broker_ms - effective_ms > 400 * DAY_MS:
        return f"{ALIAS}-older"
    day = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=effective_ms)
    return f"{ALIAS}-{day:%Y.%m.%d}"


def id_of(body: dict[str, Any]) -> str:
    card = body["card_id"].replace("%", "%25").replace(":", "%3A")
    plain = f"{card}:{body['transaction_id']}"
    encoded_id = plain.encode()
    return plain if len(encoded_id) <= 512 else f"sha256:{hashlib.sha256(encoded_id).hexdigest()}"


def strange() -> Iterator[Sent]:
    for card in STRANGE_CARDS:
        for days in DAYS_AGO:
            event_ms = now_ms() - days * DAY_MS
            value = value_of(card_id=card, transaction_id=f"{days}:%", event_time=event_ms)
            yield Sent(value, home_partition(card.encode(), 4), card.encode())
    for ahead_ms in (250_000, 3 * DAY_MS, 4_000 * DAY_MS):
        value = value_of(card_id="clock", transaction_id=str(ahead_ms), event_time=now_ms() + ahead_ms)
        yield Sent(value, home_partition(b"clock", 4), b"clock")


class Indexed:
    """Outcomes of the run and the documents that came of them."""

    def __init__(self, pipeline: Pipeline, client: OpenSearch, foreign: dict[str, Place]) -> None:
        self.pipeline, self.client, self.foreign = pipeline, client, foreign
        self.outcomes: list[Raw] = read_all(pipeline, "processed_transactions")
        self.letters = by_source(read_all(pipeline, "transactions.dlq"))
        client.indices.refresh(index=f"{ALIAS}-*")
        self.documents = {(hit["_index"], hit["_id"]): hit["_source"] for hit in scan(client, index=ALIAS, size=2000)}


@pytest.fixture(scope="module")
def indexed(servers: Stack, model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Indexed]:
    pipeline = Pipeline(servers.env(), PREFIX, model_dir, tmp_path_factory.mktemp("indexing"))
    pipeline.setup()
    client = OpenSearch(servers.env()["FRAUD_OPENSEARCH_URL"], timeout=30, transport_class=PatientTransport)
    try:
        foreign = run(servers, pipeline)
        yield Indexed(pipeline, client, foreign)
    finally:
        pipeline.stop_all()
        client.indices.delete(index=f"{PREFIX}*")
        client.indices.delete_index_template(name=f"{PREFIX}*", ignore=404)
        client.close()


def run(servers: Stack, pipeline: Pipeline) -> dict[str, Place]:
    """Awkward traffic, OpenSearch gone in the middle of it, then what is no outcome; where the latter lies, by name."""
    events = awkward(51, 3_000, 120, base_ms())
    rng = random.Random(2)
    score, index = pipeline.start("score"), pipeline.start("index")
    score.wait_ready()
    index.wait_ready()
    pipeline.publish((e.card, wire(e, rng)) for e in events[:1_000])
    wait_until(lambda: sum(ends(pipeline, "processed_transactions").values()) >= 500)
    servers.kill("opensearch")
    try:
        pipeline.publish((e.card, wire(e, rng)) for e in events[1_000:])
        send(pipeline, strange())
        # The score role does not notice that OpenSearch is gone.
        wait_acknowledged(pipeline)
        wait_until(lambda: "opensearch_away" in index.log())
    finally:
        servers.restart("opensearch")
    last = outcome(1, transaction_id="last")
    values = [*NO_OUTCOMES.values(), *ODD_OUTCOMES.values(), json.dumps(last).encode()]
    made = send(pipeline, [Sent(value, 2, b"other") for value in values], "processed_transactions")
    wait_acknowledged(pipeline, "index", "processed_transactions", timeout_s=90)
    return dict(zip([*NO_OUTCOMES, *ODD_OUTCOMES, "last"], made, strict=True))


def wanted(indexed: Indexed) -> dict[tuple[str, str], dict[str, Any]]:
    """The last outcome of each index and id; of one card all are in one partition, so their order is plain."""
    refused = set(indexed.letters)
    bodies = [raw.json() for raw in indexed.outcomes if raw.place not in refused]
    return {(index_of(body), id_of(body)): body for body in bodies}


def test_every_outcome_is_a_document_and_every_document_an_outcome(indexed: Indexed) -> None:
    expected = wanted(indexed)
    assert len(expected) > 2_000
    assert indexed.documents.keys() == expected.keys()
    assert indexed.client.count(index=ALIAS)["count"] == len(expected)


def test_documents_hold_the_outcome_unchanged(indexed: Indexed) -> None:
    for place, body in wanted(indexed).items():
        document = json.loads(json.dumps(indexed.documents[place]))
        assert abs(millis(document.pop("indexed_at")) - now_ms()) < 600_000
        derived = {name: document["fraud"].pop(name) for name in DERIVED}
        fraud, drawn = body["fraud"], document.pop("charted", {})
        assert {name: fraud["features"][name] for name in drawn} == drawn
        assert document.pop("review", {}).get("state") == ("open" if fraud["outcome"] == "review" else None)
        assert 0 <= document.pop("hour") <= 23
        assert document.pop("weekday") in WEEKDAYS
        assert document == body
        assert derived == {
            "is_block": int(fraud["outcome"] == "block"),
            "is_review": int(fraud["outcome"] == "review"),
            "is_late": int("late_by_ms" in fraud),
            "is_degraded": int("degraded" in fraud),
            "is_duplicate": int("duplicate" in fraud),
        }


def test_days_and_ids_are_those_of_the_contract(indexed: Indexed) -> None:
    indices = {index for index, _ in indexed.documents}
    assert f"{ALIAS}-older" in indices
    assert len(indices) > 20
    ids = {name for _, name in indexed.documents}
    assert {"a%3Ab:0:%", "a%253Ab:0:%", "%25:0:%"} <= ids
    assert sum(name.startswith("sha256:") for name in ids) == len(DAYS_AGO)
    ahead = [source for (_, name), source in indexed.documents.items() if name == f"clock:{4_000 * DAY_MS}"]
    assert len(ahead) == 1


def test_indices_are_made_from_the_template(indexed: Indexed) -> None:
    templates = indexed.client.indices.get_index_template(name=ALIAS)["index_templates"]
    (template,) = [entry["index_template"] for entry in templates]
    assert template["template"]["mappings"]["dynamic"] in {False, "false"}
    declared = template["template"]["mappings"]["properties"]
    mappings = indexed.client.indices.get_mapping(index=f"{ALIAS}-*")
    assert set(mappings) == {index for index, _ in indexed.documents}
    for mapping in mappings.values():
        assert mapping["mappings"]["dynamic"] == "false"
        assert mapping["mappings"]["properties"].keys() == declared.keys()
    assert set(indexed.client.indices.get_alias(name=ALIAS)) == set(mappings)


def test_what_is_no_outcome_is_a_dead_letter_and_stops_nothing(indexed: Indexed) -> None:
    foreign = indexed.foreign
    refused = {foreign[name] for name in NO_OUTCOMES}
    assert indexed.letters.keys() == refused, {
        name for name, place in foreign.items() if (place in refused) != (place in indexed.letters)
    }
    for letter in indexed.letters.values():
        body = letter.json()
        assert letter.header("reason") == body["reason"].encode()
        assert body["source"]["topic"] == ALIAS
        assert body["detail"]
    reasons = {name: indexed.letters[foreign[name]].json()["reason"] for name in NO_OUTCOMES}
    assert (reasons["tombstone"], reasons["no JSON"], reasons["an array"]) == ("empty", "not_json", "not_object")
    assert (reasons["no field"], reasons["refused by the engine"]) == ("missing_field", "poison")
    assert any(name.endswith(":last") for _, name in indexed.documents)


def test_the_roles_end_in_order(indexed: Indexed) -> None:
    for role in indexed.pipeline.roles:
        assert role.stop() == 0, role.log()
        assert "Traceback" not in role.log()
    assert indexed.outcomes == read_all(indexed.pipeline, "processed_transactions")
