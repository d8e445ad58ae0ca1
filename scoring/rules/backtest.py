"""What rules would have done: a new rule set against the one in force, over the same transactions.

The engine is the one of the score role (`RuleSet.decide`), so what is counted here is what would have happened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from scoring.decision import VERDICTS, Verdict, levels, scores_of
from scoring.manifest import Thresholds
from scoring.rules.columns import MODEL_OUTCOME, TEXTS, Column
from scoring.rules.lists import Entries
from scoring.rules.ruleset import Decided, Rule, RuleSet
from scoring.rules.tally import FLAGGED, DayTally, RuleTally, Sums, Weights, sums

MOST_EXAMPLES = 50

Columns = dict[str, Column | pl.Series]


class Candidate(msgspec.Struct, frozen=True):
    """One side of a comparison.

    Attributes:
        name: for people.
        rules: the rule set; None is the model alone.
        members: lists in Redis that it asks.
    """

    name: str
    rules: RuleSet | None
    members: Mapping[str, Entries] = {}

    @property
    def columns(self) -> frozenset[str]:
        """What of a transaction it reads."""
        return frozenset(self.rules.columns if self.rules is not None else ())

    @property
    def texts(self) -> frozenset[str]:
        """Texts that it needs, its thresholds included."""
        costs = self.rules.thresholds.costs if self.rules is not None and self.rules.thresholds is not None else None
        return (self.columns & frozenset(TEXTS)) | (frozenset(("currency",)) if costs and costs.rates else frozenset())


class Batch(msgspec.Struct, frozen=True):
    """Some authorizations.

    Attributes:
        columns: what the candidates read, but for score, probability and the model's outcome; length n each.
        probability: of the model, shape (n,).
        amount: major units, shape (n,).
        fraud: labels, shape (n,); None where they are not known.
        day: UTC days since 1970, shape (n,).
        transaction_id: length n.
    """

    columns: Columns
    probability: NDArray[np.float32]
    amount: NDArray[np.float64]
    fraud: NDArray[np.bool_] | None
    day: NDArray[np.int64]
    transaction_id: Sequence[str] | pl.Series


class RuleLine(msgspec.Struct, frozen=True):
    """One rule over all transactions.

    Attributes:
        id, outcome, shadow: of the rule.
        hits: what it matches.
        decided: what it decides.
        alone: matches that no other rule with effect has.
        recall: share of all frauds that it matches; None where there are none.
    """

    id: str
    outcome: Verdict
    shadow: bool
    hits: Sums
    decided: Sums
    alone: int
    recall: float | None


class Side(msgspec.Struct, frozen=True):
    """One candidate over all transactions.

    Attributes:
        name, version: of the rule set.
        outcomes: by verdict.
        rules: in the order in which they decide.
        together: transactions that two rules both match, rule by rule.
    """

    name: str
    version: str
    outcomes: dict[Verdict, Sums]
    rules: tuple[RuleLine, ...]
    together: tuple[tuple[int, ...], ...]

    @property
    def flagged(self) -> Sums:
        """Reviewed and blocked together."""
        return added(self.outcomes[verdict] for verdict in VERDICTS[FLAGGED:])


class Change(msgspec.Struct, frozen=True):
    """Transactions whose outcome is another."""

    before: Verdict
    after: Verdict
    sums: Sums


class Example(msgspec.Struct, frozen=True):
    """A transaction whose outcome is another, and the rules that decide it."""

    transaction_id: str
    before: Verdict
    after: Verdict
    rule_before: str | None
    rule_after: str | None
    amount: float
    fraud: bool | None


class Day(msgspec.Struct, frozen=True):
    """One day, with the outcomes of both sides."""

    day: int
    new: dict[Verdict, Sums]
    against: dict[Verdict, Sums]


class BacktestReport(msgspec.Struct, frozen=True):
    """All that a backtest found.

    Attributes:
        labelled: whether frauds are known; else their numbers are 0.
        total: all transactions.
        new, against: see Side.
        changes: what is decided otherwise, by outcome.
        days: in order of time.
        examples: some of what is decided otherwise.
    """

    labelled: bool
    total: Sums
    new: Side
    against: Side
    changes: tuple[Change, ...]
    days: tuple[Day, ...]
    examples: tuple[Example, ...]


def added(parts: Iterable[Sums]) -> Sums:
    """Sums of sums."""
    rows = [(one.count, one.frauds, one.value, one.fraud_value) for one in parts]
    return sums(np.array(rows, np.float64).sum(axis=0)) if rows else Sums()


def decide_batch(candidate: Candidate, batch: Batch, limits: Thresholds) -> tuple[NDArray[np.int64], Decided | None]:
    """What a candidate decides, as places in VERDICTS, and its rules' part in it.

    Args:
        candidate: decides.
        batch: n authorizations.
        limits: the model's thresholds, where the candidate has none of its own.
    """
    rules = candidate.rules
    if rules is not None and rules.thresholds is not None:
        limits = rules.thresholds
    exact = batch.probability.astype(np.float64)
    currency = batch.columns.get("currency")
    codes = None if currency is None else list(currency) if limits.costs and limits.costs.rates else None
    level = levels(exact, limits, batch.amount, codes)
    if rules is None:
        return level, None
    columns: Columns = {**batch.columns, "probability": batch.probability, "score": scores_of(exact)}
    if MODEL_OUTCOME in rules.columns:
        columns[MODEL_OUTCOME] = pl.Series(VERDICTS).gather(level)
    decided = rules.decide(columns, len(exact), candidate.members)
    outcome = np.array([VERDICTS.index(rule.outcome) for rule in decided.rules] + [0], np.int64)
    return np.where(decided.deciding >= 0, outcome[decided.deciding], level), decided


class Backtest:
    """Compares two candidates, batch by batch.

    Args:
        new: what might come.
        against: what is in force.
        limits: thresholds of the model that gave the probabilities.
    """

    def __init__(self, new: Candidate, against: Candidate, limits: Thresholds) -> None:
        self._sides = (new, against)
        self._limits = limits
        self._rules = tuple(RuleTally(_evaluated(side)) for side in self._sides)
        self._days = (DayTally(), DayTally())
        self._moved = np.zeros((len(VERDICTS) ** 2, 4))
        self._examples: list[Example] = []
        self._labelled = True

    def add(self, batch: Batch) -> None:
        """Decide a batch both ways and take it in."""
        fraud = batch.fraud
        if fraud is None:
            self._labelled, fraud = False, np.zeros(len(batch.amount), np.bool_)
        weights = Weights(batch.amount, fraud)
        found = [decide_batch(side, batch, self._limits) for side in self._sides]
        for (level, decided), rules, days in zip(found, self._rules, self._days, strict=True):
            if decided is not None:
                rules.add(decided, weights)
            days.add(batch.day, level, weights)
        (new, by_new), (old, by_old) = found
        self._moved += weights.table(old * len(VERDICTS) + new, len(VERDICTS) ** 2)
        for row in np.flatnonzero(new != old)[: MOST_EXAMPLES - len(self._examples)].tolist():
            self._examples.append(
                Example(
                    batch.transaction_id[row], VERDICTS[old[row]], VERDICTS[new[row]], _rule(by_old, row),
                    _rule(by_new, row), float(batch.amount[row]), bool(fraud[row]) if self._labelled else None,
                )
            )  # fmt: skip

    def report(self) -> BacktestReport:
        """What was found so far."""
        width = len(VERDICTS)
        cells = [(old, new) for old in range(width) for new in range(width)]
        total = sums(self._moved.sum(axis=0))
        moved = self._moved.reshape(width, width, 4)
        new = self._side(0, {v: sums(moved[:, i].sum(axis=0)) for i, v in enumerate(VERDICTS)}, total)
        against = self._side(1, {v: sums(moved[i].sum(axis=0)) for i, v in enumerate(VERDICTS)}, total)
        days = tuple(
            Day(day, _by_verdict(one), _by_verdict(other))
            for (day, one), (_, other) in zip(self._days[0].rows(), self._days[1].rows(), strict=True)
        )
        changes = [Change(VERDICTS[o], VERDICTS[n], sums(moved[o, n])) for o, n in cells if o != n and moved[o, n, 0]]
        return BacktestReport(self._labelled, total, new, against, tuple(changes), days, tuple(self._examples))

    def _side(self, place: int, outcomes: dict[Verdict, Sums], total: Sums) -> Side:
        side, tally = self._sides[place], self._rules[place]
        lines = [
            RuleLine(
                rule.id, rule.outcome, rule.shadow, sums(tally.hits[i]), sums(tally.decided[i]), int(tally.alone[i]),
                float(tally.hits[i, 1]) / total.frauds if total.frauds else None,
            )
            for i, rule in enumerate(tally.rules)
        ]  # fmt: skip
        version = side.rules.version if side.rules is not None else "none"
        together = tuple(tuple(row) for row in tally.together.tolist())
        return Side(side.name, version, outcomes, tuple(lines), together)


def run_backtest(
    batches: Iterable[Batch],
    new: Candidate,
    against: Candidate,
    limits: Thresholds,
    progress: Callable[[int], None] = lambda _rows: None,
) -> BacktestReport:
    """Backtest over all batches; memory holds one of them."""
    made = Backtest(new, against, limits)
    rows = 0
    for batch in batches:
        made.add(batch)
        rows += len(batch.amount)
        progress(rows)
    return made.report()


def _evaluated(side: Candidate) -> tuple[Rule, ...]:
    return side.rules.evaluated if side.rules is not None else ()


def _rule(decided: Decided | None, row: int) -> str | None:
    place = -1 if decided is None else int(decided.deciding[row])
    return None if decided is None or place < 0 else decided.rules[place].id


def _by_verdict(table: NDArray[np.float64]) -> dict[Verdict, Sums]:
    return {verdict: sums(table[place]) for place, verdict in enumerate(VERDICTS)}
