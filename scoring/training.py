"""From a labelled feature table to a model folder: `fraudstream train`."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import xgboost as xgb

from features.catalogue import FEATURE_NAMES, FEATURE_SET
from features.errors import HistoryError, ModelError
from scoring.baseline import baseline_of
from scoring.dataset import Dataset, load_dataset
from scoring.evaluation import measure
from scoring.learning.card import card
from scoring.learning.details import CARD_FILE, PAGE_FILE, REPORT_FILE, Details, Fold, SearchSummary
from scoring.learning.grow import PARAMETERS, ROUNDS, pinned, with_constraints
from scoring.learning.guard import refuse_leaks
from scoring.learning.labels import LabelOptions
from scoring.learning.levels import fitted_levels, recoded
from scoring.learning.options import Progress, TrainOptions, silent
from scoring.learning.search import SearchOptions, Setting, cross_validate, search, time_folds
from scoring.learning.split import Divided, SplitOptions, divide
from scoring.learning.summary import summarised
from scoring.learning.trained import Clock, Trained, grown
from scoring.learning.view import html
from scoring.manifest import FORMAT, MANIFEST_FILE, MODEL_FILE, Manifest, catalogue_columns
from scoring.reference import reference_of, write_reference

__all__ = ["PARAMETERS", "ROUNDS", "LabelOptions", "SearchOptions", "SplitOptions", "TrainOptions", "train"]

REVIEW_FALSE_POSITIVE_RATE: Final = 0.003
BLOCK_FALSE_POSITIVE_RATE: Final = 0.0005


def train(
    table: Path,
    out: Path,
    *,
    seed: int,
    review_fpr: float = REVIEW_FALSE_POSITIVE_RATE,
    block_fpr: float = BLOCK_FALSE_POSITIVE_RATE,
    split: SplitOptions | None = None,
    progress: Progress = silent,
    options: TrainOptions | None = None,
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
        options: see TrainOptions.

    Raises:
        HistoryError: the table cannot be used, a column is a leak, or a rate is out of range.
        ModelError: the folder cannot be written.
    """
    if not 0 < block_fpr <= review_fpr < 1:
        raise HistoryError(f"false-positive rates must be 0 < block <= review < 1, not {block_fpr} and {review_fpr}")
    options, split = options or TrainOptions(), split or SplitOptions()
    clock = Clock(options.seconds)
    data = load_dataset(table, options.labels)
    parts = _prepared(divide(data, split), options)
    clock.lap("reading and dividing")
    setting, searched = _setting(parts.learning, split, options, seed, data.fingerprint)
    clock.lap("search and cross-validation")
    raw, booster = pinned(grown(parts.learning, setting, progress))
    trained = Trained(parts, booster, options.calibration, (review_fpr, block_fpr))
    if options.refit:
        raw, booster = pinned(grown(_joined(parts.learning, parts.validation), setting, progress))
        trained.take(booster)
    clock.lap("training")
    manifest = Manifest(
        format=FORMAT,
        model_sha256=hashlib.sha256(raw).hexdigest(),
        feature_set=FEATURE_SET,
        features=catalogue_columns(),
        thresholds=trained.thresholds,
        split=parts.periods,
        metrics=measure(trained.said, parts.test, trained.thresholds),
        data_fingerprint=data.fingerprint,
        rows=len(data),
        seed=seed,
        rounds=setting.rounds,
        parameters=setting.parameters,
        libraries={"xgboost": xgb.__version__, "numpy": np.__version__, "scikit-learn": version("scikit-learn")},
        baseline=baseline_of(booster, parts.learning.features, trained.raw_review),
        calibration=trained.calibration,
        inputs=parts.learning.inputs,
        split_by=parts.by,
    )
    files = {MODEL_FILE: raw, MANIFEST_FILE: manifest.encode()}
    if options.reports:
        files = _reports(summarised(manifest, data, parts, trained, options, searched, clock), manifest) | files
    _write(out, files)
    _write_reference(out, manifest, parts, trained, options)
    return manifest


def _prepared(parts: Divided, options: TrainOptions) -> Divided:
    """The parts with leaks refused, and categories coded by what the learning rows know."""
    refuse_leaks(parts.learning, options.trusted)
    first, old = len(FEATURE_NAMES), parts.learning.inputs
    new = fitted_levels(old, parts.learning.features, first)
    learning, validation, test = (
        replace(part, features=recoded(part.features, old, new, first), inputs=new)
        for part in (parts.learning, parts.validation, parts.test)
    )
    return replace(parts, learning=learning, validation=validation, test=test)


def _setting(
    learning: Dataset, split: SplitOptions, options: TrainOptions, seed: int, fingerprint: str
) -> tuple[Setting, tuple[SearchSummary | None, tuple[Fold, ...]]]:
    """What to grow, and what search and cross-validation came to."""
    setting = Setting({**PARAMETERS, "seed": seed}, ROUNDS)
    constrained = with_constraints(setting.parameters, options.monotone, learning.names)
    setting = replace(setting, parameters=constrained)
    count = options.folds or (options.search.folds if options.search.trials else 0)
    if not count:
        return setting, (None, ())
    folds = time_folds(learning, count, split.gap_days if split.fixed is None else 0.0)
    found = None
    if options.search.trials:
        decisive = [fingerprint, split, sorted(options.monotone.items()), count, seed]
        name = hashlib.sha256(repr(decisive).encode()).hexdigest()[:16]
        setting, found = search(folds, options.search, seed, dict(options.monotone), name, options.searching)
    return setting, (found, cross_validate(folds, setting))


def _joined(one: Dataset, other: Dataset) -> Dataset:
    """Features and labels of both; nothing else is looked at when trees are grown."""
    return replace(
        one,
        features=np.concatenate((one.features, other.features)),
        is_fraud=np.concatenate((one.is_fraud, other.is_fraud)),
    )


def _reports(found: Details, manifest: Manifest) -> dict[str, bytes]:
    return {
        REPORT_FILE: msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n",
        PAGE_FILE: html(found).encode(),
        CARD_FILE: card(found, manifest).encode(),
    }


def _write_reference(out: Path, manifest: Manifest, parts: Divided, trained: Trained, options: TrainOptions) -> None:
    counts = (manifest.metrics.ordinary, manifest.metrics.fraud)
    flagged = 1 - sum(one.approve for one in counts) / sum(one.total for one in counts)
    kept = reference_of(
        parts.learning.features,
        trained.said,
        time_ms=parts.learning.time_ms,
        flagged=flagged,
        missing_fields=options.missing_fields,
    )
    write_reference(out, kept)


def _write(out: Path, files: Mapping[str, bytes]) -> None:
    """The manifest last: a folder whose files do not fit is refused at load."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            unfinished = out / f".{name}.{os.getpid()}"
            unfinished.write_bytes(content)
            unfinished.replace(out / name)
    except OSError as exc:
        raise ModelError(f"cannot write the model to {out}: {exc.strerror or exc}") from exc
