"""Fitting the map from what trees say to probabilities that mean what they say.

`beta` fits three numbers: a logistic regression on ln p and -ln (1 - p), which bends as trees do and needs few frauds.
`isotonic` follows the rows themselves and needs many. Both give a strictly rising line, so ranks stay as they are.
"""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from scoring.calibration import Calibration

Method = Literal["beta", "isotonic", "none"]
METHODS: Final[tuple[Method, ...]] = ("beta", "isotonic", "none")
Floats = NDArray[np.float64]

FEWEST: Final = 20
"""Rows of either kind below which nothing is fitted."""
_TINY: Final = 1e-7
_KNOTS: Final = 129
_LEAST_RISE: Final = 1e-9


def method_of(name: str) -> Method | None:
    """The method of that name; None where there is none."""
    return next((method for method in METHODS if method == name), None)


def fit(raw: NDArray[np.float32], is_fraud: NDArray[np.bool_], method: Method) -> Calibration | None:
    """Fit a calibration.

    Args:
        raw: what the trees say, shape (n,), of rows that they were not grown on.
        is_fraud: shape (n,).
        method: how; `none` fits nothing.

    Returns:
        None where nothing was asked for, or there are too few rows of a kind to say anything.
    """
    frauds = int(np.count_nonzero(is_fraud))
    if method == "none" or min(frauds, len(raw) - frauds) < FEWEST:
        return None
    exact = raw.astype(np.float64)
    return _beta(exact, is_fraud) if method == "beta" else _isotonic(exact, is_fraud)


def _beta(raw: Floats, is_fraud: NDArray[np.bool_]) -> Calibration | None:
    x = _logs(raw)
    for columns in ([0, 1], [0], [1]):
        found = LogisticRegression(C=1e6, max_iter=1000).fit(x[:, columns], is_fraud)
        slopes = np.zeros(2)
        slopes[columns] = found.coef_[0]
        if (slopes >= 0).all() and slopes.any():
            break
    else:
        return None  # the trees rank the wrong way round: no rising line helps
    # Knots evenly spaced in log odds: there the curve is nearly a line.
    at = np.linspace(-np.log(1 / _TINY), np.log(1 / _TINY), _KNOTS)
    knots = np.concatenate(([0.0], 1 / (1 + np.exp(-at)), [1.0]))
    said = 1 / (1 + np.exp(-(_logs(knots) @ slopes + float(found.intercept_[0]))))
    return _line("beta", knots, said)


def _logs(p: Floats) -> Floats:
    inside = np.clip(p, _TINY, 1 - _TINY)
    return np.stack((np.log(inside), -np.log1p(-inside)), axis=1)


def _isotonic(raw: Floats, is_fraud: NDArray[np.bool_]) -> Calibration:
    said = IsotonicRegression(y_min=0, y_max=1, increasing=True).fit_transform(raw, is_fraud.astype(np.float64))
    levels, block = np.unique(said, return_inverse=True)
    rows = np.bincount(block)
    middle = np.bincount(block, weights=raw) / rows
    # A block of nothing but ordinary rows does not show that fraud is impossible there, nor one of frauds that it is
    # certain.
    smoothed = np.where((levels <= 0) | (levels >= 1), (levels * rows + 0.5) / (rows + 1), levels)
    rising = np.maximum.accumulate(smoothed)
    ends = [rising[0] / 2], rising, [(rising[-1] + 1) / 2]
    return _line("isotonic", np.concatenate(([0.0], middle, [1.0])), np.concatenate(ends))


def _line(method: str, knots: Floats, said: Floats) -> Calibration:
    """Knots made strictly rising in both columns, the ends at 0 and 1."""
    kept = np.concatenate(([True], np.diff(knots) > 0))
    knots, said = knots[kept], said[kept]
    steps = np.maximum(np.diff(said), _LEAST_RISE)
    rising = np.clip(said[0], 0, 1) + np.concatenate(([0.0], np.cumsum(steps)))
    if rising[-1] > 1:
        rising = rising / rising[-1]
    return Calibration(method, tuple(knots.tolist()), tuple(rising.tolist()))
