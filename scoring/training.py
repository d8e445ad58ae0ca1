"""From a labelled feature table to a model folder: `fraudstream train`."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

import numpy as np
import xgboost as xgb

from features.catalogue import FEATURE_NAMES, FEATURE_SET
from features.errors import HistoryError, ModelError
from scoring.baseline import baseline_of
from scoring.dataset import Dataset, load_dataset
from scoring.evaluation import measure, threshold_at, timestamp
from scoring.manifest import FORMAT, MANIFEST_FILE, MODEL_FILE, Manifest, Period, Split, Thresholds, catalogue_columns
from scoring.model import load_booster, probabilities

ROUNDS: Final = 100
PARAMETERS: Final[dict[str, int | float | str]] = {
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
REVIEW_FALSE_POSITIVE_RATE: Final = 0.003
BLOCK_FALSE_POSITIVE_RATE: Final = 0.0005
_DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class SplitOptions:
    """How a history is divided by time: train, gap, validation, gap, test.

    Attributes:
        train: share of the time left after the gaps.
        validation: share of it that the thresholds are chosen on; what remains is the test part.
        gap_days: between the parts, as long as labels take to arrive in production.
    """

    train: float = 0.5
    validation: float = 0.15
    gap_days: float = 7.0

    def __post_init__(self) -> None:
        if not (self.train > 0 and self.validation > 0 and self.train + self.validation < 1 and self.gap_days >= 0):
            raise HistoryError(
                "the shares of train and validation must be above 0 and leave some to test on, the gap 0 days or more"
            )


def train(
    table: Path,
    out: Path,
    *,
    seed: int,
    review_fpr: float = REVIEW_FALSE_POSITIVE_RATE,
    block_fpr: float = BLOCK_FALSE_POSITIVE_RATE,
    split: SplitOptions | None = None,
    progress: Callable[[int, int], None] = lambda _done, _rounds: None,
) -> Manifest:
    """Train a model and write its folder; the same table, seed and libraries give the same bytes.

    Args:
        table: labelled feature table, a Parquet file or a folder of them.
        out: model folder; made when it is not there, a model in it is replaced.
        seed: of the training.
        review_fpr: share of ordinary transactions that may be reviewed or blocked.
        block_fpr: share that may be blocked; at most `review_fpr`.
        split: how the history is divided.
        progress: called with the number of trees grown and of trees to grow.

    Raises:
        HistoryError: the table cannot be used, or a rate is out of range.
        ModelError: the folder cannot be written.
    """
    if not 0 < block_fpr <= review_fpr < 1:
        raise HistoryError(f"false-positive rates must be 0 < block <= review < 1, not {block_fpr} and {review_fpr}")
    data = load_dataset(table)
    parts, periods = _divide(data, split or SplitOptions())
    learning, validation, test = parts
    parameters = PARAMETERS | {"seed": seed}
    raw = _grow(learning, parameters, progress)
    booster = load_booster(raw)

    ordinary = probabilities(booster, validation.features)[~validation.is_fraud]
    thresholds = Thresholds(
        threshold_at(ordinary, review_fpr), threshold_at(ordinary, block_fpr), review_fpr, block_fpr
    )
    manifest = Manifest(
        baseline=baseline_of(booster, learning.features, thresholds.review),
        format=FORMAT,
        model_sha256=hashlib.sha256(raw).hexdigest(),
        feature_set=FEATURE_SET,
        features=catalogue_columns(),
        thresholds=thresholds,
        split=periods,
        metrics=measure(probabilities(booster, test.features), test, thresholds),
        data_fingerprint=data.fingerprint,
        rows=len(data),
        seed=seed,
        rounds=ROUNDS,
        parameters=parameters,
        libraries={"xgboost": xgb.__version__, "numpy": np.__version__, "scikit-learn": version("scikit-learn")},
    )
    _write(out, raw, manifest)
    return manifest


def _divide(data: Dataset, options: SplitOptions) -> tuple[tuple[Dataset, Dataset, Dataset], Split]:
    first_ms, stop_ms = int(data.time_ms[0]), int(data.time_ms[-1]) + 1
    gap_ms = round(options.gap_days * _DAY_MS)
    usable_ms = stop_ms - first_ms - 2 * gap_ms
    if usable_ms <= 0:
        raise HistoryError(
            f"the history spans {(stop_ms - first_ms) / _DAY_MS:.1f} days; two gaps of {options.gap_days:g} days leave "
            "nothing to train on"
        )
    train_stop = first_ms + int(options.train * usable_ms)
    validation_start = train_stop + gap_ms
    validation_stop = validation_start + int(options.validation * usable_ms)
    bounds = ((first_ms, train_stop), (validation_start, validation_stop), (validation_stop + gap_ms, stop_ms))
    parts = [data.between(*bound) for bound in bounds]
    periods = [_period(*named) for named in zip(("train", "validation", "test"), parts, bounds, strict=True)]
    return (parts[0], parts[1], parts[2]), Split(*periods)


def _period(name: str, part: Dataset, bounds: tuple[int, int]) -> Period:
    start, stop = (timestamp(bound) for bound in bounds)
    frauds = int(np.count_nonzero(part.is_fraud))
    if not 0 < frauds < len(part):
        kind = "fraudulent" if not frauds else "ordinary"
        raise HistoryError(
            f"the {name} part of the history ({start} to {stop}, {len(part)} rows) has no {kind} transactions; "
            "give a longer or larger history"
        )
    return Period(start, stop, len(part), frauds)


class _Report(xgb.callback.TrainingCallback):
    """Tells the caller after every tree."""

    def __init__(self, progress: Callable[[int, int], None]) -> None:
        self._progress = progress

    def after_iteration(self, model: xgb.Booster, epoch: int, evals_log: object) -> bool:  # noqa: ARG002 - their names
        self._progress(epoch + 1, ROUNDS)
        return False


def _grow(learning: Dataset, parameters: dict[str, int | float | str], progress: Callable[[int, int], None]) -> bytes:
    rows = xgb.QuantileDMatrix(
        learning.features,
        learning.is_fraud.astype(np.float32),
        feature_names=list(FEATURE_NAMES),
        max_bin=int(parameters["max_bin"]),
        nthread=int(parameters["nthread"]),
    )
    booster = xgb.train(parameters, rows, ROUNDS, callbacks=[_Report(progress)], verbose_eval=False)
    return bytes(booster.save_raw("ubj"))


def _write(out: Path, raw: bytes, manifest: Manifest) -> None:
    """The manifest last: a folder whose two files do not fit is refused at load."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, content in ((MODEL_FILE, raw), (MANIFEST_FILE, manifest.encode())):
            unfinished = out / f".{name}.{os.getpid()}"
            unfinished.write_bytes(content)
            unfinished.replace(out / name)
    except OSError as exc:
        raise ModelError(f"cannot write the model to {out}: {exc.strerror or exc}") from exc
