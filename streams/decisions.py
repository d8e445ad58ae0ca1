"""From aggregates to outcomes: features, model, verdict, reasons, and what the contract says about each record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from features.apply import Applied
from features.catalogue import FEATURE_SET, FEATURES, feature_matrix
from features.history import Bool
from features.times import format_rfc3339
from scoring.decision import decide
from scoring.model import Matrix, Model
from scoring.outcome import FeatureValues, Fraud, Outcome, Source, Verdict, outcome_of
from scoring.reasons import Reason, explain
from streams.intake import Incoming

NO_RULES: Final = "none"

_WHOLE: Final = tuple(f.dtype == "int64" for f in FEATURES)
_NAMES: Final = tuple(f.name for f in FEATURES)


class Limits(msgspec.Struct, frozen=True):
    """What the windows depend on besides the records."""

    retention_ms: int
    grace_ms: int
    clock_skew_ms: int
    hot_card_records: int


class Decisions:
    """Decides batches.

    Args:
        model: scores.
        limits: grace and clock skew.
        source: topic read, named in outcomes.
    """

    def __init__(self, model: Model, limits: Limits, source: str) -> None:
        self._model, self._limits, self._source = model, limits, source

    def outcomes(
        self, incoming: Sequence[Incoming], applied: Applied, now_ms: int, degraded: str | UnsetType = UNSET
    ) -> list[Outcome]:
        """The outcome of every record of a batch, in its order.

        Args:
            incoming: the records.
            applied: what became of them.
            now_ms: the clock, epoch milliseconds.
            degraded: why the outcomes are not what they should be, where they are not.
        """
        scored = self._score(incoming, applied)
        at = _At(now_ms, format_rfc3339(now_ms), degraded)
        rows = np.cumsum(applied.position >= 0) - 1
        return [
            self._reversal(item, applied, i, self._common(item, at))
            if applied.position[i] < 0
            else self._authorization(
                item, scored[int(rows[i])], _Standing(applied, i, int(rows[i])), self._common(item, at)
            )
            for i, item in enumerate(incoming)
        ]

    def _score(self, incoming: Sequence[Incoming], applied: Applied) -> list[_Scored]:
        """Features, probability, verdict and reasons of the authorizations."""
        asked = np.flatnonzero(applied.position >= 0).tolist()
        if not asked:
            return []
        exponents = np.array([incoming[i].transaction.exponent for i in asked], np.int64)
        x = feature_matrix(applied.aggregates, exponents)
        probability = self._model.predict(x)
        scores, verdicts = decide(probability, self._model.thresholds)
        reasons = self._reasons(x, np.array([v != "approve" for v in verdicts], np.bool_))
        columns = zip(_feature_values(x), probability.tolist(), scores.tolist(), verdicts, strict=True)
        return [_Scored(*column, reasons.get(row, [])) for row, column in enumerate(columns)]

    def _reasons(self, x: Matrix, flagged: Bool) -> dict[int, list[Reason]]:
        """Reasons of the flagged rows: exact TreeSHAP costs a hundred times a prediction, so only they pay."""
        rows = np.flatnonzero(flagged)
        if not len(rows):
            return {}
        chosen = np.asarray(x[rows], np.float64)
        explained = explain(self._model.contributions(chosen), chosen)
        return dict(zip(rows.tolist(), explained, strict=True))

    def _authorization(self, item: Incoming, scored: _Scored, standing: _Standing, common: dict[str, Any]) -> Outcome:
        event_ms = standing.event_ms(item.transaction.event_ms)
        beyond = standing.folded or max(standing.behind_ms, standing.late_by_ms) > self._limits.grace_ms
        fraud = Fraud(
            score=scored.score,
            probability=scored.probability,
            outcome=scored.verdict,
            reasons=scored.reasons,
            features=scored.features,
            late_by_ms=standing.late_by_ms or UNSET,
            clock_skew_ms=(event_ms - standing.time_ms) or UNSET,
            beyond_grace=beyond or UNSET,
            duplicate=standing.duplicate or UNSET,
            conflict=standing.conflict or UNSET,
            **common,
        )
        return outcome_of(item.transaction, fraud, amount_minor=standing.amount_minor, event_ms=event_ms)

    def _reversal(self, item: Incoming, applied: Applied, record: int, common: dict[str, Any]) -> Outcome:
        transaction = item.transaction
        ahead_ms = transaction.event_ms - item.broker_ms
        fraud = Fraud(
            outcome="approve",
            reversed=transaction.original_transaction_id or UNSET,
            reversal=applied.reversal[record],  # type: ignore[arg-type]  # one of the three words of features/apply.py
            clock_skew_ms=ahead_ms if ahead_ms > self._limits.clock_skew_ms else UNSET,
            beyond_grace=bool(applied.folded[record]) or UNSET,
            **common,
        )
        return outcome_of(transaction, fraud, amount_minor=transaction.amount_minor, event_ms=transaction.event_ms)

    def _common(self, item: Incoming, at: _At) -> dict[str, Any]:
        return {
            "model": self._model.version,
            "ruleset": NO_RULES,
            "feature_set": FEATURE_SET,
            "scored_at": at.text,
            "latency_ms": at.now_ms - item.broker_ms,
            "degraded": at.degraded,
            "source": Source(self._source, item.partition, item.offset),
            "dropped_fields": item.transaction.dropped_fields or UNSET,
        }


class _At(msgspec.Struct, frozen=True):
    """When a batch is scored, and what is wrong with it."""

    now_ms: int
    text: str
    degraded: str | UnsetType


class _Scored(msgspec.Struct, frozen=True, gc=False):
    features: FeatureValues
    probability: float
    score: int
    verdict: Verdict
    reasons: list[Reason]


class _Standing:
    """What stands of an authorization: its own, or its first copy's amount and time."""

    def __init__(self, applied: Applied, record: int, row: int) -> None:
        self.time_ms = int(applied.aggregates.time_ms[row])
        self.amount_minor = int(applied.aggregates.amount_minor[row])
        self.late_by_ms = int(applied.aggregates.late_by_ms[row])
        self.behind_ms = int(applied.behind_ms[record])
        self.duplicate = bool(applied.duplicate[record])
        self.conflict = bool(applied.conflict[record])
        self.folded = bool(applied.folded[record])
        self._clamped = bool(applied.log.entries.clamped[applied.position[record]])

    def event_ms(self, own_ms: int) -> int:
        """The event time to show; of a clamped first only its copies know what it said."""
        return own_ms if self._clamped and not self.conflict else self.time_ms


def _feature_values(x: Matrix) -> list[FeatureValues]:
    """Every row as name -> the exact value used."""
    columns = [x[:, i].astype(np.int64).tolist() if whole else x[:, i].tolist() for i, whole in enumerate(_WHOLE)]
    return [dict(zip(_NAMES, row, strict=True)) for row in zip(*columns, strict=True)]
