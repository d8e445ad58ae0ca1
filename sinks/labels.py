"""Labels as OpenSearch stores them: which documents they make, and what they do to a transaction's document.

A label is stored three times: in the index of everything that was given, as the label that stands for its transaction,
and in the transaction's own document. The last two are updates that compare first, so labels may come in any order,
more than once and from several writers: `order` is the label's precedence as text, and the greater one stays.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from features.money import EXPONENTS
from features.times import format_rfc3339, parse_rfc3339
from scoring.label import Label, precedence
from sinks.documents import Document, document_id
from sinks.side_indices import given_index, standing_index

Fields = dict[str, Any]
"""A document's source."""

_HOUR_MS: Final = 3_600_000
_STATES: Final = {"fraud": "closed", "valid": "closed", "undecided": "escalated", "withdrawn": "open"}
_COPIED: Final = ("outcome", "rule", "score", "probability", "model", "ruleset")

# Stored where it is newer, or where the same label is now known to belong to a transaction that is there.
_STANDS: Final = (
    "int newer = params.doc.order.compareTo(ctx._source.order);"
    " if (newer > 0 || (newer == 0 && params.doc.known >= ctx._source.known))"
    " { ctx._source.clear(); ctx._source.putAll(params.doc) } else { ctx.op = 'none' }"
)
# The same as `put_label` below.
_PUT: Final = (
    "def has = ctx._source.label;"
    " if (has != null && has.order != null && has.order.compareTo(params.label.order) >= 0) { ctx.op = 'none' }"
    " else { ctx._source.label = params.label;"
    " boolean asked = ctx._source.fraud != null && ctx._source.fraud.outcome == 'review';"
    " if (params.state == 'open' && !asked) { ctx._source.remove('review') } else {"
    " if (ctx._source.review == null) { ctx._source.review = new HashMap() }"
    " ctx._source.review.state = params.state;"
    " if (params.state == 'closed') { ctx._source.review.closed_at = params.label.at }"
    " else { ctx._source.review.remove('closed_at') } } }"
)


def order_of(label: Label) -> str:
    """The label's precedence as text: compared as strings, the greater one stands."""
    moment_ms, rank, label_id = precedence(label)
    return f"{moment_ms:015d}{rank}{label_id}"


def transaction_id_of(label: Label) -> str:
    """The `_id` of the transaction's document."""
    return document_id(label.card_id, label.transaction_id)


def label_fields(label: Label, outcome: Fields | None, indexed_at_ms: int) -> Fields:
    """The document of a label.

    Args:
        label: what was said.
        outcome: the transaction's document, where it is there.
        indexed_at_ms: when this is done, epoch milliseconds.
    """
    fields: Fields = {
        **msgspec.to_builtins(label),
        "order": order_of(label),
        "document": transaction_id_of(label),
    }
    if label.is_fraud is not None:
        fields["is_fraud"] = label.is_fraud
    return joined(fields, outcome, indexed_at_ms)


def joined(fields: Fields, outcome: Fields | None, indexed_at_ms: int) -> Fields:
    """A label's document with what its transaction says; what the label itself says stays.

    Args:
        fields: of the label.
        outcome: the transaction's document, where it is there.
        indexed_at_ms: when this is done, epoch milliseconds.
    """
    whole: Fields = {
        **(_copied(outcome) if outcome is not None else {}),
        **fields,
        "known": int(outcome is not None),
        "indexed_at": format_rfc3339(indexed_at_ms),
    }
    if "outcome" in whole:
        whole["is_caught"] = int(whole["outcome"] != "approve")
    if "amount" not in whole and whole.get("amount_minor") is not None and whole.get("currency") in EXPONENTS:
        whole["amount"] = whole["amount_minor"] / 10 ** EXPONENTS[whole["currency"]]
    if "amount" in whole and "is_caught" in whole:
        whole["amount_caught"] = whole["amount"] * whole["is_caught"]
    if event_ms := _ms(whole.get("event_time")):
        whole["delay_hours"] = (_ms(whole["labelled_at"]) - event_ms) / _HOUR_MS
    return whole


def given_document(label: Label, fields: Fields, index_prefix: str) -> Document:
    """The document among everything that was given: a label that comes again overwrites itself."""
    return Document(given_index(index_prefix), document_id("label", label.label_id), msgspec.json.encode(fields))


def standing_document(fields: Fields, index_prefix: str) -> Document:
    """The update of the label that stands for a transaction."""
    body = {"script": {"source": _STANDS, "params": {"doc": fields}}, "upsert": fields}
    return Document(standing_index(index_prefix), fields["document"], msgspec.json.encode(body), is_update=True)


def put_document(index: str, standing: Fields) -> Document:
    """The update of a transaction's document by the label that stands for it."""
    label, state = label_of(standing)
    body = {"script": {"source": _PUT, "params": {"label": label, "state": state}}}
    return Document(index, standing["document"], msgspec.json.encode(body), is_update=True)


def put_label(fields: Fields, standing: Fields) -> None:
    """Put the label that stands into the source of a transaction's document, where that has no later one."""
    label, state = label_of(standing)
    if fields.get("label", {}).get("order", "") >= label["order"]:
        return
    fields["label"] = label
    if state == "open" and fields["fraud"]["outcome"] != "review":
        fields.pop("review", None)
        return
    review = fields.setdefault("review", {})
    review["state"] = state
    review.pop("closed_at", None)
    if state == "closed":
        review["closed_at"] = label["at"]


def label_of(standing: Fields) -> tuple[Fields, str]:
    """What a transaction's document gets: `label`, and the state of its review."""
    label: Fields = {
        "label": standing["label"],
        "source": standing["source"],
        "at": standing["labelled_at"],
        "order": standing["order"],
        **{name: standing[name] for name in ("is_fraud", "analyst") if name in standing},
    }
    return label, _STATES[standing["label"]]


def _copied(outcome: Fields) -> Fields:
    fraud = outcome["fraud"]
    effective_ms = _ms(outcome["event_time"]) - fraud.get("clock_skew_ms", 0)
    return {
        "event_time": format_rfc3339(effective_ms),
        **{name: outcome[name] for name in ("amount", "amount_minor", "currency") if name in outcome},
        **{name: fraud[name] for name in _COPIED if name in fraud},
    }


def _ms(text: str | None) -> int:
    """Epoch milliseconds of a time that was written by us; 0 for none."""
    return (parse_rfc3339(text) or 0) if text else 0
