"""Retention on a real OpenSearch: whole days by exact name; and the policy, against what the plug-in answers."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from sinks.daily import daily_name, outcome_indices
from sinks.index_template import setup_index
from sinks.opensearch import connect
from sinks.retention import delete_expired, ensure_policy, find_expired

DAY_MS = 86_400_000
NOW_MS = 1_767_355_200_000  # 2026-01-02, noon
OLD = ["processed_transactions-2025.12.30", "processed_transactions_g2-2025.12.29", "dead_letters-2025.12.30"]
KEPT = [
    "processed_transactions-2025.12.31",
    "processed_transactions-2026.01.02",
    "processed_transactions-2025.12.32",
    "processed_transactions-notes",
    "processed_transactions-2025.12.30-copy",
    "processed_transactionsx-2025.12.30",
    "fraud_labels-standing",
    "operations-2025.12.31",
]


@pytest.fixture
def prefix(unique, opensearch_client):
    setup_index(opensearch_client, unique)
    yield unique
    opensearch_client.indices.delete(index=f"{unique}*,other-{unique}*", params={"ignore_unavailable": "true"})
    opensearch_client.indices.delete_index_template(name=f"{unique}*", ignore=404)


def names(client, prefix):
    return {name.removeprefix(prefix) for name in client.indices.get(index=f"{prefix}*")}


def test_whole_days_go_by_exact_name_and_nothing_else(opensearch_client, prefix):
    for name in (*OLD, *KEPT):
        opensearch_client.indices.create(index=f"{prefix}{name}")
    older = f"{prefix}processed_transactions-older"
    for number, days in enumerate((1, 5)):
        indexed = f"2026-01-0{2 - days}T00:00:00Z" if days == 1 else "2025-12-28T00:00:00Z"
        opensearch_client.index(index=older, id=str(number), body={"indexed_at": indexed}, refresh="true")
    foreign = f"other-{prefix}processed_transactions-2025.12.01"
    opensearch_client.indices.create(index=foreign)
    there = names(opensearch_client, prefix)

    expired = find_expired(opensearch_client, prefix, days=2, now_ms=NOW_MS)
    assert expired.indices == sorted(f"{prefix}{name}" for name in OLD)
    assert (expired.older, expired.older_documents) == ([older], 1)
    assert names(opensearch_client, prefix) == there  # looking changes nothing

    opensearch_client.indices.delete(index=expired.indices[0])  # gone meanwhile
    delete_expired(opensearch_client, expired, days=2, now_ms=NOW_MS)
    assert names(opensearch_client, prefix) == {*KEPT, "processed_transactions-older"}
    assert opensearch_client.indices.exists(index=foreign)
    assert opensearch_client.count(index=older)["count"] == 1
    again = find_expired(opensearch_client, prefix, days=2, now_ms=NOW_MS)
    assert (again.indices, again.older_documents) == ([], 0)


def test_generations_are_told_apart(opensearch_client, prefix):
    opensearch_client.indices.create(index=f"{prefix}processed_transactions-2026.01.01")
    opensearch_client.indices.create(index=f"{prefix}processed_transactions_g3-2026.01.01")
    seen = {
        one.name.removeprefix(prefix): (one.generation, one.is_read)
        for one in outcome_indices(opensearch_client, prefix)
    }
    assert seen == {
        "processed_transactions-2026.01.01": (1, True),
        "processed_transactions_g3-2026.01.01": (3, False),
    }
    for name in ("a_g2-processed_transactions-older", "processed_transactions-2026.01.01"):
        assert daily_name(name) == name
    assert daily_name("processed_transactions_g12-older") == "processed_transactions-older"


def test_an_engine_without_the_plug_in_is_said(opensearch_client, prefix):
    assert "no Index State Management" in ensure_policy(opensearch_client, prefix, 90)


class Plugin(BaseHTTPRequestHandler):
    """Keeps one policy, as the plug-in does."""

    stored: dict | None = None
    puts: list

    def do_GET(self):
        kept = type(self).stored
        self._say(200, kept) if kept else self._say(404, {"error": {"type": "status_exception"}, "status": 404})

    def do_PUT(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        type(self).puts.append(self.path)
        body["policy"]["ism_template"] = [{**one, "last_updated_time": 1} for one in body["policy"]["ism_template"]]
        type(self).stored = {"_seq_no": 7, "_primary_term": 2, "policy": body["policy"]}
        self._say(200, type(self).stored)

    def _say(self, status, body):
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        """Say nothing."""


def test_a_policy_is_stored_kept_and_changed():
    handler = type("Handler", (Plugin,), {"stored": None, "puts": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    client = connect(f"http://127.0.0.1:{server.server_address[1]}")
    try:
        said = [ensure_policy(client, "eu-", days) for days in (90, 90, 30)]
    finally:
        client.close()
        server.shutdown()
        server.server_close()
    assert said == ["stored, 90 days", "in place, 90 days", "changed, 30 days"]
    path = "/_plugins/_ism/policies/eu-fraudstream-retention"
    assert handler.puts == [path, f"{path}?if_seq_no=7&if_primary_term=2"]
    policy = handler.stored["policy"]
    assert policy["states"][0]["transitions"][0]["conditions"] == {"min_index_age": "31d"}
    (template,) = policy["ism_template"]
    assert template["index_patterns"][0] == "eu-processed_transactions-2*"
