"""The same numbers by counting documents in plain Python: an oracle that shares nothing with the engine."""

from __future__ import annotations

import math
import re
from datetime import datetime

import numpy as np

DAY_PART_MS = 3 * 3_600_000
UNITS_MS = {"h": 3_600_000, "d": 86_400_000}


def values_of(document, path):
    """Every value of a field: through objects and lists of them."""
    found = [document]
    for name in path.split("."):
        found = [one[name] for one in found if isinstance(one, dict) and name in one]
        found = [value for one in found for value in (one if isinstance(one, list) else [one])]
    return [value for value in found if value is not None]


def ms(text):
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def matches(document, query):
    """Whether a document is found by a query of the few forms that the panels use."""
    for clause in query.split(" AND ") if query else []:
        field, _, wanted = clause.partition(":")
        if field == "_exists_":
            if not values_of(document, wanted):
                return False
        elif not {str(v) for v in values_of(document, field)} & set(wanted.strip("()").split(" OR ")):
            return False
    return True


def counted(documents, metrics, buckets, now_ms):
    """As `compiled.answered`, of documents that the query and the time range have left."""
    count = len(documents)
    numbers = {agg["id"]: _metric(agg, documents) for agg in metrics if agg["type"] != "count"}
    if not buckets:
        return count, numbers, {}
    first, *rest = buckets
    groups = {}
    for document in documents:
        for key in _keys(document, first, now_ms):
            groups.setdefault(key, []).append(document)
    kept = _ordered(groups, first, metrics) if first["type"] == "terms" else groups
    return count, numbers, {key: counted(groups[key], metrics, rest, now_ms) for key in kept}


def _keys(document, agg, now_ms):
    params = agg["params"]
    values = values_of(document, params["field"])
    if agg["type"] == "terms":
        return set(values)
    if agg["type"] == "date_histogram":
        return {ms(value) // DAY_PART_MS * DAY_PART_MS for value in values}
    if agg["type"] == "histogram":
        return {value // params["interval"] * params["interval"] for value in values}
    if agg["type"] == "date_range":
        moments = [ms(value) for value in values]
        ends = [(_ago_ms(r.get("from"), now_ms), _ago_ms(r.get("to"), now_ms)) for r in params["ranges"]]
        return {at for at, (low, high) in enumerate(ends) for moment in moments if low <= moment < high}
    ends = [(r.get("from", -math.inf), r.get("to", math.inf)) for r in params["ranges"]]
    return {at for at, (low, high) in enumerate(ends) for value in values if low <= value < high}


def _ago_ms(text, now_ms):
    if text is None:
        return -math.inf
    match = re.fullmatch(r"now(?:-([0-9]+)([hd]))?", text)
    return now_ms - (int(match[1]) * UNITS_MS[match[2]] if match[1] else 0)


def _ordered(groups, agg, metrics):
    params = agg["params"]
    if params["orderBy"] == "_key":
        return sorted(groups)[: params["size"]]
    (metric,) = [one for one in metrics if one["id"] == params["orderBy"]]

    def rank(key):
        size = len(groups[key]) if metric["type"] == "count" else _metric(metric, groups[key])
        return (-math.inf if size is None else size) * -1, key

    return sorted(groups, key=rank)[: params["size"]]


def _metric(agg, documents):
    numbers = [value for document in documents for value in values_of(document, agg["params"]["field"])]
    kind = agg["type"]
    if kind == "cardinality":
        return len(set(numbers))
    if kind == "sum":
        return float(sum(numbers))
    if kind == "percentiles":
        # The engine's are estimates: a few ranks off, whatever that means in value.
        return {
            f"{p:.1f}": (np.percentile(numbers, max(p - 3, 0)), np.percentile(numbers, min(p + 3, 100)))
            for p in agg["params"]["percents"]
        }
    if not numbers:
        return None
    return {"avg": lambda: sum(numbers) / len(numbers), "min": lambda: min(numbers), "max": lambda: max(numbers)}[
        kind
    ]()
