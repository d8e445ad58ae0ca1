"""The answers to a batch: what was decided about its authorizations, and the outcomes of its other records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TypeVar

import msgspec
from msgspec import UNSET

from scoring.outcome import Outcome
from sinks.publisher import Record
from streams.decided import UNUSUAL, Decided
from streams.records import NATIVE, NativeOutcome, record_of, records_of

T = TypeVar("T")


class Tally(msgspec.Struct, frozen=True):
    """What is counted of a batch.

    Attributes:
        verdicts: how many of each.
        latency_ms: of each outcome, length n.
        unusual: field of `Fraud`, one of `UNUSUAL` -> outcomes that have it.
        reversals: how many of each kind.
        degraded: how many for each reason.
    """

    verdicts: Mapping[str, int]
    latency_ms: list[int]
    unusual: Mapping[str, int]
    reversals: Mapping[str, int]
    degraded: Mapping[str, int]


class Answers:
    """The outcomes of a batch.

    Args:
        decided: about its authorizations; None where there are none.
        others: outcomes of its other records, by their place in the batch.
        native: writes the records of what is decided; None: they are made of its outcomes.
    """

    def __init__(
        self, decided: Decided | None, others: Mapping[int, Outcome], native: NativeOutcome | None = NATIVE
    ) -> None:
        self._decided, self._others, self._native = decided, others, native

    def __len__(self) -> int:
        return len(self._others) + (0 if self._decided is None else len(self._decided.items))

    def outcomes(self) -> list[Outcome]:
        """Every outcome, in the order of the batch."""
        decided = self._decided
        return self._in_order([] if decided is None else decided.outcomes(), self._others)

    def records(self, topic: str) -> list[Record]:
        """The records that carry them to a topic, in the order of the batch."""
        own = [] if self._decided is None else records_of(self._decided, topic, self._native)
        return self._in_order(own, {place: record_of(topic, outcome) for place, outcome in self._others.items()})

    def degraded(self, reason: str) -> Answers:
        """The same, saying that something was wrong; those that say so already stay."""
        replace = msgspec.structs.replace
        decided = self._decided
        if decided is not None and decided.at.degraded is UNSET:
            decided = replace(decided, at=replace(decided.at, degraded=reason))
        others = {
            place: o if o.fraud.degraded is not UNSET else replace(o, fraud=replace(o.fraud, degraded=reason))
            for place, o in self._others.items()
        }
        return Answers(decided, others, self._native)

    def tally(self) -> Tally:
        """What is to be counted."""
        decided, others = self._decided, [outcome.fraud for outcome in self._others.values()]
        verdicts = Counter[str](fraud.outcome for fraud in others)
        latency_ms = [fraud.latency_ms for fraud in others]
        unusual = Counter(name for fraud in others for name in UNUSUAL if getattr(fraud, name) is not UNSET)
        reversals = Counter[str](fraud.reversal for fraud in others if fraud.reversal is not UNSET)
        degraded = Counter(fraud.degraded for fraud in others if fraud.degraded is not UNSET)
        if decided is not None:
            now_ms = decided.at.now_ms
            verdicts.update(decided.verdicts)
            latency_ms += [now_ms - item.broker_ms for item in decided.items]
            for more in decided.unusual.values():
                unusual.update(name for name, value in more.items() if value is not UNSET)
            if decided.at.degraded is not UNSET:
                degraded[decided.at.degraded] += len(decided.items)
        return Tally(verdicts, latency_ms, unusual, reversals, degraded)

    def _in_order(self, decided: list[T], others: Mapping[int, T]) -> list[T]:
        if not others:
            return decided
        rest = iter(decided)
        return [others[place] if place in others else next(rest) for place in range(len(self))]
