"""From aggregates to outcomes: features, model, verdict, reasons, and what the contract says about each record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from features.apply import Applied
from features.catalogue import FEATURE_SET, feature_matrix
from features.history import Int64
from features.stored import Limits
from features.times import format_rfc3339
from scoring.model import Model
from scoring.outcome import Fraud, Outcome, Source, outcome_of
from scoring.policy import Batch, Judged, Policy, judge, unnoted
from scoring.reasons import Reason, explain
from scoring.rules.lists import Entries
from streams.answers import Answers
from streams.decided import At, Decided
from streams.intake import Incoming

STAGES: Final = ("features", "model", "rules", "reasons")
"""What comes between the windows and the outcomes."""


class Decisions:
    """Decides batches.

    Args:
        policy: what decides, until another one is put in its place.
        limits: grace and clock skew.
        source: topic read, named in outcomes.
        lap: told each of `STAGES` when it is done, in every batch that is decided.

    Attributes:
        policy: in force from the next batch on; a batch is decided by one from its first record to its last.
        members: entries of the lists in Redis that the rules ask.
    """

    def __init__(self, policy: Policy, limits: Limits, source: str, *, lap: Callable[[str], None] = unnoted) -> None:
        self.policy = policy
        self.members: Mapping[str, Entries] = {}
        self._limits, self._source, self._lap = limits, source, lap

    def outcomes(self, incoming: Sequence[Incoming], applied: Applied, now_ms: int) -> list[Outcome]:
        """The outcome of every record of a batch, in its order; arguments as of `answers`."""
        return self.answers(incoming, applied, now_ms).outcomes()

    def answers(
        self, incoming: Sequence[Incoming], applied: Applied, now_ms: int, degraded: str | UnsetType = UNSET
    ) -> Answers:
        """Decide a batch.

        Args:
            incoming: the records.
            applied: what became of them.
            now_ms: the clock, epoch milliseconds.
            degraded: why the outcomes are not what they should be, where they are not.
        """
        policy = self.policy
        challenger = "" if policy.challenger is None else policy.challenger.version
        at = At(
            now_ms, format_rfc3339(now_ms), degraded, policy.model.version, challenger, policy.ruleset, self._source
        )  # fmt: skip
        others = {place: self._reversal(incoming[place], applied, place, at) for place in sorted(applied.reversal)}
        authorizations = [item for place, item in enumerate(incoming) if place not in others] if others else incoming
        if not authorizations:
            for stage in STAGES:
                self._lap(stage)
            return Answers(None, others)
        return Answers(self._decided(authorizations, applied, policy, at), others)

    def _decided(self, items: Sequence[Incoming], applied: Applied, policy: Policy, at: At) -> Decided:
        """What is decided about the authorizations of a batch."""
        windows = applied.aggregates
        x = feature_matrix(windows, np.array([i.transaction.exponent for i in items], np.int64))
        standing = _standing(applied, items, self._limits.grace_ms)
        batch = Batch([i.transaction for i in items], x, windows.amount_minor, standing.event_ms)
        self._lap("features")
        judged = judge(policy, batch, self.members, self._lap)
        reasons = _reasons(batch, judged, policy)
        self._lap("reasons")
        for row, shadow in judged.shadows.items():
            standing.flags.setdefault(row, {})["shadow"] = shadow
        canary = np.zeros(len(items), np.bool_) if judged.canary is None else judged.canary
        return Decided(
            items, x, judged.said, judged.outcomes, judged.rule_ids(), windows.amount_minor, standing.event_ms, reasons,
            standing.flags, canary, at,
        )  # fmt: skip

    def _reversal(self, item: Incoming, applied: Applied, record: int, at: At) -> Outcome:
        transaction = item.transaction
        ahead_ms = transaction.event_ms - item.broker_ms
        fraud = Fraud(
            outcome="approve",
            reversed=transaction.original_transaction_id or UNSET,
            reversal=applied.reversal[record],  # type: ignore[arg-type]  # one of the three words of features/apply.py
            clock_skew_ms=ahead_ms if ahead_ms > self._limits.clock_skew_ms else UNSET,
            beyond_grace=bool(applied.folded[record]) or UNSET,
            model=at.model,
            ruleset=at.ruleset,
            feature_set=FEATURE_SET,
            scored_at=at.text,
            latency_ms=at.now_ms - item.broker_ms,
            degraded=at.degraded,
            source=Source(at.source, item.partition, item.offset),
            dropped_fields=transaction.dropped_fields or UNSET,
        )
        event_time = format_rfc3339(transaction.event_ms)
        return outcome_of(transaction, fraud, amount_minor=transaction.amount_minor, event_time=event_time)


class _Standing(msgspec.Struct, frozen=True):
    """What stands of authorizations, by row: a copy is answered with what its first said.

    Attributes:
        event_ms: the event time to show; shape (n,).
        flags: fields of `Fraud` that say what is unusual, of the rows that are.
    """

    event_ms: Int64
    flags: dict[int, dict[str, Any]]


def _standing(applied: Applied, items: Sequence[Incoming], grace_ms: int) -> _Standing:
    """What stands of each authorization, and what is unusual about it."""
    windows, asked = applied.aggregates, applied.authorization
    if applied.ordinary:
        return _Standing(windows.time_ms, _dropped(items))
    duplicate, conflict, folded = applied.duplicate[asked], applied.conflict[asked], applied.folded[asked]
    # Of a clamped first only its copies know what it said.
    shown = applied.clamped[asked] & ~conflict
    event_ms = windows.time_ms
    if shown.any():
        own_ms = np.array([item.transaction.event_ms for item in items], np.int64)
        event_ms = np.where(shown, own_ms, event_ms)
    beyond = folded | (np.maximum(applied.behind_ms[asked], windows.late_by_ms) > grace_ms)
    skew_ms = event_ms - windows.time_ms
    unusual = duplicate | conflict | beyond | (skew_ms != 0) | (windows.late_by_ms != 0)
    flags: dict[int, dict[str, Any]] = {
        row: {
            "late_by_ms": int(windows.late_by_ms[row]) or UNSET,
            "clock_skew_ms": int(skew_ms[row]) or UNSET,
            "beyond_grace": bool(beyond[row]) or UNSET,
            "duplicate": bool(duplicate[row]) or UNSET,
            "conflict": bool(conflict[row]) or UNSET,
        }
        for row in np.flatnonzero(unusual).tolist()
    }
    for row, dropped in _dropped(items).items():
        flags.setdefault(row, {}).update(dropped)
    return _Standing(event_ms, flags)


def _dropped(items: Sequence[Incoming]) -> dict[int, dict[str, Any]]:
    """The fields of the rows whose transactions had fields that were dropped."""
    return {
        row: {"dropped_fields": item.transaction.dropped_fields}
        for row, item in enumerate(items)
        if item.transaction.dropped_fields
    }


def _reasons(batch: Batch, judged: Judged, policy: Policy) -> dict[int, list[Reason]]:
    """Reasons of the flagged rows, each told by the model that decides it."""
    rows = [row for row, verdict in enumerate(judged.outcomes) if verdict != "approve"]
    canary = judged.canary
    if canary is None or policy.challenger is None:
        return _explained(policy.model, rows, batch, judged)
    own = _explained(policy.model, [row for row in rows if not canary[row]], batch, judged)
    return own | _explained(policy.challenger, [row for row in rows if canary[row]], batch, judged)


def _explained(model: Model, rows: list[int], batch: Batch, judged: Judged) -> dict[int, list[Reason]]:
    """Reasons of rows that a model decides."""
    if not rows:
        return {}
    x = np.asarray(batch.x[rows], np.float64)
    transactions = [batch.transactions[row] for row in rows]
    reasons = explain(model.contributions(x), x, [judged.told(row) for row in rows], transactions)
    return dict(zip(rows, reasons, strict=True))
