"""What OpenSearch Dashboards would ask the engine for a panel, made from its saved object alone."""

from __future__ import annotations

import json
import math
import re


def state_of(saved):
    return json.loads(saved["attributes"]["visState"])


def source_of(saved):
    return json.loads(saved["attributes"]["kibanaSavedObjectMeta"]["searchSourceJSON"])


def pattern_of(saved, objects):
    """The index pattern that a visualization or search refers to."""
    name = source_of(saved)["indexRefName"]
    (wanted,) = [reference["id"] for reference in saved["references"] if reference["name"] == name]
    (pattern,) = [one for one in objects if (one["type"], one["id"]) == ("index-pattern", wanted)]
    return pattern["attributes"]


def parts_of(state):
    """Metrics and buckets of a `visState`, in their order."""
    metrics = [agg for agg in state["aggs"] if agg["schema"] == "metric"]
    buckets = [agg for agg in state["aggs"] if agg["schema"] != "metric"]
    return metrics, buckets


def request(saved, objects, time_from_ms, time_to_ms):
    """The search request of a panel over a time range."""
    pattern, query = pattern_of(saved, objects), source_of(saved)["query"]
    when = {"gte": time_from_ms, "lte": time_to_ms, "format": "epoch_millis"}
    clauses = [{"range": {pattern["timeFieldName"]: when}}]
    assert query["language"] == "lucene"
    if query["query"]:
        clauses.append({"query_string": {"query": query["query"], "analyze_wildcard": True}})
    metrics, buckets = parts_of(state_of(saved))
    return {
        "size": 0,
        "track_total_hits": True,
        "query": {"bool": {"filter": clauses}},
        "aggs": {**_nested(metrics, []), **_nested(metrics, buckets)},
    }


def _nested(metrics, buckets):
    if not buckets:
        return {agg["id"]: _metric(agg) for agg in metrics if agg["type"] != "count"}
    first, *rest = buckets
    # Each level has the metrics too: that of the order at least.
    below = {**_nested(metrics, []), **_nested(metrics, rest)}
    return {first["id"]: {**_bucket(first, metrics), "aggs": below}}


def _metric(agg):
    return {agg["type"]: {name: agg["params"][name] for name in ("field", "percents") if name in agg["params"]}}


def _bucket(agg, metrics):
    params = agg["params"]
    if agg["type"] == "date_histogram":
        assert params["interval"] == "auto"
        return {"date_histogram": {"field": params["field"], "fixed_interval": "3h", "min_doc_count": 1}}
    if agg["type"] == "histogram":
        return {"histogram": {"field": params["field"], "interval": params["interval"], "min_doc_count": 1}}
    if agg["type"] == "terms":
        order = {order_key(params, metrics): params["order"]}
        return {"terms": {"field": params["field"], "size": params["size"], "order": order}}
    return {agg["type"]: {"field": params["field"], "ranges": params["ranges"]}}


def order_key(params, metrics):
    """What terms are ordered by, as the engine says it."""
    if params["orderBy"] == "_key":
        return "_key"
    (metric,) = [agg for agg in metrics if agg["id"] == params["orderBy"]]
    return "_count" if metric["type"] == "count" else metric["id"]


def answered(answer, metrics, buckets):
    """An answer as nested dictionaries: (count, metrics by id, {key: the same below})."""
    total = answer["hits"]["total"]["value"]
    return _level(total, answer.get("aggregations", {}), metrics, buckets)


def _level(count, found, metrics, buckets):
    values = {agg["id"]: _value(found.get(agg["id"])) for agg in metrics if agg["type"] != "count"}
    if not buckets:
        return count, values, {}
    first, *rest = buckets
    below = {}
    for key, bucket in zip(_keys(first, found), found[first["id"]]["buckets"], strict=True):
        if bucket["doc_count"]:
            below[key] = _level(bucket["doc_count"], bucket, metrics, rest)
    return count, values, below


def _keys(agg, found):
    """Of ranges, their positions as declared: the engine sorts them by where they begin."""
    if "range" not in agg["type"]:
        return [bucket["key"] for bucket in found[agg["id"]]["buckets"]]
    ranges = agg["params"]["ranges"]
    return sorted(range(len(ranges)), key=lambda at: _begin(ranges[at].get("from")))


def _begin(end):
    if end is None:
        return -math.inf
    if isinstance(end, str):
        match = re.fullmatch(r"now-([0-9]+)([hd])", end)
        return -int(match[1]) * {"h": 1, "d": 24}[match[2]]
    return end


def _value(found):
    if found is None:
        return None
    return found["values"] if "values" in found else found["value"]
