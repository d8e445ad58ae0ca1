"""Template and bulk writing against a real OpenSearch, directly and through a proxy that misbehaves as told."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import socket
import subprocess
import threading
import time
from functools import partial

import msgspec
import pytest
from structlog.testing import capture_logs

from features.errors import ConfigError, IndexingError, ServerUnavailable
from features.outage import Outage
from sinks import index_template
from sinks.bulk import BulkWriter, back_off
from sinks.documents import Document, outcome_document
from sinks.index_template import setup_index
from sinks.opensearch import connect, mapped_errors
from tests.opensearch_proxy import DROP, HOST, Proxy, answer
from tests.outcome_examples import REVERSAL, WHOLE_OUTCOME
from tests.support import wait_until

DEADLINE_S = 60


@pytest.fixture
def prefix(unique, opensearch_client):
    """An index prefix of this test's own; what it made is deleted afterwards."""
    yield unique
    opensearch_client.indices.delete(index=f"{unique}*", params={"ignore_unavailable": "true"})
    opensearch_client.indices.delete_index_template(name=f"{unique}*", ignore=404)


@pytest.fixture
def ready(opensearch_client, prefix):
    setup_index(opensearch_client, prefix)
    return opensearch_client


@pytest.fixture
def proxy(servers):
    with Proxy(servers.env()["FRAUD_OPENSEARCH_URL"]) as running:
        yield running


def document(prefix, number, *, day="2026.01.02", **fields):
    body = {"transaction_id": f"tx-{number}", "card_id": "tok_a", "amount": 12.3, "currency": "EUR"} | fields
    return Document(f"{prefix}processed_transactions-{day}", f"tok_a:tx-{number}", msgspec.json.encode(body))


def scored(prefix, number, score, **fields):
    return document(prefix, number, fraud={"score": score}, **fields)


def write(client, prefix, documents, **options):
    away = Outage("opensearch", "FRAUD_OPENSEARCH_URL")
    writer = BulkWriter(client, partial(setup_index, client, prefix), away, max_wait_s=0.5, **options)
    return asyncio.run(asyncio.wait_for(writer.write(documents), DEADLINE_S))


def stored(client, prefix, query="*"):
    """Sources of the documents that a query finds through the alias, by id."""
    alias = f"{prefix}processed_transactions"
    client.indices.refresh(index=alias)
    hits = client.search(index=alias, body={"size": 5000, "query": {"query_string": {"query": query}}})["hits"]["hits"]
    return {hit["_id"]: hit["_source"] for hit in hits}


# --- the template


def test_setup_is_idempotent(opensearch_client, prefix):
    for _ in range(2):
        setup_index(opensearch_client, prefix)
    (answered,) = opensearch_client.indices.get_index_template(name=f"{prefix}processed_transactions")[
        "index_templates"
    ]
    assert answered["index_template"]["version"] == index_template.VERSION


def test_only_declared_fields_are_searchable(ready, prefix):
    assert write(ready, prefix, [document(prefix, 1, surprise="yes", fraud={"features": {"f": 0.1}})]) == []
    assert list(stored(ready, prefix, "currency:EUR")) == ["tok_a:tx-1"]
    assert stored(ready, prefix, "surprise:yes") == {}
    (index,) = ready.indices.get_mapping(index=f"{prefix}*").values()
    assert "surprise" not in index["mappings"]["properties"]
    assert stored(ready, prefix)["tok_a:tx-1"]["surprise"] == "yes"


def test_every_field_takes_what_the_contract_says(ready, prefix):
    documents = [outcome_document(value, index_prefix=prefix, indexed_at_ms=0) for value in (WHOLE_OUTCOME, REVERSAL)]
    assert write(ready, prefix, documents) == []
    for query in (
        "fraud.reasons.code:R02",
        "fraud.is_block:1",
        "fraud.source.offset:9007199254740993",
        "ip_address:[192.0.2.0 TO 192.0.2.255]",
        "event_time:[2026-01-02 TO 2026-01-03] AND fraud.score:912",
        "amount_minor:1230",
        "fraud.dropped_fields:email",
    ):
        assert list(stored(ready, prefix, query)) == ["tok_a:tx-1"], query
    assert list(stored(ready, prefix, "fraud.reversed:tx\\-1")) == ["tok_a:rv-1"]


