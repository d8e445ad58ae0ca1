"""What reasons are measured against: the population that is approved, not everything that the model was trained on.

TreeSHAP says what each feature adds to a row's log odds, compared with the rows that the trees were grown on. An
analyst asks another question: what sets this transaction apart from those that are let through. So the mean of the
contributions over a sample of approved transactions is taken off. What then remains adds up as before: the
contributions of a row and the mean log odds of the sample are the row's log odds.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

from scoring.manifest import Baseline

Rows = NDArray[np.float64] | NDArray[np.float32]

SAMPLE_ROWS: Final = 2048
_CHUNK: Final = 65_536


def shap(booster: xgb.Booster, x: Rows) -> NDArray[np.float32]:
    """What each feature adds to each row's log odds compared with the training rows, by exact TreeSHAP.

    Args:
        booster: a binary logistic model.
        x: shape (n, features), columns in the model's order.

    Returns:
        Shape (n, features + 1); the last column is the mean log odds of the training rows.
    """
    if not len(x):
        return np.empty((0, x.shape[1] + 1), dtype=np.float32)
    # Columns without names: to set and compare them takes a fifth of the time of a single row.
    rows = xgb.DMatrix(x, nthread=1)
    return np.asarray(booster.predict(rows, pred_contribs=True, validate_features=False), dtype=np.float32)


def baseline_of(booster: xgb.Booster, x: Rows, review: float) -> Baseline:
    """The baseline of a model: rows of the training part that it approves, evenly spaced in time.

    Args:
        booster: the model.
        x: the training part in order of time, shape (n, features).
        review: probability from which on a transaction is reviewed.

    Returns:
        The same for the same rows; where the model approves none of them, the baseline of all.
    """
    approved = _approved(booster, x, review)
    if not len(approved):
        approved = np.arange(len(x))
    chosen = approved[np.linspace(0, len(approved) - 1, min(len(approved), SAMPLE_ROWS)).astype(np.int64)]
    mean = shap(booster, x[chosen]).astype(np.float64).mean(axis=0)
    return Baseline(float(mean.sum()), tuple(mean[:-1].tolist()), len(chosen), len(approved))


def shift_of(baseline: Baseline | None, features: int) -> NDArray[np.float64] | None:
    """What to add to `shap` so that it is measured against the baseline; None: nothing.

    The last column then is the baseline's log odds, whatever the training rows' were.

    Args:
        baseline: of the manifest.
        features: number of columns.

    Raises:
        ValueError: it was made for another number of columns, or holds numbers that are none.
    """
    if baseline is None:
        return None
    mean = np.array(baseline.contributions, np.float64)
    if len(mean) != features or not np.isfinite(mean).all() or not np.isfinite(baseline.margin):
        raise ValueError(f"the baseline has {len(mean)} contributions that are numbers, not {features}")
    return np.append(-mean, mean.sum())


def _approved(booster: xgb.Booster, x: Rows, review: float) -> NDArray[np.int64]:
    """Places of the rows that are approved, looked for in chunks."""
    found = [
        start + np.flatnonzero(np.asarray(booster.inplace_predict(x[start : start + _CHUNK])) < review)
        for start in range(0, len(x), _CHUNK)
    ]
    return np.concatenate(found).astype(np.int64) if found else np.empty(0, np.int64)
