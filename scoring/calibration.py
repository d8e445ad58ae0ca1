"""Probabilities that mean what they say: a model's raw probability, mapped by a rising line through knots.

Trees that learn from few frauds rank well and say odd numbers. The map is fitted on the validation part
(`scoring/learning/calibrate.py`), stored in the manifest and applied to every prediction. It rises strictly, so what
ranks by probability ranks as before. It is made of sums and products alone: the same bits for a row, whatever stands
beside it and however many rows there are.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

FEW_ROWS: Final = 8
"""Up to so many rows plain Python is faster than numpy."""


class Calibration(msgspec.Struct, frozen=True):
    """The map, as a manifest holds it.

    Attributes:
        method: how it was fitted, for people.
        raw: of the trees, strictly rising from 0 to 1.
        calibrated: what each of them means, strictly rising, 0 to 1.
    """

    method: str
    raw: tuple[float, ...]
    calibrated: tuple[float, ...]

    def __post_init__(self) -> None:
        rising = all(low < high for column in (self.raw, self.calibrated) for low, high in pairwise(column))
        ends = len(self.raw) > 1 and self.raw[0] == 0 and self.raw[-1] == 1
        fits = len(self.raw) == len(self.calibrated) and ends and self.calibrated[0] >= 0 and self.calibrated[-1] <= 1
        if not (rising and fits):
            raise ValueError("calibration must be two strictly rising columns of equal length, the raw one from 0 to 1")


class Calibrator:
    """Applies a calibration.

    >>> halves = Calibrator(Calibration("by hand", (0.0, 0.5, 1.0), (0.0, 0.125, 1.0)))
    >>> halves(np.array([0.0, 0.25, 0.5, 0.75, 1.0], np.float32)).tolist()
    [0.0, 0.0625, 0.125, 0.5625, 1.0]
    """

    def __init__(self, calibration: Calibration) -> None:
        raw, calibrated = np.array(calibration.raw), np.array(calibration.calibrated)
        self._raw, self._low = raw[:-1], calibrated[:-1]
        self._slope = np.diff(calibrated) / np.diff(raw)
        self._plain = (self._raw.tolist(), self._low.tolist(), self._slope.tolist())

    def __call__(self, probability: Floats) -> Floats:
        """Calibrated probabilities; shape (n,) in and out."""
        if len(probability) <= FEW_ROWS:
            raw, low, slope = self._plain
            places = [(value, bisect_right(raw, value) - 1) for value in probability.tolist()]
            return np.array([low[at] + slope[at] * (value - raw[at]) for value, at in places], np.float32)
        exact = probability.astype(np.float64)
        at = np.searchsorted(self._raw, exact, side="right") - 1
        return np.asarray(self._low[at] + self._slope[at] * (exact - self._raw[at]), np.float32)