def test_an_odd_address_is_no_reason_to_refuse(ready, prefix):
    assert write(ready, prefix, [document(prefix, 1, ip_address="not an address")]) == []
    assert stored(ready, prefix)["tok_a:tx-1"]["ip_address"] == "not an address"


def test_the_longest_strings_stay_searchable(ready, prefix):
    name = "€" * 256
    assert write(ready, prefix, [document(prefix, 1, merchant_id=name)]) == []
    assert list(stored(ready, prefix, f'merchant_id:"{name}"')) == ["tok_a:tx-1"]


def test_an_upgrade_reaches_the_indices_that_exist(ready, prefix, monkeypatch):
    write(ready, prefix, [document(prefix, 1)])
    with monkeypatch.context() as newer:
        newer.setattr(index_template, "VERSION", index_template.VERSION + 1)
        newer.setitem(index_template._PROPERTIES, "added", {"type": "keyword"})
        setup_index(ready, prefix)
    write(ready, prefix, [document(prefix, 2, added="yes")])
    assert list(stored(ready, prefix, "added:yes")) == ["tok_a:tx-2"]
    # An older worker that starts later takes nothing back.
    setup_index(ready, prefix)
    (answered,) = ready.indices.get_index_template(name=f"{prefix}processed_transactions")["index_templates"]
    assert answered["index_template"]["version"] == index_template.VERSION + 1


def test_an_index_in_the_place_of_the_alias_is_refused_loudly(opensearch_client, prefix):
    opensearch_client.indices.create(index=f"{prefix}processed_transactions")
    with pytest.raises(IndexingError, match="same name as the alias"):
        setup_index(opensearch_client, prefix)


def test_an_index_of_another_mapping_is_refused_loudly(opensearch_client, prefix):
    opensearch_client.indices.create(
        index=f"{prefix}processed_transactions-2026.01.02",
        body={"mappings": {"properties": {"card_id": {"type": "long"}}}},
    )
    with pytest.raises(IndexingError, match="card_id"):
        setup_index(opensearch_client, prefix)


# --- writing


def test_a_replay_overwrites_itself(ready, prefix):
    documents = [document(prefix, number, day=f"2026.01.0{1 + number % 3}") for number in range(30)]
    for _ in range(2):
        assert write(ready, prefix, documents) == []
    assert len(stored(ready, prefix)) == 30


def test_nothing_to_write_asks_nothing(proxy, prefix):
    assert write(connect(proxy.url), prefix, []) == []
    assert proxy.bulks == []


def test_the_last_of_one_id_stays(ready, prefix):
    documents = [scored(prefix, 1, score) for score in (10, 20, 30)]
    assert write(ready, prefix, documents, max_documents=1) == []
    assert stored(ready, prefix)["tok_a:tx-1"]["fraud"]["score"] == 30


def test_where_the_last_is_refused_the_one_before_stays(ready, prefix):
    documents = [scored(prefix, 1, score) for score in (10, 20, 99_999)] + [scored(prefix, 2, 40)]
    (refusal,) = write(ready, prefix, documents)
    assert refusal.position == 2
    assert {id_: source["fraud"]["score"] for id_, source in stored(ready, prefix).items()} == {
        "tok_a:tx-1": 20,
        "tok_a:tx-2": 40,
    }


