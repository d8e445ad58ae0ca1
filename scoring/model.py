"""A trained model, loaded from its folder and checked against the catalogue before it scores anything."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

from features.catalogue import FEATURE_NAMES
from features.errors import ModelError
from scoring.baseline import shap, shift_of
from scoring.calibration import Calibrator
from scoring.manifest import MANIFEST_FILE, MODEL_FILE, Manifest, Thresholds, decode_manifest
from scoring.shapley import shapley_of
from scoring.trees import learner_of, trees_of

Matrix = NDArray[np.float64] | NDArray[np.float32]

_ADVICE: Final = "train one with `fraudstream train` and point FRAUD_MODEL at its folder"


class Model:
    """Probabilities of fraud, and what they are made of.

    A row's probability depends on that row alone: not on the others of its batch, nor on threads.
    """

    def __init__(self, booster: xgb.Booster, manifest: Manifest) -> None:
        self._booster = booster
        learner = learner_of(booster)
        self._trees = trees_of(booster, learner)
        self._shapley = shapley_of(booster, learner)
        self._shift = shift_of(manifest.baseline, len(FEATURE_NAMES))
        self._calibrate = None if manifest.calibration is None else Calibrator(manifest.calibration)
        self.manifest = manifest
        self.version = manifest.version

    @classmethod
    def load(cls, path: Path) -> Model:
        """Load a model folder.

        Raises:
            ModelError: a file is missing or damaged, or the model was made for other features than the catalogue's.
        """
        try:
            manifest = decode_manifest((path / MANIFEST_FILE).read_bytes())
            raw = (path / MODEL_FILE).read_bytes()
        except OSError as exc:
            missing = Path(exc.filename).name if exc.filename else str(path)
            raise ModelError(f"FRAUD_MODEL: no model in {path} ({missing}: {exc.strerror}); {_ADVICE}") from exc
        except ValueError as exc:
            raise ModelError(f"FRAUD_MODEL: {path}: {exc}; {_ADVICE}") from exc
        # The bytes are known before XGBoost sees them: its parser does not survive every damaged file.
        if hashlib.sha256(raw).hexdigest() != manifest.model_sha256:
            raise ModelError(
                f"FRAUD_MODEL: {path}: {MODEL_FILE} is not the file its manifest was written for; {_ADVICE}"
            )
        try:
            return cls(load_booster(raw), manifest)
        except (xgb.core.XGBoostError, ValueError) as exc:
            reason = str(exc).strip().splitlines()[-1]
            raise ModelError(f"FRAUD_MODEL: {path}: XGBoost cannot use {MODEL_FILE} ({reason}); {_ADVICE}") from exc

    @property
    def thresholds(self) -> Thresholds:
        """From which probability on a transaction is reviewed and blocked."""
        return self.manifest.thresholds

    def predict(self, x: Matrix) -> NDArray[np.float32]:
        """Probability of fraud of each row; `x` has shape (n, features), the result (n,)."""
        raw = self.raw(x)
        return raw if self._calibrate is None else self._calibrate(raw)

    def raw(self, x: Matrix) -> NDArray[np.float32]:
        """What the trees say, before calibration; shapes as of `predict`."""
        if self._trees is not None and 0 < len(x) <= self._trees.most_rows and not np.isnan(x).any():
            return self._trees.probabilities(x)
        return probabilities(self._booster, x)

    def contributions(self, x: Matrix) -> NDArray[np.float64]:
        """What each feature adds to each row's log odds, by exact TreeSHAP.

        They are measured against the approved population in the manifest; where it holds none, against the rows that
        the model was trained on.

        Args:
            x: shape (n, features).

        Returns:
            Shape (n, features + 1); the last column is the log odds that they are measured against. The sum of a row is
            its log odds before calibration.
        """
        if self._shapley is not None:
            found = self._shapley.contributions(x)
        else:
            found = shap(self._booster, x).astype(np.float64)
        return found if self._shift is None else found + self._shift


def load_booster(raw: bytes) -> xgb.Booster:
    """A booster from the bytes of a model file, pinned to one thread.

    Raises:
        ValueError: its columns are not the catalogue's.
        xgboost.core.XGBoostError: the bytes are no model.
    """
    booster = xgb.Booster({"nthread": 1})
    booster.load_model(bytearray(raw))
    booster.set_param({"nthread": 1})
    if tuple(booster.feature_names or ()) != FEATURE_NAMES:
        raise ValueError("the trees were grown on other columns")
    return booster


def probabilities(booster: xgb.Booster, x: Matrix) -> NDArray[np.float32]:
    """Probability of fraud of each row; `x` has shape (n, features), the result (n,)."""
    if not len(x):
        return np.empty(0, dtype=np.float32)
    return np.asarray(booster.inplace_predict(x), dtype=np.float32)
