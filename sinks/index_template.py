"""The index template of the outcomes: every field declared, none guessed (`dynamic: false`).

A field that is not declared here stays in the document's source but cannot be searched; a new field of the contract is
added here with a higher `VERSION`, which `setup_index` then also adds to the indices that exist.
"""

from __future__ import annotations

from typing import Any, Final

import structlog
from opensearchpy import NotFoundError, OpenSearch

from sinks.documents import INDEX_ALIAS
from sinks.opensearch import mapped_errors

VERSION: Final = 1
_PRIORITY: Final = 200

log = structlog.get_logger(__name__)

# Well over the 256 characters of the contract, well under the 32,766 bytes at which the engine refuses a document.
_KEYWORD: Final = {"type": "keyword", "ignore_above": 1024}
_DATE: Final = {"type": "date", "format": "strict_date_optional_time"}
_LONG: Final = {"type": "long"}
_BYTE: Final = {"type": "byte"}
_BOOLEAN: Final = {"type": "boolean"}
# Kept in the source, neither parsed nor indexed: takes any JSON.
_STORED: Final = {"type": "object", "enabled": False}

_REASON: Final = {
    "code": _KEYWORD,
    "text": {"type": "text", "index": False},
    "feature": _KEYWORD,
    "value": _STORED,
}
_SOURCE: Final = {"topic": _KEYWORD, "partition": {"type": "integer"}, "offset": _LONG}
_FRAUD: Final = {
    "score": {"type": "short"},
    "probability": {"type": "double"},
    "outcome": _KEYWORD,
    "rule": _KEYWORD,
    "reasons": {"properties": _REASON},
    "features": _STORED,
    "model": _KEYWORD,
    "ruleset": _KEYWORD,
    "feature_set": _KEYWORD,
    "scored_at": _DATE,
    "latency_ms": {"type": "double"},
    "source": {"properties": _SOURCE},
    "late_by_ms": _LONG,
    "clock_skew_ms": _LONG,
    "beyond_grace": _BOOLEAN,
    "duplicate": _BOOLEAN,
    "conflict": _BOOLEAN,
    "dropped_fields": _KEYWORD,
    "degraded": _KEYWORD,
    "reversed": _KEYWORD,
    "reversal": _KEYWORD,
    "is_block": _BYTE,
    "is_review": _BYTE,
    "is_late": _BYTE,
    "is_degraded": _BYTE,
}
_PROPERTIES: Final = {
    "transaction_id": _KEYWORD,
    "card_id": _KEYWORD,
    "card_last4": _KEYWORD,
    "type": _KEYWORD,
    "original_transaction_id": _KEYWORD,
    # A double holds every amount of the contract (at most 10^15 minor units) to the last digit; a scaled float of two
    # decimals would round the currencies that have three.
    "amount": {"type": "double"},
    "amount_minor": _LONG,
    "currency": _KEYWORD,
    "event_time": _DATE,
    "merchant_id": _KEYWORD,
    "merchant_category": _KEYWORD,
    "country": _KEYWORD,
    "channel": _KEYWORD,
    "device_id": _KEYWORD,
    "ip_address": {"type": "ip", "ignore_malformed": True},
    "email": _KEYWORD,
    "indexed_at": _DATE,
    "fraud": {"properties": _FRAUD},
}


def mappings() -> dict[str, Any]:
    """The mapping of an outcome's document."""
    return {"dynamic": False, "_meta": {"version": VERSION}, "properties": _PROPERTIES}


def template(index_prefix: str) -> dict[str, Any]:
    """The composable index template, which gives each new daily index its mapping, settings and alias."""
    alias = f"{index_prefix}{INDEX_ALIAS}"
    return {
        "index_patterns": [f"{alias}-*"],
        "priority": _PRIORITY,
        "version": VERSION,
        "_meta": {"version": VERSION, "description": "outcomes of fraudstream"},
        "template": {
            "settings": {
                "number_of_shards": 1,
                # No replica on a single node (it could never be placed), one as soon as there are two.
                "auto_expand_replicas": "0-1",
                "refresh_interval": "5s",
            },
            "mappings": mappings(),
            "aliases": {alias: {}},
        },
    }


def setup_index(client: OpenSearch, index_prefix: str) -> None:
    """Create the template, or bring it and the existing indices to this version; safe to repeat.

    A template of a newer version (another worker was upgraded first) is left alone.

    Raises:
        ServerUnavailable: OpenSearch does not answer, or takes no writes for now.
        ConfigError: the credentials or the certificate are refused.
        IndexingError: OpenSearch refuses the template, or an existing index has another type for a field.
    """
    name = f"{index_prefix}{INDEX_ALIAS}"
    with mapped_errors():
        stored = _stored_version(client, name)
        if stored > VERSION:
            log.warning("index_template_is_newer", template=name, stored=stored, ours=VERSION)
            return
        client.indices.put_index_template(name=name, body=template(index_prefix))
        if stored < VERSION:
            client.indices.put_mapping(index=f"{name}-*", body=mappings(), params={"allow_no_indices": "true"})
            log.info("index_template_stored", template=name, version=VERSION)


def _stored_version(client: OpenSearch, name: str) -> int:
    """Version of the template in the cluster; 0 where there is none."""
    try:
        answer = client.indices.get_index_template(name=name)
    except NotFoundError:
        return 0
    return int(answer["index_templates"][0]["index_template"].get("version", 0))