def test_requests_are_bounded_by_count(ready, proxy, prefix):
    assert write(connect(proxy.url), prefix, [document(prefix, number) for number in range(25)], max_documents=10) == []
    assert sorted(body.count(b"\n") // 2 for body in proxy.bulks) == [5, 10, 10]
    assert len(stored(ready, prefix)) == 25


def test_requests_are_bounded_by_bytes_and_a_larger_document_travels_alone(ready, proxy, prefix):
    documents = [document(prefix, number, note="x" * size) for number, size in enumerate((400, 400, 5000, 400))]
    assert write(connect(proxy.url), prefix, documents, max_bytes=2000) == []
    assert sorted(body.count(b"\n") // 2 for body in proxy.bulks) == [1, 1, 2]
    assert len(stored(ready, prefix)) == 4


def test_two_requests_are_under_way_at_once(ready, proxy, prefix):
    meeting = threading.Barrier(2)
    proxy.script.extend([meeting, meeting])
    assert write(connect(proxy.url), prefix, [document(prefix, number) for number in range(20)], max_documents=10) == []
    assert not meeting.broken
    assert len(proxy.bulks) == 2
    assert len(stored(ready, prefix)) == 20


def test_the_refusals_of_requests_under_way_at_once_keep_their_order(ready, prefix):
    documents = [scored(prefix, number, 99_999 if number % 3 == 0 else 1) for number in range(12)]
    refusals = write(ready, prefix, documents, max_documents=2)
    assert [refusal.position for refusal in refusals] == [0, 3, 6, 9]
    assert len(stored(ready, prefix)) == 8


def test_a_refused_document_is_named_without_its_values(ready, prefix):
    documents = [
        scored(prefix, 1, 1),
        scored(prefix, 2, 77_777),
        scored(prefix, 3, 3),
        document(prefix, 4, currency={"an": "object"}),
        document(prefix, 5, fraud="secret-words"),
    ]
    refusals = write(ready, prefix, documents)
    assert [refusal.position for refusal in refusals] == [1, 3, 4]
    assert refusals[0].reason == (
        "mapper_parsing_exception: failed to parse field [fraud.score] of type [short]: input_coercion_exception"
    )
    assert not any("77777" in refusal.reason or "secret" in refusal.reason for refusal in refusals)
    assert sorted(stored(ready, prefix)) == ["tok_a:tx-1", "tok_a:tx-3"]


def test_a_line_that_breaks_the_request_does_not_take_the_others_with_it(ready, prefix):
    documents = [document(prefix, number) for number in range(7)]
    documents[4] = msgspec.structs.replace(documents[4], body=b'{"card_id":\n"tok_a"}')
    (refusal,) = write(ready, prefix, documents)
    assert refusal.position == 4
    assert len(stored(ready, prefix)) == 6


# --- trouble


def test_a_busy_server_is_asked_again(ready, proxy, prefix):
    proxy.script.extend(
        [answer(429, "rejected_execution_exception"), answer(503), answer(502, content_type="text/html")]
    )
    assert write(connect(proxy.url), prefix, [document(prefix, 1)]) == []
    assert len(proxy.bulks) == 4
    assert len(stored(ready, prefix)) == 1


def test_only_the_postponed_documents_are_sent_again(ready, proxy, prefix):
    busy = {"index": {"status": 429, "error": {"type": "rejected_execution_exception"}}}
    bad = {"index": {"status": 400, "error": {"type": "mapper_parsing_exception"}}}
    items = [{"index": {"status": 201}}, busy, bad]
    proxy.script.append((200, "application/json", json.dumps({"errors": True, "items": items}).encode()))
    (refusal,) = write(connect(proxy.url), prefix, [document(prefix, number) for number in range(3)])
    assert refusal.position == 2
    assert proxy.bulks[1].count(b"\n") == 2
    assert list(stored(ready, prefix)) == ["tok_a:tx-1"]


def test_an_outage_is_waited_for(ready, proxy, prefix):
    client = connect(proxy.url)
    proxy.stop()
    with capture_logs() as logged, ThreadOf(write, client, prefix, [document(prefix, 1)]) as writing:
        wait_until(lambda: logged)
        proxy.start()
    assert writing.result == []
    assert len(stored(ready, prefix)) == 1
    went, came = logged
    assert (went["event"], went["variable"]) == ("opensearch_away", "FRAUD_OPENSEARCH_URL")
    assert "does not answer" in went["problem"]
    assert came["event"] == "opensearch_back"
    assert came["after_s"] > 0


def test_after_an_outage_the_template_is_there_again(ready, proxy, prefix):
    ready.indices.delete_index_template(name=f"{prefix}processed_transactions")
    proxy.script.append(DROP)
    assert write(connect(proxy.url), prefix, [document(prefix, 1, surprise="yes")]) == []
    assert stored(ready, prefix, "surprise:yes") == {}
    assert len(stored(ready, prefix, "currency:EUR")) == 1


@pytest.mark.parametrize(
    ("closed", "opened"),
    [
        ({"index.blocks.read_only_allow_delete": True}, {"index.blocks.read_only_allow_delete": None}),
        ({"index.blocks.write": True}, {"index.blocks.write": None}),
    ],
    ids=["disk full", "read-only"],
)
def test_a_block_on_writes_is_waited_out(ready, proxy, prefix, closed, opened):
    write(ready, prefix, [document(prefix, 1)])
    ready.indices.put_settings(index=f"{prefix}*", body=closed)
    with ThreadOf(write, connect(proxy.url), prefix, [document(prefix, 2)]) as writing:
        wait_until(lambda: len(proxy.bulks) >= 2)
        ready.indices.put_settings(index=f"{prefix}*", body=opened)
    assert writing.result == []
    assert len(stored(ready, prefix)) == 2


def test_a_closed_index_is_the_operators_matter_and_no_fault_of_the_document(ready, proxy, prefix):
    write(ready, prefix, [document(prefix, 1)])
    ready.indices.close(index=f"{prefix}processed_transactions-2026.01.02")
    with ThreadOf(write, connect(proxy.url), prefix, [document(prefix, 2)]) as writing:
        wait_until(lambda: len(proxy.bulks) >= 2)
        ready.indices.open(index=f"{prefix}processed_transactions-2026.01.02")
    assert writing.result == []
    assert len(stored(ready, prefix)) == 2


@pytest.mark.parametrize("setting", [{"cluster.max_shards_per_node": 1}, {"action.auto_create_index": False}])
def test_a_cluster_that_makes_no_index_is_waited_for(ready, proxy, prefix, setting):
    write(ready, prefix, [document(prefix, 1)])
    ready.cluster.put_settings(body={"transient": setting})
    try:
        with ThreadOf(write, connect(proxy.url), prefix, [document(prefix, 2, day="2026.01.03")]) as writing:
            wait_until(lambda: len(proxy.bulks) >= 2)
            ready.cluster.put_settings(body={"transient": dict.fromkeys(setting)})
    finally:
        ready.cluster.put_settings(body={"transient": dict.fromkeys(setting)})
    assert writing.result == []
    assert len(stored(ready, prefix)) == 2


def test_a_proxy_with_a_small_limit_gets_smaller_requests(ready, proxy, prefix):
    proxy.max_body = 600
    documents = [document(prefix, number) for number in range(16)]
    documents[5] = document(prefix, 5, note="x" * 1000)
    (refusal,) = write(connect(proxy.url), prefix, documents)
    assert (refusal.position, refusal.reason) == (5, "request_too_large")
    assert len(stored(ready, prefix)) == 15


@pytest.mark.parametrize(
    ("said", "error", "named"),
    [
        (answer(401), ConfigError, "FRAUD_OPENSEARCH_USERNAME"),
        (answer(403, "security_exception"), ConfigError, "FRAUD_OPENSEARCH_PASSWORD"),
        (answer(404, content_type="text/html"), IndexingError, "FRAUD_OPENSEARCH_URL"),
        ((400, "text/html", b"<html>not for https</html>"), IndexingError, "FRAUD_OPENSEARCH_URL"),
        ((200, "text/html", b"<html>hello</html>"), IndexingError, "FRAUD_OPENSEARCH_URL"),
        ((200, "application/json", b'{"hello": 1}'), IndexingError, "FRAUD_OPENSEARCH_URL"),
        ((200, "application/json", b'{"errors": false, "items": []}'), IndexingError, "FRAUD_OPENSEARCH_URL"),
        (
            (
                200,
                "application/json",
                b'{"items": [{"index": {"status": 403, "error": {"type": "security_exception"}}}]}',
            ),
            ConfigError,
            "FRAUD_OPENSEARCH_PASSWORD",
        ),
    ],
)
def test_what_cannot_heal_is_an_error_that_names_the_variable(proxy, prefix, said, error, named):
    proxy.script.append(said)
    with pytest.raises(error, match=named):
        write(connect(proxy.url), prefix, [document(prefix, 1)])


def test_waiting_ends_when_told():
    async def never():
        async for attempt in back_off(Outage("opensearch", "X"), max_wait_s=0.1, give_up_s=0.5):
            with attempt:
                raise ServerUnavailable("FRAUD_OPENSEARCH_URL: away")

    started_s = time.monotonic()
    with pytest.raises(ServerUnavailable, match="away"):
        asyncio.run(never())
    assert time.monotonic() - started_s < 2


# --- the client


@pytest.mark.parametrize(
    "url", ["localhost:9200", "ftp://x", "http://", "http://h:port", "http://[", "https://u:s3cret@:1"]
)
def test_a_url_that_is_none_names_the_variable_and_not_the_password(url):
    with pytest.raises(ConfigError, match="FRAUD_OPENSEARCH_URL") as caught:
        connect(url)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_ca_file_that_is_none_names_the_variable(tmp_path, content):
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match="FRAUD_OPENSEARCH_SSL_CA"):
        connect("https://localhost:9200", ca_path=str(path))


def test_a_server_that_is_away_names_the_variable():
    with socket.socket() as reserved:
        reserved.bind((HOST, 0))
        client = connect(f"http://{HOST}:{reserved.getsockname()[1]}")
        with pytest.raises(ServerUnavailable, match=r"FRAUD_OPENSEARCH_URL.*refused"), mapped_errors():
            client.info()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command to make a certificate")
def test_a_certificate_is_trusted_by_its_authority_alone(proxy, tmp_path):
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    url = proxy.wrap_in_tls(certificate, key)
    assert connect(url, ca_path=str(certificate)).info()["version"]["distribution"] == "opensearch"
    with pytest.raises(ConfigError, match="FRAUD_OPENSEARCH_SSL_CA"), mapped_errors():
        connect(url).info()


def test_credentials_are_sent_in_utf8_and_explicit_ones_win(proxy):
    both = connect(proxy.url.replace("//", "//wrong:wrong@"), username="anna", password="pässwörd→")
    header = both.transport.get_connection().headers["authorization"]
    assert header == "Basic YW5uYTpww6Rzc3fDtnJk4oaS"
    in_url = connect(proxy.url.replace("//", "//anna:p%40ss@"))
    assert in_url.transport.get_connection().headers["authorization"] == "Basic YW5uYTpwQHNz"
    assert in_url.info()["version"]


def test_no_body_and_no_password_in_logs(proxy, prefix, caplog):
    caplog.set_level(logging.DEBUG)
    proxy.script.append(answer(503))
    client = connect(proxy.url.replace("//", "//anna:s3cret@"))
    write(client, prefix, [document(prefix, 1, note="a-word-of-the-body"), scored(prefix, 2, 77_777)])
    logged = " ".join(record.getMessage() for record in caplog.records)
    assert "/_bulk" in logged  # something was logged at all
    for secret in ("s3cret", "a-word-of-the-body", "77777"):
        assert secret not in logged


class ThreadOf(threading.Thread):
    """A call in a thread of its own; leaving the block waits for its result."""

    def __init__(self, function, *args):
        super().__init__(daemon=True)
        self._call = partial(function, *args)
        self.result = None

    def run(self):
        """Make the call."""
        self.result = self._call()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.join(DEADLINE_S)
        assert not self.is_alive()
