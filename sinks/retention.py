"""Retention: whole daily indices are deleted by their exact names, and nothing that is not ours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
from opensearchpy import NotFoundError, OpenSearch, RequestError

from features.times import format_rfc3339
from sinks.daily import daily_indices
from sinks.documents import INDEX_ALIAS
from sinks.opensearch import mapped_errors
from sinks.side_indices import DEAD_LETTERS_ALIAS, OPERATIONS_ALIAS

_DAY_MS: Final = 86_400_000
_PRIORITY: Final = 100


class Expired(msgspec.Struct, frozen=True):
    """What is beyond the retention.

    Attributes:
        indices: days, whole, by exact name.
        older: the catch-all indices.
        older_documents: how many of their documents were indexed that long ago.
    """

    indices: list[str]
    older: list[str]
    older_documents: int


def find_expired(client: OpenSearch, index_prefix: str, *, days: int, now_ms: int) -> Expired:
    """Look for what is older than so many whole days; nothing is changed.

    The catch-all has no day: its documents expire so many days after they were indexed.

    Raises:
        ServerUnavailable: OpenSearch does not answer.
        ConfigError: the credentials are refused.
    """
    today = datetime.fromtimestamp(now_ms / 1000, UTC).date()
    first_kept = today - timedelta(days=days)
    found = daily_indices(client, index_prefix)
    gone = [one.name for one in found if one.day is not None and one.day < first_kept]
    older = [one.name for one in found if one.day is None]
    count = 0
    if older:
        with mapped_errors():
            count = int(client.count(index=",".join(older), body={"query": _indexed_before(days, now_ms)})["count"])
    return Expired(gone, older, count)


def delete_expired(client: OpenSearch, expired: Expired, *, days: int, now_ms: int) -> None:
    """Delete what was found; what has gone meanwhile is no error.

    Raises:
        ServerUnavailable: OpenSearch does not answer.
        ConfigError: the credentials are refused.
        IndexingError: OpenSearch refuses.
    """
    with mapped_errors():
        for name in expired.indices:
            # One by one and without wildcards: a name that cannot be deleted keeps no other.
            client.indices.delete(index=name, params={"ignore_unavailable": "true", "expand_wildcards": "none"})
        if expired.older_documents:
            client.delete_by_query(
                index=",".join(expired.older),
                body={"query": _indexed_before(days, now_ms)},
                params={"conflicts": "proceed", "refresh": "true", "ignore_unavailable": "true"},
            )


def _indexed_before(days: int, now_ms: int) -> dict[str, Any]:
    return {"range": {"indexed_at": {"lt": format_rfc3339(max(now_ms - days * _DAY_MS, 0))}}}


def ensure_policy(client: OpenSearch, index_prefix: str, days: int) -> str:
    """Have Index State Management delete the days, where the plug-in is installed; safe to repeat.

    A policy takes indices that are made after it, and counts their age from when they were made.

    Returns:
        What is there now, for people.

    Raises:
        ServerUnavailable: OpenSearch does not answer.
        ConfigError: the credentials are refused.
        IndexingError: OpenSearch refuses the policy.
    """
    path = f"/_plugins/_ism/policies/{index_prefix}fraudstream-retention"
    wanted = _policy(index_prefix, days)
    with mapped_errors():
        try:
            stored = client.transport.perform_request("GET", path)
        except NotFoundError:
            client.transport.perform_request("PUT", path, body=wanted)
            return f"stored, {days} days"
        except RequestError:  # 400: no handler
            return "OpenSearch has no Index State Management; run fraudstream retention every day instead"
        if _same(stored.get("policy", {}), wanted["policy"]):
            return f"in place, {days} days"
        seen = {"if_seq_no": stored["_seq_no"], "if_primary_term": stored["_primary_term"]}
        client.transport.perform_request("PUT", path, params=seen, body=wanted)
        return f"changed, {days} days"


def _policy(index_prefix: str, days: int) -> dict[str, Any]:
    # An index is made when its day begins at the earliest, and its last document is a day younger.
    age = {"min_index_age": f"{days + 1}d"}
    names = (INDEX_ALIAS, DEAD_LETTERS_ALIAS, OPERATIONS_ALIAS)
    return {
        "policy": {
            "description": "fraudstream: days of outcomes, dead letters and samples",
            "default_state": "kept",
            "states": [
                {"name": "kept", "actions": [], "transitions": [{"state_name": "gone", "conditions": age}]},
                {"name": "gone", "actions": [{"delete": {}}], "transitions": []},
            ],
            # Names that begin with a year: the catch-all has no age, and indices made by a reindex have another.
            "ism_template": [{"index_patterns": [f"{index_prefix}{name}-2*" for name in names], "priority": _PRIORITY}],
        }
    }


def _same(stored: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether a stored policy does what is wanted; the server adds fields of its own."""
    try:
        (template,) = stored["ism_template"]
        conditions = stored["states"][0]["transitions"][0]["conditions"]
    except (KeyError, IndexError, TypeError, ValueError):
        return False
    return bool(
        conditions == wanted["states"][0]["transitions"][0]["conditions"]
        and template["index_patterns"] == wanted["ism_template"][0]["index_patterns"]
    )
