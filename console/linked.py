"""Transactions that share a device, an internet address, a mail address or a merchant with a case."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from console.cases import Case
from features.times import format_rfc3339

_DAY_MS: Final = 86_400_000
_SHOWN: Final = 6
# A merchant has many customers: only the hours around say anything. A device or an address belongs to few.
_KINDS: Final = {
    "device_id": ("Same device", 30 * _DAY_MS),
    "ip_address": ("Same IP address", 7 * _DAY_MS),
    "email": ("Same e-mail", 30 * _DAY_MS),
    "merchant_id": ("Same merchant", _DAY_MS),
}


class Link(msgspec.Struct, frozen=True):
    """What shares one value with the case.

    Attributes:
        title: what is shared.
        value: the shared value.
        days: how far around the case was looked.
        total: other transactions with it.
        cards: on how many cards.
        flagged: how many of them were not approved.
        frauds: how many were found to be fraud.
        rows: the newest of them.
    """

    title: str
    value: str
    days: int
    total: int
    cards: int
    flagged: int
    frauds: int
    rows: list[dict[str, Any]]


def link_searches(case: Case) -> dict[str, dict[str, Any]]:
    """The searches, by the field that is shared."""
    if case.event_ms is None:
        return {}
    found = {}
    for field, (_, reach_ms) in _KINDS.items():
        value = case.fields.get(field)
        if isinstance(value, str) and value and (field != "ip_address" or _is_address(value)):
            found[field] = _search(case, field, value, reach_ms)
    return found


def links_of(case: Case, answers: Mapping[str, Mapping[str, Any]]) -> list[Link]:
    """What the searches found; one that failed (an index with another mapping) is left out."""
    links = []
    for field, answer in answers.items():
        if "hits" not in answer:
            continue
        title, reach_ms = _KINDS[field]
        aggregations = answer.get("aggregations", {})
        links.append(
            Link(
                title=title,
                value=str(case.fields[field]),
                days=reach_ms // _DAY_MS,
                total=int(answer["hits"]["total"]["value"]),
                cards=int(aggregations.get("cards", {}).get("value", 0)),
                flagged=int(aggregations.get("flagged", {}).get("doc_count", 0)),
                frauds=int(aggregations.get("frauds", {}).get("doc_count", 0)),
                rows=[hit["_source"] for hit in answer["hits"]["hits"]],
            )
        )
    return links


def _search(case: Case, field: str, value: str, reach_ms: int) -> dict[str, Any]:
    assert case.event_ms is not None
    first, last = (format_rfc3339(max(case.event_ms + ms, 0)) for ms in (-reach_ms, reach_ms))
    return {
        "size": _SHOWN,
        "track_total_hits": True,
        "query": {
            "bool": {
                "filter": [{"term": {field: value}}, {"range": {"event_time": {"gte": first, "lte": last}}}],
                "must_not": [{"ids": {"values": [case.key.id]}}],
            }
        },
        "sort": [{"event_time": "desc"}],
        "_source": {"excludes": ["fraud.features", "fraud.reasons"]},
        "aggs": {
            "cards": {"cardinality": {"field": "card_id"}},
            "flagged": {"filter": {"terms": {"fraud.outcome": ["review", "block"]}}},
            "frauds": {"filter": {"term": {"label.label": "fraud"}}},
        },
    }


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
