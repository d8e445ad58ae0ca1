"""What a model must beat, on the same rows: the amount alone, rules alone, the features of the reference design."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.catalogue import FEATURE_NAMES
from features.mapping.spec import GROUP
from scoring.dataset import Dataset
from scoring.decision import VERDICTS
from scoring.learning.details import Rival
from scoring.learning.grow import PARAMETERS, Parameters, grow, predicted
from scoring.learning.measures import rival
from scoring.rules.columns import MODEL_OUTCOME, Column, day_of_week
from scoring.rules.load import load_rules
from scoring.rules.ruleset import RuleSet

STARTERS: Final = Path(__file__).with_name("baseline-rules.yaml")
REFERENCE_FEATURES: Final = (
    "num_trans_last_10m", "num_trans_last_1w", "avg_amt_last_10m", "avg_amt_last_1w", "amt_ratio1", "amt_ratio2",
    "count_ratio",
)  # fmt: skip
_REFERENCE: Final[Parameters] = {
    **PARAMETERS, "max_depth": 5, "eta": 0.2, "gamma": 4, "min_child_weight": 6, "reg_lambda": 1, "max_bin": 256,
}  # fmt: skip
_AMOUNT: Final[Parameters] = {**PARAMETERS, "max_depth": 3, "max_bin": 256}
_AMOUNT_ROUNDS: Final = 30
_MOST_ROWS: Final = 1_000_000


def rivals(learning: Dataset, test: Dataset, seed: int, rules: RuleSet | None = None) -> tuple[Rival, ...]:
    """The baselines, measured on the test part.

    Args:
        learning: rows that they may learn from; of more than a million ordinary ones a sample.
        test: rows that they are judged on.
        seed: of the trees.
        rules: a rule set; without: a few that anybody would start with.
    """
    some = _sampled(learning)
    given = rules if rules is not None else load_rules(STARTERS)
    name = f"rules alone ({given.version})" if rules is not None else "rules alone (a few to start with)"
    level = rule_levels(given, test)
    return (
        rival("amount alone", _grown(some, test, ("amount",), {**_AMOUNT, "seed": seed}, _AMOUNT_ROUNDS), test),
        rival(name, level.astype(np.float32), test, flagged=level > 0),
        rival("reference features", _grown(some, test, REFERENCE_FEATURES, {**_REFERENCE, "seed": seed}, 100), test),
    )


def _sampled(data: Dataset) -> Dataset:
    step = len(data) // _MOST_ROWS
    return data.rows(data.is_fraud | (np.arange(len(data)) % step == 0)) if step > 1 else data


def _grown(
    learning: Dataset, test: Dataset, names: tuple[str, ...], parameters: Parameters, rounds: int
) -> NDArray[np.float32]:
    places = [FEATURE_NAMES.index(name) for name in names]
    booster = grow(learning.features[:, places], learning.is_fraud, names, parameters, rounds)
    return predicted(booster, test.features[:, places])


def rule_levels(rules: RuleSet, data: Dataset) -> NDArray[np.int64]:
    """Verdicts of rules alone, as places in VERDICTS; what a model would say counts as nothing; shape (n,)."""
    columns = {name: _column(name, data) for name in rules.columns}
    decided = rules.decide(columns, len(data))
    outcome = np.array([VERDICTS.index(rule.outcome) for rule in decided.rules] + [0], np.int64)
    return outcome[decided.deciding]


def _column(name: str, data: Dataset) -> Column | pl.Series:  # noqa: PLR0911 - one for each kind of column
    """What a rule reads, as far as a table has it; a text that it has not is missing everywhere."""
    n = len(data)
    if name in FEATURE_NAMES:
        return data.features[:, FEATURE_NAMES.index(name)].astype(np.float64)
    if name in {"score", "probability"}:
        return np.zeros(n)
    if name == MODEL_OUTCOME:
        return pl.repeat(VERDICTS[0], n, dtype=pl.String, eager=True)
    if name == "event_ms":
        return data.time_ms
    if name == "day_of_week":
        return day_of_week(data.time_ms)
    if name == "amount_minor":
        # Most currencies have two decimals, and a table does not say which a row has.
        return np.rint(data.features[:, FEATURE_NAMES.index("amount")].astype(np.float64) * 100)
    if GROUP + name in data.more:
        levels = pl.Series(data.levels[GROUP + name], dtype=pl.String)
        return levels.gather(data.more[GROUP + name])
    return pl.repeat(None, n, dtype=pl.String, eager=True)
