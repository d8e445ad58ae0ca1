"""The index templates: every field declared, none guessed (`dynamic: false`).

A field that is not declared stays in the document's source but cannot be searched; a new field of the contract is added
here (or in `sinks/side_indices.py`) with a higher `VERSION`, which `setup_index` then also adds to existing indices.
"""

from __future__ import annotations

from typing import Any, Final

import structlog
from opensearchpy import NotFoundError, OpenSearch

from sinks.documents import CHARTED, INDEX_ALIAS
from sinks.opensearch import mapped_errors
from sinks.side_indices import BYTE, DATE, KEYWORD, LONG, SIDE_KINDS, Kind

VERSION: Final = 2

log = structlog.get_logger(__name__)

# Drawn, never searched for: half of what a number costs.
_DRAWN: Final = {"type": "float", "index": False}
_BOOLEAN: Final = {"type": "boolean"}
# Kept in the source, neither parsed nor indexed: takes any JSON.
_STORED: Final = {"type": "object", "enabled": False}

_REASON: Final = {
    "code": KEYWORD,
    "text": {"type": "text", "index": False},
    "feature": KEYWORD,
    "value": _STORED,
    "contribution": {"type": "double"},
}
_SOURCE: Final = {"topic": KEYWORD, "partition": {"type": "integer"}, "offset": LONG}
_SHADOW: Final = {
    "model": KEYWORD,
    "score": {"type": "short"},
    "probability": {"type": "double"},
    "outcome": KEYWORD,
    "rules": KEYWORD,
}
_FRAUD: Final = {
    "score": {"type": "short"},
    "probability": {"type": "double"},
    "outcome": KEYWORD,
    "rule": KEYWORD,
    "reasons": {"properties": _REASON},
    "features": _STORED,
    "model": KEYWORD,
    "ruleset": KEYWORD,
    "feature_set": KEYWORD,
    "scored_at": DATE,
    "latency_ms": {"type": "double"},
    "source": {"properties": _SOURCE},
    "late_by_ms": LONG,
    "clock_skew_ms": LONG,
    "beyond_grace": _BOOLEAN,
    "duplicate": _BOOLEAN,
    "conflict": _BOOLEAN,
    "dropped_fields": KEYWORD,
    "degraded": KEYWORD,
    "reversed": KEYWORD,
    "reversal": KEYWORD,
    "is_block": BYTE,
    "is_review": BYTE,
    "is_late": BYTE,
    "is_degraded": BYTE,
    "is_duplicate": BYTE,
    "shadow": {"properties": _SHADOW},
}
# `order` decides between two labels that arrive in any order: see `sinks/labels.py`.
_LABEL: Final = {
    "is_fraud": BYTE,
    "label": KEYWORD,
    "source": KEYWORD,
    "at": DATE,
    "analyst": KEYWORD,
    "order": {"type": "keyword", "index": False, "doc_values": False},
}
_REVIEW: Final = {"state": KEYWORD, "opened_at": DATE, "closed_at": DATE, "expected_loss": {"type": "double"}}
_PROPERTIES: Final = {
    "transaction_id": KEYWORD,
    "card_id": KEYWORD,
    "card_last4": KEYWORD,
    "type": KEYWORD,
    "original_transaction_id": KEYWORD,
    # A double holds every amount of the contract (at most 10^15 minor units) to the last digit; a scaled float of two
    # decimals would round the currencies that have three.
    "amount": {"type": "double"},
    "amount_minor": LONG,
    "currency": KEYWORD,
    "event_time": DATE,
    "merchant_id": KEYWORD,
    "merchant_category": KEYWORD,
    "country": KEYWORD,
    "channel": KEYWORD,
    "device_id": KEYWORD,
    "ip_address": {"type": "ip", "ignore_malformed": True},
    "email": KEYWORD,
    "indexed_at": DATE,
    "hour": BYTE,
    "weekday": KEYWORD,
    "charted": {"properties": dict.fromkeys(CHARTED, _DRAWN)},
    "fraud": {"properties": _FRAUD},
    "label": {"properties": _LABEL},
    "review": {"properties": _REVIEW},
}

OUTCOMES: Final = Kind(INDEX_ALIAS, "outcomes of fraudstream", _PROPERTIES)


def mappings() -> dict[str, Any]:
    """The mapping of an outcome's document."""
    return OUTCOMES.mappings(VERSION)


def template(index_prefix: str) -> dict[str, Any]:
    """The composable index template, which gives each new daily index its mapping, settings and alias."""
    return OUTCOMES.template(index_prefix, VERSION)


def setup_index(client: OpenSearch, index_prefix: str) -> None:
    """Create the templates, or bring them and the existing indices to this version; safe to repeat.

    A template of a newer version (another worker was upgraded first) is left alone.

    Raises:
        ServerUnavailable: OpenSearch does not answer, or takes no writes for now.
        ConfigError: the credentials or the certificate are refused.
        IndexingError: OpenSearch refuses a template, or an existing index has another type for a field.
    """
    with mapped_errors():
        for kind in (OUTCOMES, *SIDE_KINDS):
            _setup(client, kind, index_prefix)


def _setup(client: OpenSearch, kind: Kind, index_prefix: str) -> None:
    name = f"{index_prefix}{kind.alias}"
    stored = _stored_version(client, name)
    if stored > VERSION:
        log.warning("index_template_is_newer", template=name, stored=stored, ours=VERSION)
        return
    client.indices.put_index_template(name=name, body=kind.template(index_prefix, VERSION))
    if stored < VERSION:
        body, pattern = kind.mappings(VERSION), kind.pattern(index_prefix)
        client.indices.put_mapping(index=pattern, body=body, params={"allow_no_indices": "true"})
        log.info("index_template_stored", template=name, version=VERSION)


def _stored_version(client: OpenSearch, name: str) -> int:
    """Version of the template in the cluster; 0 where there is none."""
    try:
        answer = client.indices.get_index_template(name=name)
    except NotFoundError:
        return 0
    return int(answer["index_templates"][0]["index_template"].get("version", 0))
