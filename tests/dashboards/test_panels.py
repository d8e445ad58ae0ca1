"""Every panel, asked of a real OpenSearch as its saved object says, against a count in Python; and the strict store."""

from __future__ import annotations

import time

import pytest
from opensearchpy import OpenSearch
from opensearchpy.helpers import bulk, scan

from dashboards.saved_objects import saved_objects
from tests.dashboards import compiled, counted
from tests.dashboards.seeded import DAY_MS, seed
from tests.search import PatientTransport

PREFIX = "panels-"
OBJECTS = saved_objects(PREFIX, "http://localhost:8800")
ASKED = [
    one
    for one in OBJECTS
    if one["type"] == "visualization" and compiled.state_of(one)["type"] not in {"markdown", "input_control_vis"}
]
SEARCHES = [one for one in OBJECTS if one["type"] == "search"]


@pytest.fixture(scope="module")
def demo(servers):
    """A client, when the panels are looked at, and every document by the alias of its pattern."""
    client = OpenSearch(servers.env()["FRAUD_OPENSEARCH_URL"], timeout=60, transport_class=PatientTransport)
    now_ms = int(time.time() * 1000)
    seed(client, PREFIX, now_ms)
    aliases = {one["attributes"]["title"] for one in OBJECTS if one["type"] == "index-pattern"}
    documents = {alias: [hit["_source"] for hit in scan(client, index=alias)] for alias in aliases}
    yield client, now_ms, documents
    client.indices.delete(index=f"{PREFIX}*")
    client.indices.delete_index_template(name=f"{PREFIX}*")
    client.close()


def in_view(documents, pattern, query, now_ms):
    """What the time range and the query leave; returns how many the time range left out, too."""
    timed = pattern["timeFieldName"]
    recent = [d for d in documents if now_ms - 12 * DAY_MS <= counted.ms(d[timed]) <= now_ms]
    return [d for d in recent if counted.matches(d, query)], len(documents) - len(recent)


def same(engine, python):
    """Whether two nested results are equal: counts exactly, sums and means up to rounding, percentiles by rank."""
    (count, numbers, below), (expected, wanted, parts) = engine, python
    assert count == expected
    for name, number in numbers.items():
        if isinstance(number, dict):
            assert all(low <= number[percent] <= high for percent, (low, high) in wanted[name].items())
        else:
            assert number == pytest.approx(wanted[name])
    assert below.keys() == parts.keys()
    for key, child in below.items():
        same(child, parts[key])


@pytest.mark.parametrize("saved", ASKED, ids=lambda saved: saved["id"])
def test_a_panel_shows_what_a_count_says(saved, demo):
    client, now_ms, documents = demo
    pattern = compiled.pattern_of(saved, OBJECTS)
    metrics, buckets = compiled.parts_of(compiled.state_of(saved))
    body = compiled.request(saved, OBJECTS, now_ms - 12 * DAY_MS, now_ms)
    answer = client.search(index=pattern["title"], body=body)
    assert answer["_shards"]["failed"] == 0
    found = compiled.answered(answer, metrics, buckets)
    kept, _ = in_view(documents[pattern["title"]], pattern, compiled.source_of(saved)["query"]["query"], now_ms)
    assert kept, "nothing is seeded for this panel"
    assert found[0] > 0
    assert bool(found[2]) == bool(buckets)
    same(found, counted.counted(kept, metrics, buckets, now_ms))


@pytest.mark.parametrize("saved", SEARCHES, ids=lambda saved: saved["id"])
def test_a_search_finds_documents_with_its_columns(saved, demo):
    client, _, documents = demo
    pattern, query = compiled.pattern_of(saved, OBJECTS), compiled.source_of(saved)["query"]["query"]
    (field, direction) = saved["attributes"]["sort"][0]
    body = {"size": 1000, "sort": [{field: direction}], "query": {"query_string": {"query": query or "*"}}}
    hits = [hit["_source"] for hit in client.search(index=pattern["title"], body=body)["hits"]["hits"]]
    assert len(hits) == sum(counted.matches(one, query) for one in documents[pattern["title"]])
    for column in saved["attributes"]["columns"]:
        assert any(counted.values_of(hit, column) for hit in hits), column


def test_the_time_range_leaves_something_out(demo):
    _, now_ms, documents = demo
    pattern = {"timeFieldName": "event_time"}
    _, left_out = in_view(documents[f"{PREFIX}processed_transactions"], pattern, "", now_ms)
    assert left_out > 0


# What OpenSearch Dashboards 3.x maps, strictly: an attribute that is not here is refused.
META = {"properties": {"searchSourceJSON": {"type": "text"}}}
TEXT, KEYWORD, INTEGER = {"type": "text"}, {"type": "keyword"}, {"type": "integer"}
ATTRIBUTES = {
    "visualization": {
        "title": TEXT, "description": TEXT, "version": INTEGER, "visState": TEXT, "uiStateJSON": TEXT,
        "savedSearchRefName": KEYWORD, "kibanaSavedObjectMeta": META,
    },
    "search": {
        "title": TEXT, "description": TEXT, "hits": INTEGER, "columns": KEYWORD, "sort": KEYWORD, "version": INTEGER,
        "kibanaSavedObjectMeta": META,
    },
    "dashboard": {
        "title": TEXT, "description": TEXT, "hits": INTEGER, "version": INTEGER, "panelsJSON": TEXT,
        "optionsJSON": TEXT, "timeRestore": {"type": "boolean"}, "timeFrom": KEYWORD, "timeTo": KEYWORD,
        "refreshInterval": {"properties": {"pause": {"type": "boolean"}, "value": INTEGER}},
        "kibanaSavedObjectMeta": META,
    },
}  # fmt: skip


def test_the_strict_store_of_dashboards_takes_every_object(demo):
    client, _, _ = demo
    index = f"{PREFIX}dot-dashboards"
    properties = {
        "type": KEYWORD,
        "migrationVersion": {"dynamic": "true", "type": "object"},
        "references": {"type": "nested", "properties": {"id": KEYWORD, "name": KEYWORD, "type": KEYWORD}},
        "index-pattern": {"dynamic": "false", "type": "object"},
        **{kind: {"properties": attributes} for kind, attributes in ATTRIBUTES.items()},
    }
    client.indices.create(index=index, body={"mappings": {"dynamic": "strict", "properties": properties}})
    actions = [
        {
            "_index": index,
            "_id": f"{one['type']}:{one['id']}",
            "_source": {
                "type": one["type"],
                one["type"]: one["attributes"],
                "references": one["references"],
                "migrationVersion": one["migrationVersion"],
            },
        }
        for one in OBJECTS
    ]
    stored, errors = bulk(client, actions, raise_on_error=False)
    assert errors == []
    assert stored == len(OBJECTS)
    odd = {**actions[-1]["_source"], "dashboard": {"variablesJSON": "[]"}}
    _, errors = bulk(client, [{"_index": index, "_id": "odd", "_source": odd}], raise_on_error=False)
    assert len(errors) == 1
