"""A model read for offline use: also one that takes inputs which no transaction carries."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

from features.errors import ModelError
from scoring.calibration import Calibrator
from scoring.learning.grow import predicted
from scoring.manifest import MANIFEST_FILE, MODEL_FILE, Manifest, Thresholds, decode_manifest

_ADVICE: Final = "train one with `fraudstream train` and give its folder (--model, FRAUD_MODEL)"


class OfflineModel:
    """Probabilities of fraud of rows of a feature table."""

    def __init__(self, booster: xgb.Booster, manifest: Manifest) -> None:
        self._booster = booster
        self._calibrate = None if manifest.calibration is None else Calibrator(manifest.calibration)
        self.manifest = manifest
        self.version = manifest.version

    @classmethod
    def load(cls, path: Path) -> OfflineModel:
        """Load a model folder.

        Raises:
            ModelError: a file is missing or damaged, or the model was made for another catalogue.
        """
        try:
            manifest = decode_manifest((path / MANIFEST_FILE).read_bytes(), offline=True)
            raw = (path / MODEL_FILE).read_bytes()
        except OSError as exc:
            raise ModelError(f"FRAUD_MODEL: no model in {path} ({exc.strerror}); {_ADVICE}") from exc
        except ValueError as exc:
            raise ModelError(f"FRAUD_MODEL: {path}: {exc}; {_ADVICE}") from exc
        if hashlib.sha256(raw).hexdigest() != manifest.model_sha256:
            raise ModelError(f"{path}: {MODEL_FILE} is not the file its manifest was written for; train it again")
        booster = xgb.Booster({"nthread": 1})
        booster.load_model(bytearray(raw))
        booster.set_param({"nthread": 1})
        if tuple(booster.feature_names or ()) != manifest.columns:
            raise ModelError(f"{path}: the trees were grown on other columns than the manifest says; train it again")
        return cls(booster, manifest)

    @property
    def thresholds(self) -> Thresholds:
        """From which probability on a transaction is reviewed and blocked."""
        return self.manifest.thresholds

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Calibrated probability of each row; `x` has shape (n, columns of the manifest), the result (n,)."""
        raw = predicted(self._booster, x)
        return raw if self._calibrate is None else self._calibrate(raw)
