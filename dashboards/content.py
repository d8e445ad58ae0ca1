"""Everything that is exported: the dashboards, and the index patterns with how fields are written."""

from __future__ import annotations

from typing import Any, Final

from dashboards.card import CARD
from dashboards.operations import OPERATIONS
from dashboards.overview import OVERVIEW
from dashboards.parts import Dashboard, IndexPattern
from dashboards.review import REVIEW
from sinks.documents import INDEX_ALIAS
from sinks.side_indices import DEAD_LETTERS_ALIAS, GIVEN_ALIAS, LABELS_ALIAS, OPERATIONS_ALIAS

DASHBOARDS: Final[tuple[Dashboard, ...]] = (OVERVIEW, CARD, OPERATIONS, REVIEW)

_PERCENT: Final = {"id": "percent", "params": {"pattern": "0.00%"}}
_MONEY: Final = {"id": "number", "params": {"pattern": "0,0.00"}}
_NUMBER: Final = {"id": "number", "params": {"pattern": "0,0.[00]"}}
_FLAGS: Final = ("is_block", "is_review", "is_late", "is_degraded", "is_duplicate")


def patterns(console_url: str) -> tuple[IndexPattern, ...]:
    """The index patterns.

    Args:
        console_url: to which cards link; empty: no links.
    """
    links = _links(console_url)
    labels = {
        "is_fraud": _PERCENT,
        "is_caught": _PERCENT,
        "amount": _MONEY,
        "amount_caught": _MONEY,
        "delay_hours": _NUMBER,
        **links,
    }
    outcomes = {
        **{f"fraud.{flag}": _PERCENT for flag in _FLAGS},
        "label.is_fraud": _PERCENT,
        "amount": _MONEY,
        "review.expected_loss": _MONEY,
        "fraud.latency_ms": _NUMBER,
        **links,
    }
    return (
        IndexPattern("outcomes", INDEX_ALIAS, "event_time", outcomes),
        IndexPattern("labels", LABELS_ALIAS, "labelled_at", labels),
        IndexPattern("given", GIVEN_ALIAS, "labelled_at", labels),
        IndexPattern("letters", DEAD_LETTERS_ALIAS, "at"),
        IndexPattern("operations", OPERATIONS_ALIAS, "at", {"psi": _NUMBER, "ks": _NUMBER}),
    )


def _links(console_url: str) -> dict[str, dict[str, Any]]:
    if not console_url:
        return {}
    return {
        field: {"id": "url", "params": _link(f"{console_url.rstrip('/')}/{page}/{{{{value}}}}")}
        for field, page in (("card_id", "cards"), ("transaction_id", "transactions"))
    }


def _link(template: str) -> dict[str, str]:
    # Dashboards percent-encodes the value in the address.
    return {"type": "a", "urlTemplate": template, "labelTemplate": "{{value}}"}
