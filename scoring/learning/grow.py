"""Growing trees: the parameters and why, and one function that grows them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

from features.errors import HistoryError

Parameters = dict[str, int | float | str]
Floats = NDArray[np.float32]
Progress = Callable[[int, int], None]

ROUNDS: Final = 100
PARAMETERS: Final[Parameters] = {
    "objective": "binary:logistic",
    "tree_method": "hist",
    # XGBoost would start from the label mean; with few frauds that costs much of the precision.
    "base_score": 0.5,
    "max_depth": 4,
    "eta": 0.1,
    "min_child_weight": 6,
    "subsample": 0.7,
    # A history of 100 attacks tempts trees to learn each by heart.
    "reg_lambda": 30,
    # An attack's gaps of 30 to 120 s are half a percent of all gaps: with the default of 256 bins they share one.
    "max_bin": 4096,
    # Histograms are summed per thread, so another number of threads would be another model.
    "nthread": 2,
}


class _Report(xgb.callback.TrainingCallback):
    """Tells the caller after every tree."""

    def __init__(self, progress: Progress, rounds: int) -> None:
        self._progress, self._rounds = progress, rounds

    def after_iteration(self, model: xgb.Booster, epoch: int, evals_log: object) -> bool:  # noqa: ARG002 - their names
        self._progress(epoch + 1, self._rounds)
        return False


def grow(
    x: Floats,
    is_fraud: NDArray[np.bool_],
    names: Sequence[str],
    parameters: Parameters,
    rounds: int = ROUNDS,
    *,
    categorical: Sequence[bool] = (),
    progress: Progress = lambda _done, _rounds: None,
) -> xgb.Booster:
    """Grow trees; the same arguments and libraries give the same bytes.

    Args:
        x: shape (n, columns).
        is_fraud: shape (n,).
        names: of the columns.
        parameters: of XGBoost, `max_bin` and `nthread` among them.
        rounds: trees.
        categorical: columns whose values are codes; without: none.
        progress: called with the number of trees grown and of trees to grow.
    """
    types = ["c" if code else "q" for code in categorical] if any(categorical) else None
    rows = xgb.QuantileDMatrix(
        x,
        is_fraud.astype(np.float32),
        feature_names=list(names),
        feature_types=types,
        enable_categorical=types is not None,
        max_bin=int(parameters["max_bin"]),
        nthread=int(parameters["nthread"]),
    )
    return xgb.train(parameters, rows, rounds, callbacks=[_Report(progress, rounds)], verbose_eval=False)


def pinned(booster: xgb.Booster) -> tuple[bytes, xgb.Booster]:
    """The bytes of a model file, and the booster that they make, on one thread."""
    raw = bytes(booster.save_raw("ubj"))
    loaded = xgb.Booster({"nthread": 1})
    loaded.load_model(bytearray(raw))
    loaded.set_param({"nthread": 1})
    return raw, loaded


def predicted(booster: xgb.Booster, x: Floats) -> Floats:
    """Probabilities before calibration; `x` has shape (n, columns), the result (n,)."""
    if not len(x):
        return np.empty(0, np.float32)
    return np.asarray(booster.inplace_predict(x), dtype=np.float32)


def with_constraints(parameters: Parameters, monotone: Mapping[str, int], names: Sequence[str]) -> Parameters:
    """Parameters under which the probability never falls (+1) or never rises (-1) with a column.

    Raises:
        HistoryError: there is no such column, or a direction is neither 1 nor -1.
    """
    if not monotone:
        return parameters
    for name, way in monotone.items():
        if name not in names:
            raise HistoryError(f"--monotone: there is no column {name}; there are: {', '.join(names)}")
        if way not in {1, -1}:
            raise HistoryError(f"--monotone: {name} must be +1 or -1, not {way}")
    ways = ",".join(str(monotone.get(name, 0)) for name in names)
    return {**parameters, "monotone_constraints": f"({ways})"}
