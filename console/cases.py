"""A case: one outcome as it stands in OpenSearch, with what people have said of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec
from msgspec import UNSET

from features.times import format_rfc3339, parse_rfc3339
from scoring.label import Answer, Label
from sinks.documents import document_id

State = Literal["open", "escalated", "closed", "none"]
STATES: Final[dict[str, State]] = {
    "fraud": "closed",
    "valid": "closed",
    "undecided": "escalated",
    "withdrawn": "open",
}
"""What a label makes of a case."""


class CaseKey(msgspec.Struct, frozen=True):
    """What names a case."""

    card_id: str
    transaction_id: str

    @property
    def id(self) -> str:
        """Its `_id` in OpenSearch, and its name in Redis."""
        return document_id(self.card_id, self.transaction_id)


class Said(msgspec.Struct, frozen=True):
    """The answer that stands.

    Attributes:
        label: the word.
        source: who says so: an analyst, a chargeback, a rule.
        at: RFC 3339.
        analyst: the name; empty where the source is none.
        note: as far as it is known here.
        label_id: its id, as far as it is known here.
        saved: whether Kafka has confirmed it.
        indexed: whether OpenSearch has it.
    """

    label: Answer
    at: str
    source: str = "analyst"
    analyst: str = ""
    note: str = ""
    label_id: str = ""
    saved: bool = True
    indexed: bool = True


class Case(msgspec.Struct, frozen=True):
    """One outcome.

    Attributes:
        key: its name.
        fields: the document's source: the outcome as published, `label` and `review`.
        said: the answer that stands, if there is one.
        holder: who works on it now; empty: nobody.
    """

    key: CaseKey
    fields: Mapping[str, Any]
    said: Said | None = None
    holder: str = ""

    @property
    def fraud(self) -> Mapping[str, Any]:
        """The decision."""
        return dict(self.fields.get("fraud") or {})

    @property
    def state(self) -> State:
        """Where the review stands; `none` where nobody was asked."""
        if self.said is not None:
            return STATES[self.said.label] if self.said.label != "withdrawn" or self._opened else "none"
        found = self._review.get("state")
        return found if found in {"open", "escalated", "closed"} else "none"

    @property
    def answered(self) -> bool:
        """Whether somebody's word stands."""
        return self.said is not None and self.said.label != "withdrawn"

    @property
    def expected_loss(self) -> float | None:
        """Probability times amount, major units."""
        value = self._review.get("expected_loss")
        return float(value) if isinstance(value, int | float) else None

    @property
    def opened_at(self) -> str | None:
        """When it came into the queue."""
        return self._review.get("opened_at")

    @property
    def event_ms(self) -> int | None:
        """Effective time of the transaction, epoch milliseconds."""
        told_ms = parse_rfc3339(str(self.fields.get("event_time", "")))
        return None if told_ms is None else told_ms - int(self.fraud.get("clock_skew_ms") or 0)

    @property
    def _review(self) -> Mapping[str, Any]:
        review = self.fields.get("review")
        return review if isinstance(review, dict) else {}

    @property
    def _opened(self) -> bool:
        return bool(self._review) or self.fraud.get("outcome") == "review"


def case_of(fields: Mapping[str, Any], pending: Said | None = None, holder: str = "") -> Case:
    """A case from a document's source, and what Redis knows besides; of two answers the later one stands."""
    key = CaseKey(str(fields["card_id"]), str(fields["transaction_id"]))
    indexed = _indexed(fields.get("label"))
    said = indexed
    if pending is not None and (indexed is None or indexed.at < pending.at):
        said = msgspec.structs.replace(pending, indexed=False)
    elif pending is not None and indexed is not None and indexed.at == pending.at:
        said = msgspec.structs.replace(indexed, note=pending.note)
    return Case(key, fields, said, holder)


def label_of(case: Case, *, label_id: str, answer: Answer, analyst: str, note: str, at: str) -> Label:
    """The record that an answer becomes: the outcome's own fields are copied in, as far as they are there."""
    fields, fraud = case.fields, case.fraud

    def copied(source: Mapping[str, Any], name: str) -> Any:  # noqa: ANN401 - the record checks the type
        value = source.get(name)
        return UNSET if value is None else value

    return Label(
        label_id=label_id,
        transaction_id=case.key.transaction_id,
        card_id=case.key.card_id,
        label=answer,
        source="analyst",
        labelled_at=at,
        analyst=analyst,
        note=note or UNSET,
        event_time=UNSET if case.event_ms is None else format_rfc3339(case.event_ms),
        outcome=copied(fraud, "outcome"),
        rule=fraud.get("rule"),
        score=copied(fraud, "score"),
        probability=copied(fraud, "probability"),
        model=copied(fraud, "model"),
        ruleset=copied(fraud, "ruleset"),
        amount_minor=copied(fields, "amount_minor"),
        currency=copied(fields, "currency"),
    )


def _indexed(label: object) -> Said | None:
    """What OpenSearch knows; a document of before the labels has none."""
    if not isinstance(label, dict) or label.get("label") not in STATES:
        return None
    return Said(
        label=label["label"],
        at=str(label.get("at", "")),
        source=str(label.get("source", "analyst")),
        analyst=str(label.get("analyst") or ""),
        note=str(label.get("note") or ""),
    )
