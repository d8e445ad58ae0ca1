"""The index of the audit trail, from which the console shows it."""

from __future__ import annotations

from typing import Any, Final

from opensearchpy import NotFoundError, OpenSearch

from sinks.opensearch import mapped_errors
from sinks.topics import AUDIT

_KEYWORD: Final = {"type": "keyword", "ignore_above": 1024}
_PROPERTIES: Final[dict[str, Any]] = {
    "event_id": _KEYWORD,
    "at": {"type": "date", "format": "strict_date_optional_time"},
    "actor": _KEYWORD,
    "action": _KEYWORD,
    "via": _KEYWORD,
    "address": _KEYWORD,
    "case": _KEYWORD,
    "card_id": _KEYWORD,
    "transaction_id": _KEYWORD,
    "label": _KEYWORD,
    "label_id": _KEYWORD,
    "note": {"type": "text", "index": False},
    "other": _KEYWORD,
}


def audit_index(index_prefix: str) -> str:
    """The index's name: that of its topic."""
    return f"{index_prefix}{AUDIT}"


def setup_audit_index(client: OpenSearch, index_prefix: str) -> None:
    """Make the index, or teach it the fields that it lacks; safe to repeat.

    Raises:
        ServerUnavailable: OpenSearch does not answer, or takes no writes for now.
        ConfigError: the credentials or the certificate are refused.
        IndexingError: OpenSearch refuses the mapping.
    """
    name = audit_index(index_prefix)
    mappings = {"dynamic": False, "properties": _PROPERTIES}
    with mapped_errors():
        try:
            client.indices.put_mapping(index=name, body=mappings)
        except NotFoundError:
            settings = {"number_of_shards": 1, "auto_expand_replicas": "0-1", "refresh_interval": "1s"}
            client.indices.create(index=name, body={"settings": settings, "mappings": mappings})
