"""What was decided about the authorizations of a batch, as columns, and the outcomes that they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import starmap
from typing import Any, Final

import msgspec
import numpy as np
from msgspec import UnsetType
from numpy.typing import NDArray

from features.catalogue import FEATURE_SET, FEATURES
from features.history import Int64
from features.times import format_column
from scoring.decision import Verdict
from scoring.model import Matrix
from scoring.outcome import FeatureRow, Fraud, Outcome, Source, outcome_of
from scoring.policy import Said
from scoring.reasons import Reason
from streams.intake import Incoming

UNUSUAL: Final = (
    "late_by_ms", "clock_skew_ms", "beyond_grace", "duplicate", "conflict", "dropped_fields", "degraded", "shadow",
)  # fmt: skip
"""Fields of `Fraud` that an authorization's outcome has where they apply."""

WHOLE: Final = tuple(f.dtype == "int64" for f in FEATURES)
"""Which features are whole numbers, in the order of the catalogue."""
_NO_REASONS: Final[list[Reason]] = []


class At(msgspec.Struct, frozen=True):
    """What all outcomes of a batch have in common.

    Attributes:
        now_ms: when it is scored, epoch milliseconds.
        text: the same in RFC 3339.
        degraded: what is wrong with it.
        model, challenger, ruleset: versions.
        source: topic that it was read from.
    """

    now_ms: int
    text: str
    degraded: str | UnsetType
    model: str
    challenger: str
    ruleset: str
    source: str


class Decided(msgspec.Struct, frozen=True):
    """What is decided about n authorizations.

    Attributes:
        items: the records.
        x: features, shape (n, features).
        said: by the model that decides each of them.
        verdicts: what counts, length n.
        rules: id of the rule that decides each, or None; length n.
        amount_minor: that stands, shape (n,).
        event_ms: that stands, shape (n,).
        reasons: of the rows that have any.
        unusual: fields of `Fraud` that say what is unusual, some of `UNUSUAL`, of the rows that are.
        canary: rows that the challenger decides, shape (n,).
        at: the rest.
    """

    items: Sequence[Incoming]
    x: Matrix
    said: Said
    verdicts: list[Verdict]
    rules: list[str | None]
    amount_minor: Int64
    event_ms: Int64
    reasons: Mapping[int, list[Reason]]
    unusual: Mapping[int, dict[str, Any]]
    canary: NDArray[np.bool_]
    at: At

    def outcomes(self) -> list[Outcome]:
        """The outcomes."""
        at, said = self.at, self.said
        scored = zip(_feature_rows(self.x), said.probability.tolist(), said.score.tolist(), strict=True)
        stands = zip(self.amount_minor.tolist(), format_column(self.event_ms), strict=True)
        answers = []
        decided = zip(self.items, scored, stands, self.canary.tolist(), strict=True)
        for row, (item, (values, chance, score), (amount_minor, event_time), canary) in enumerate(decided):
            fraud = Fraud(
                score=score,
                probability=chance,
                outcome=self.verdicts[row],
                rule=self.rules[row],
                reasons=self.reasons.get(row, _NO_REASONS),
                features=values,
                model=at.challenger if canary else at.model,
                ruleset=at.ruleset,
                feature_set=FEATURE_SET,
                scored_at=at.text,
                latency_ms=at.now_ms - item.broker_ms,
                source=Source(at.source, item.partition, item.offset),
                degraded=at.degraded,
            )
            if (more := self.unusual.get(row)) is not None:
                fraud = msgspec.structs.replace(fraud, **more)
            answers.append(outcome_of(item.transaction, fraud, amount_minor=amount_minor, event_time=event_time))
        return answers


def _feature_rows(x: Matrix) -> Iterator[Any]:
    """Every row as a `FeatureRow`."""
    columns = [map(int, column) if whole else column for whole, column in zip(WHOLE, x.T.tolist(), strict=True)]
    return starmap(FeatureRow, zip(*columns, strict=True))
