"""The saved objects against the rules of OpenSearch Dashboards 3.x, and against the index templates."""

from __future__ import annotations

import json
import re
from itertools import pairwise

import pytest
import yaml

from dashboards.content import DASHBOARDS, patterns
from dashboards.saved_objects import ndjson, saved_objects
from sinks.index_template import OUTCOMES
from sinks.side_indices import DEAD_LETTERS, GIVEN, OPERATIONS, STANDING
from tests.dashboards.compiled import order_key, parts_of, pattern_of, source_of, state_of

OBJECTS = saved_objects("eu-", "https://review.example.org/")
each = pytest.mark.parametrize("saved", OBJECTS, ids=lambda saved: f"{saved['type']}:{saved['id']}")
VISUALIZATIONS = [one for one in OBJECTS if one["type"] == "visualization"]
each_visualization = pytest.mark.parametrize("saved", VISUALIZATIONS, ids=lambda saved: saved["id"])

# By type: last migration, attributes that must be there, attributes that may be.
RULES = {
    "index-pattern": ("7.6.0", {"title", "timeFieldName"}, {"fieldFormatMap"}),
    "visualization": (
        "7.10.0",
        {"title", "description", "version", "visState", "uiStateJSON", "kibanaSavedObjectMeta"},
        {"savedSearchRefName"},
    ),
    "search": (
        "7.9.3", {"title", "description", "hits", "columns", "sort", "version", "kibanaSavedObjectMeta"}, set(),
    ),
    "dashboard": (
        "7.9.3",
        {
            "title", "description", "hits", "version", "panelsJSON", "optionsJSON", "timeRestore", "timeFrom", "timeTo",
            "refreshInterval", "kibanaSavedObjectMeta",
        },
        set(),
    ),
}  # fmt: skip
SCHEMAS = {
    "metric": {"metric", "group"},
    "line": {"metric", "segment", "group"},
    "histogram": {"metric", "segment", "group"},
    "horizontal_bar": {"metric", "segment", "group"},
    "pie": {"metric", "segment"},
    "table": {"metric", "bucket", "split"},
    "heatmap": {"metric", "segment", "group"},
    "markdown": set(),
    "input_control_vis": set(),
}
NUMBERS = {"long", "integer", "short", "byte", "double", "float"}
KINDS = {
    "avg": NUMBERS, "sum": NUMBERS, "histogram": NUMBERS, "range": NUMBERS,
    "min": NUMBERS | {"date"}, "max": NUMBERS | {"date"}, "percentiles": NUMBERS | {"date"},
    "date_histogram": {"date"}, "date_range": {"date"},
    "terms": NUMBERS | {"keyword", "date", "boolean", "ip"}, "cardinality": NUMBERS | {"keyword", "date", "ip"},
}  # fmt: skip
MAPPINGS = {
    f"eu-{kind.alias}": kind.mappings(1)["properties"] for kind in (OUTCOMES, STANDING, GIVEN, DEAD_LETTERS, OPERATIONS)
}


def field_of(properties, path):
    """The mapping of a field; an unknown one ends the test."""
    *parents, name = path.split(".")
    for parent in parents:
        assert parent in properties, path
        properties = properties[parent]["properties"]
    assert name in properties, path
    return properties[name]


def texts_of(value):
    """Every text in an object that must be JSON."""
    for name, inner in value.items():
        if isinstance(inner, dict):
            yield from texts_of(inner)
        elif name in {"visState", "uiStateJSON", "searchSourceJSON", "panelsJSON", "optionsJSON", "fieldFormatMap"}:
            yield name, inner


@each
def test_an_object_has_what_its_type_allows(saved):
    version, needed, allowed = RULES[saved["type"]]
    assert set(saved) == {"type", "id", "attributes", "references", "migrationVersion"}
    assert saved["migrationVersion"] == {saved["type"]: version}
    assert needed <= set(saved["attributes"]) <= needed | allowed
    assert re.fullmatch(r"eu-fraud-[a-z-]+", saved["id"])
    for _, text in texts_of(saved["attributes"]):
        assert isinstance(json.loads(text), dict | list)


def test_ids_are_unique_and_the_file_is_small_enough():
    raw = ndjson(OBJECTS)
    lines = [json.loads(line) for line in raw.splitlines()]
    assert lines == OBJECTS
    assert len({(one["type"], one["id"]) for one in lines}) == len(lines) <= 10_000
    assert len({one["id"] for one in lines}) == len(lines)
    assert len(raw) < 25 * 1024 * 1024


@each
def test_references_lead_somewhere_and_each_is_used(saved):
    there = {(one["type"], one["id"]) for one in OBJECTS}
    assert {(reference["type"], reference["id"]) for reference in saved["references"]} <= there
    used = re.findall(r'"(?:indexRefName|panelRefName|indexPatternRefName)":\s*"([^"]+)"', "".join(
        text for _, text in texts_of(saved["attributes"])
    ))  # fmt: skip
    assert sorted(used) == sorted(reference["name"] for reference in saved["references"])


@pytest.mark.parametrize("saved", [one for one in OBJECTS if one["type"] == "dashboard"], ids=lambda saved: saved["id"])
def test_panels_fit_the_grid_and_do_not_overlap(saved):
    panels = json.loads(saved["attributes"]["panelsJSON"])
    taken = set()
    for panel in panels:
        grid = panel["gridData"]
        assert grid["i"] == panel["panelIndex"]
        assert 0 <= grid["x"] < grid["x"] + grid["w"] <= 48
        cells = {
            (x, y) for x in range(grid["x"], grid["x"] + grid["w"]) for y in range(grid["y"], grid["y"] + grid["h"])
        }
        assert not cells & taken
        taken |= cells
    assert len({panel["panelIndex"] for panel in panels}) == len(panels)


