"""Outcomes in OpenSearch as batches for a backtest: what was decided, with the features and probabilities of then."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

import numpy as np
import polars as pl
from opensearchpy import OpenSearch
from opensearchpy.helpers import scan

from features.catalogue import FEATURE_NAMES, FEATURE_SET
from features.times import format_rfc3339, parse_rfc3339
from scoring.rules.backtest import Batch, Columns
from scoring.rules.columns import TEXTS, day_of_week
from scoring.rules.history_rows import Wanted
from sinks.documents import INDEX_ALIAS
from sinks.opensearch import mapped_errors

ROWS: Final = 20_000
_PAGE: Final = 1_000
_DAY_MS: Final = 86_400_000
_AMOUNT: Final = FEATURE_NAMES.index("amount")


def outcome_batches(
    client: OpenSearch,
    index_prefix: str,
    wanted: Wanted,
    since_ms: int,
    until_ms: int,
    *,
    labelled: bool = False,
) -> Iterator[Batch]:
    """Every outcome of an authorization in a span of event time, of the catalogue in force.

    Labels are those in the documents. An outcome without one counts as ordinary, unless nobody gave any in this span:
    then labels are not known.

    Args:
        client: of OpenSearch.
        index_prefix: put before the alias.
        wanted: what rules read.
        since_ms: from this event time on, epoch milliseconds.
        until_ms: and before this one.
        labelled: only those that somebody said to be fraud or not.

    Raises:
        ServerUnavailable: OpenSearch does not answer.
        ConfigError: it refuses the user.
    """
    span = {"gte": format_rfc3339(since_ms), "lt": format_rfc3339(until_ms)}
    filters: list[dict[str, Any]] = [
        {"range": {"event_time": span}},
        {"term": {"type": "authorization"}},
        {"term": {"fraud.feature_set": FEATURE_SET}},
    ]
    known = {"query": {"bool": {"filter": [*filters, {"exists": {"field": "label.is_fraud"}}]}}}
    query = known if labelled else {"query": {"bool": {"filter": filters}}}
    index = f"{index_prefix}{INDEX_ALIAS}"
    with mapped_errors():
        has_labels = labelled or client.count(index=index, body=known)["count"] > 0
        documents = (hit["_source"] for hit in scan(client, query=query, index=index, size=_PAGE))
        while page := list(islice(documents, ROWS)):
            yield _batch(page, wanted, has_labels=has_labels)


def _batch(documents: list[dict[str, Any]], wanted: Wanted, *, has_labels: bool) -> Batch:
    decisions = [document["fraud"] for document in documents]
    values = [[one["features"][name] for name in FEATURE_NAMES] for one in decisions]
    x = np.array(values, np.float64).reshape(len(documents), len(FEATURE_NAMES))
    event_ms = np.array([parse_rfc3339(document["event_time"]) or 0 for document in documents], np.int64)
    columns: Columns = {name: x[:, place] for place, name in enumerate(FEATURE_NAMES) if name in wanted.columns}
    for name in wanted.texts & frozenset(TEXTS):
        columns[name] = pl.Series([document.get(name) for document in documents], dtype=pl.String)
    if "event_ms" in wanted.columns:
        columns["event_ms"] = event_ms
    if "day_of_week" in wanted.columns:
        columns["day_of_week"] = day_of_week(event_ms)
    if "amount_minor" in wanted.columns:
        columns["amount_minor"] = np.array([document["amount_minor"] for document in documents], np.int64)
    return Batch(
        columns,
        np.array([one["probability"] for one in decisions], np.float32),
        x[:, _AMOUNT],
        np.array([_is_fraud(document) for document in documents], np.bool_) if has_labels else None,
        event_ms // _DAY_MS,
        [document["transaction_id"] for document in documents],
    )


def _is_fraud(document: dict[str, Any]) -> bool:
    return bool((document.get("label") or {}).get("is_fraud"))
