"""Exact TreeSHAP contributions from prepared tables (`scoring/shap_tables.py`), a tenth of what XGBoost takes.

What a row costs is a comparison for each test, and a line of a table added for each group. The loop is `_shap.c` where
it was built, and numpy elsewhere: both add the same numbers in the same order, so that the bits are the same, and
replicas and replays agree whatever they run on. XGBoost computes in single precision and agrees up to its rounding.
Whether it does is tried on a sample when a model is loaded, and if it does not, XGBoost is asked for every row.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import log
from typing import Any, Final, Protocol, cast

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

from features.native import built
from scoring.baseline import Rows, shap
from scoring.shap_tables import Tables, tables_of
from scoring.trees import base_score, plain_trees, sample_of

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

AGREES: Final = 1e-4
"""Of XGBoost's contributions, absolute or relative to the row's largest: it adds some hundred numbers of single
precision (6e-8 each), which has been seen to come to 3e-6. An error in a table would be of the size of a leaf, 1e-2."""

_SAMPLE: Final = 48
_MISSING: Final = 8
"""Rows of the sample with missing values."""
_AT_ONCE: Final = 64
"""Rows that numpy takes at once: it needs some 100 KB for each."""


class Adder(Protocol):
    """What is done for each row."""

    def add(self, rows: Floats, sums: Doubles, /) -> None:
        """Add each row's contributions.

        Args:
            rows: shape (n, features), C order.
            sums: shape (n, features + 1), C order; the last column is left as it is.

        Raises:
            ValueError: they are not of these sizes.
        """
        ...


class _NativeShap(Protocol):
    """`scoring/_shap.c`."""

    def Tables(self, features: int, /, *parts: NDArray[Any]) -> Adder:  # noqa: N802 - a class of the module
        """The parts are copied and checked: a ValueError says what does not fit."""
        ...


class Twin:
    """The same in numpy, where `_shap.c` was not built: several times slower."""

    def __init__(self, tables: Tables) -> None:
        self._width = tables.features + 1
        self._values = tables.values
        counts, targets = tables.tests.astype(np.int64), tables.targets.astype(np.int64)
        place = np.cumsum([0, *counts])[:-1, np.newaxis] + np.arange(counts.max(initial=0))
        # Groups are in order of their number of tests; shorter ones are filled with tests that nothing passes.
        real = np.arange(counts.max(initial=0)) < counts[:, np.newaxis]
        place = np.where(real, place, 0)
        self._columns = np.where(real, tables.columns[place], 0)
        self._splits = np.where(real, tables.splits[place], np.float32(-np.inf))
        self._missing_left = real & (tables.missing_left[place] > 0)
        self._targets = targets
        self._begin = np.cumsum([0, *(targets << counts)])[:-1]
        self._group = np.repeat(np.arange(len(targets)), targets)
        self._of_line = np.arange(len(self._group)) - np.repeat(np.cumsum([0, *targets])[:-1], targets)
        self._features_of = tables.features_of.astype(np.int64)

    def add(self, rows: Floats, sums: Doubles, /) -> None:
        """As of `Adder`."""
        for start in range(0, len(rows), _AT_ONCE):
            sums[start : start + _AT_ONCE] = self._added(rows[start : start + _AT_ONCE], sums[start : start + _AT_ONCE])

    def _added(self, rows: Floats, sums: Doubles) -> Doubles:
        line = np.zeros((len(rows), len(self._targets)), np.int64)
        is_missing = np.isnan(rows)
        for test, (column, split) in enumerate(zip(self._columns.T, self._splits.T, strict=True)):
            left = rows[:, column] < split
            if is_missing.any():
                left |= is_missing[:, column] & self._missing_left[:, test]
            line |= left.astype(np.int64) << test
        first = self._begin + line * self._targets
        values = self._values[first[:, self._group] + self._of_line]
        own = np.arange(len(rows))[:, np.newaxis] * self._width
        # The sums as they were come first, then the groups in their order, as in C.
        cells = np.concatenate((own + np.arange(self._width), own + self._features_of), axis=1)
        weights = np.concatenate((sums, values), axis=1)
        added = np.bincount(cells.ravel(), weights.ravel(), sums.size)
        return np.asarray(added, np.float64).reshape(sums.shape)


class Shapley:
    """Contributions of a model's features.

    Args:
        tables: of the model.
        adder: what adds them up; without: the C of `_shap.c`, or numpy where it was not built.
    """

    def __init__(self, tables: Tables, adder: Adder | None = None) -> None:
        self._base, self._width = tables.base, tables.features + 1
        self._adder = adder or native(tables) or Twin(tables)

    def contributions(self, x: Rows) -> Doubles:
        """What each feature adds to each row's log odds compared with the training rows.

        Args:
            x: shape (n, features); a missing value is NaN.

        Returns:
            Shape (n, features + 1); the last column is the mean log odds of the training rows, and the sum of a row is
            its log odds. A row's contributions depend on that row alone.
        """
        sums = np.zeros((len(x), self._width))
        sums[:, -1] = self._base
        self._adder.add(np.ascontiguousarray(x, np.float32), sums)
        return sums


def native(tables: Tables) -> Adder | None:
    """The tables in C; None where it was not built."""
    if _NATIVE is None:
        return None
    return _NATIVE.Tables(
        tables.features, tables.tests, tables.targets, tables.columns, tables.splits, tables.missing_left,
        tables.features_of, tables.values,
    )  # fmt: skip


def shapley_of(booster: xgb.Booster, learner: Mapping[str, Any]) -> Shapley | None:
    """The contributions of a booster.

    Args:
        booster: the model.
        learner: the `learner` of its JSON form.

    Returns:
        None where XGBoost has to be asked: trees of another kind or depth, or more of them than tables may hold.
    """
    try:
        trees, base = plain_trees(learner), float(base_score(learner))
        shapley = Shapley(tables_of(trees, booster.num_features(), -log(1 / base - 1)))
    except (KeyError, ValueError, ZeroDivisionError):
        return None
    splits = np.concatenate([tree["split_conditions"] for tree in trees]).astype(np.float32)
    sample = sample_of(splits, _SAMPLE, booster.num_features())
    sample[:_MISSING, ::2] = np.nan
    sample[0] = np.nan
    own, asked = shapley.contributions(sample), shap(booster, sample)
    tolerance = AGREES * np.maximum(1, np.abs(asked).max(axis=1, keepdims=True))
    return shapley if bool((np.abs(own - asked) <= tolerance).all()) else None


_NATIVE: Final = cast("_NativeShap | None", built("scoring._shap"))