@each_visualization
def test_a_visualization_is_of_a_known_form(saved):
    state = state_of(saved)
    assert state["title"] == saved["attributes"]["title"]
    metrics, buckets = parts_of(state)
    assert {agg["schema"] for agg in state["aggs"]} <= SCHEMAS[state["type"]]
    ids = [agg["id"] for agg in state["aggs"]]
    assert all(isinstance(name, str) for name in ids)
    assert len(set(ids)) == len(ids)
    if SCHEMAS[state["type"]]:
        assert metrics
    if state["type"] in {"line", "histogram", "horizontal_bar"}:
        assert [one["data"]["id"] for one in state["params"]["seriesParams"]] == [agg["id"] for agg in metrics]
        assert [agg["schema"] for agg in buckets].count("segment") == 1
    if state["type"] in {"pie", "heatmap", "gauge"}:
        assert len(metrics) == 1
        assert metrics[0]["type"] != "percentiles"
    if state["type"] == "metric":
        assert set(state["params"]["metric"]) >= {"style", "colorsRange", "labels"}
        assert len(buckets) <= 1
    for agg in buckets:
        if agg["type"] == "terms":
            order_key(agg["params"], metrics)
            # Percentiles have no value to order by.
            assert metrics[0]["type"] != "percentiles" or agg["params"]["orderBy"] == "_key"


@each_visualization
def test_every_field_is_in_the_template_and_of_a_kind_that_fits(saved):
    state = state_of(saved)
    for at, control in enumerate(state["params"].get("controls", ())):
        kind = field_of(MAPPINGS["eu-processed_transactions"], control["fieldName"])["type"]
        assert kind in (NUMBERS if control["type"] == "range" else {"keyword"})
        assert control["indexPatternRefName"] == f"control_{at}_index_pattern"
    for agg in state["aggs"]:
        if agg["type"] != "count":
            pattern = pattern_of(saved, OBJECTS)
            field = field_of(MAPPINGS[pattern["title"]], agg["params"]["field"])
            assert field["type"] in KINDS[agg["type"]], agg
            assert field.get("doc_values", True)


@pytest.mark.parametrize(
    "saved",
    [one for one in OBJECTS if one["type"] in {"visualization", "search"} and one["references"]],
    ids=lambda saved: saved["id"],
)
def test_every_field_of_a_query_is_searchable(saved):
    if (state := saved["attributes"].get("visState")) and json.loads(state)["type"] == "input_control_vis":
        return  # its fields have a test of their own
    properties = MAPPINGS[pattern_of(saved, OBJECTS)["title"]]
    query = source_of(saved)["query"]
    assert query["language"] == "lucene"
    for field in re.findall(r"_exists_:([\w.]+)|([\w.]+):", query["query"]):
        assert field_of(properties, next(filter(None, field))).get("index", True)
    assert not re.search(r"[<>]=?", query["query"]), "that is the other query language"
    for name in (*saved["attributes"].get("columns", ()), *(pair[0] for pair in saved["attributes"].get("sort", ()))):
        field_of(properties, name)


def test_formats_and_time_fields_are_of_fields_that_are_there():
    for saved in (one for one in OBJECTS if one["type"] == "index-pattern"):
        attributes = saved["attributes"]
        properties = MAPPINGS[attributes["title"]]
        assert field_of(properties, attributes["timeFieldName"])["type"] == "date"
        for name in json.loads(attributes.get("fieldFormatMap", "{}")):
            field_of(properties, name)


def test_cards_link_to_the_console_and_to_nothing_without_one():
    (outcomes, *_) = (one["attributes"] for one in OBJECTS if one["type"] == "index-pattern")
    link = json.loads(outcomes["fieldFormatMap"])["card_id"]["params"]["urlTemplate"]
    assert link.startswith("https://review.example.org/")
    assert link.count("{{value}}") == 1
    assert all("card_id" not in pattern.formats for pattern in patterns(""))


def test_the_version_is_the_engines(request):
    compose = yaml.safe_load((request.config.rootpath / "docker-compose.yml").read_text())["services"]
    engine, screens = (compose[name]["image"].rpartition(":")[2] for name in ("opensearch", "dashboards"))
    assert engine == screens
    assert re.fullmatch(r"3\.\d+\.\d+", engine)


# The ten panels of the reference, and which of ours tells the same.
REFERENCE = {
    "transactions": ("count", None), "amount": ("sum", "amount"), "amount-blocked": ("sum", "amount"),
    "blocked": ("count", None), "outcomes": ("count", None), "blocked-currency": ("count", None),
    "latency-blocked": ("avg", "fraud.latency_ms"), "latency-all": ("avg", "fraud.latency_ms"),
    "country": ("count", None), "amount-time": ("sum", "amount"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "metric"), REFERENCE.items())
def test_the_ten_panels_of_the_reference_are_there(name, metric):
    (saved,) = [one for one in OBJECTS if one["id"] == f"eu-fraud-{name}"]
    (agg,) = parts_of(state_of(saved))[0]
    assert (agg["type"], agg["params"].get("field")) == metric


def test_the_four_dashboards_and_their_order():
    assert [dashboard.id for dashboard in DASHBOARDS] == ["overview", "card", "operations", "review"]
    positions = [OBJECTS.index(one) for one in OBJECTS if one["type"] == "dashboard"]
    # What is referred to stands before what refers to it.
    assert all(first + 1 == second for first, second in pairwise(positions))
    assert positions[-1] == len(OBJECTS) - 1
