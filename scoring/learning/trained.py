"""What is made of grown trees: calibration and thresholds, from the validation part; what they say of the test part."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

from scoring.calibration import Calibrator
from scoring.dataset import Dataset
from scoring.evaluation import threshold_at
from scoring.learning.calibrate import Method, fit
from scoring.learning.grow import Progress, grow, predicted
from scoring.learning.search import Setting
from scoring.learning.split import Divided
from scoring.manifest import Thresholds

Floats = NDArray[np.float32]


class Trained:
    """A model before it is written.

    Args:
        parts: see Divided.
        booster: trees grown on the learning part.
        method: of the calibration.
        rates: false-positive rates of the thresholds for a review and for a block.

    Attributes:
        calibration: None where nothing was or could be fitted.
        thresholds: of calibrated probabilities.
        raw_review: the threshold for a review before calibration.
        before, said: what the trees say of the test part, and what that means once calibrated; shape (n,).
        booster: as taken last.
    """

    def __init__(self, parts: Divided, booster: xgb.Booster, method: Method, rates: tuple[float, float]) -> None:
        self._test = parts.test
        judged = parts.validation
        raw = predicted(booster, judged.features)
        self.calibration = fit(raw, judged.is_fraud, method)
        self._calibrate = Calibrator(self.calibration) if self.calibration is not None else None
        ordinary = self._calibrated(raw)[~judged.is_fraud]
        review, block = rates
        self.thresholds = Thresholds(threshold_at(ordinary, review), threshold_at(ordinary, block), review, block)
        self.raw_review = threshold_at(raw[~judged.is_fraud], review)
        self.take(booster)

    def take(self, booster: xgb.Booster) -> None:
        """Let other trees speak in place of these; calibration and thresholds stay."""
        self.booster = booster
        self.before: Floats = predicted(booster, self._test.features)
        self.said = self._calibrated(self.before)

    def _calibrated(self, raw: Floats) -> Floats:
        return self._calibrate(raw) if self._calibrate is not None else raw


def grown(data: Dataset, setting: Setting, progress: Progress) -> xgb.Booster:
    """Trees of a data set, its categorical inputs as such."""
    codes = [False] * (len(data.names) - len(data.inputs)) + [one.type == "categorical" for one in data.inputs]
    return grow(
        data.features, data.is_fraud, data.names, setting.parameters, setting.rounds, categorical=codes,
        progress=progress,
    )  # fmt: skip


class Clock:
    """How long the steps took, seconds, by name; `before` are steps that were done elsewhere."""

    def __init__(self, before: Mapping[str, float]) -> None:
        self.seconds = dict(before)
        self._last_s = time.monotonic()

    def lap(self, name: str) -> None:
        """A step has ended."""
        now_s = time.monotonic()
        self.seconds[name] = now_s - self._last_s
        self._last_s = now_s
