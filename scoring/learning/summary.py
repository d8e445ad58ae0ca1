"""Everything that a report tells, put together once a model is trained."""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
import xgboost as xgb

from features.catalogue import FEATURE_NAMES
from features.errors import HistoryError
from features.mapping.spec import GROUP
from scoring.dataset import Dataset
from scoring.decision import levels
from scoring.learning.baselines import rivals
from scoring.learning.details import FORMAT, Details, Fold, SearchSummary
from scoring.learning.guard import constant_columns
from scoring.learning.measures import (
    RECALL_RATES,
    group_rates,
    label_counts,
    pr_curve,
    reliability,
    rival,
    roc_curve,
    segments,
)
from scoring.learning.options import TrainOptions
from scoring.learning.split import Divided
from scoring.learning.trained import Clock, Trained
from scoring.manifest import Manifest

_FEW_FRAUDS: Final = 50


def summarised(
    manifest: Manifest,
    data: Dataset,
    parts: Divided,
    trained: Trained,
    options: TrainOptions,
    searched: tuple[SearchSummary | None, tuple[Fold, ...]],
    clock: Clock,
) -> Details:
    """Measure the model and its baselines on the test part.

    Args:
        manifest: of the model.
        data: everything that is known.
        parts: its parts.
        trained: the model.
        options: of the training.
        searched: what search and cross-validation came to.
        clock: what took how long.

    Raises:
        HistoryError: a declared group is no column of the table.
    """
    test = parts.test
    amount = test.features[:, FEATURE_NAMES.index("amount")].astype(np.float64)
    flagged = levels(trained.said.astype(np.float64), trained.thresholds, amount) > 0
    groups, others = _there(options, test)
    lines = rivals(parts.learning, test, manifest.seed, options.rules)
    clock.lap("baselines")
    frauds = int(np.count_nonzero(parts.learning.is_fraud))
    split = manifest.split
    method = manifest.calibration.method if manifest.calibration is not None else "none"
    found = Details(
        format=FORMAT,
        model=manifest.version,
        offline_only=bool(manifest.inputs),
        metrics=manifest.metrics,
        model_line=rival("this model", trained.said, test),
        rivals=lines,
        pr=pr_curve(test.is_fraud, trained.said),
        roc=roc_curve(test.is_fraud, trained.said),
        rates=RECALL_RATES,
        reliability=reliability(method, test.is_fraud, trained.said, trained.before),
        importance=_importance(trained.booster),
        segments=segments(test, trained.said, flagged, others),
        bias=group_rates(test, trained.said, flagged, groups),
        folds=searched[1],
        search=searched[0],
        labels=label_counts(data),
        parts={
            name: (one.start, one.stop, one.rows, one.frauds)
            for name, one in (("train", split.train), ("validation", split.validation), ("test", split.test))
        },
        counts={**options.counts, **data.counts},
        notes=(*parts.notes, *_remarks(manifest, trained, options)),
        constant=constant_columns(parts.learning),
        ordinary_per_fraud=(len(parts.learning) - frauds) / frauds,
        seconds={},
        source=options.source,
    )
    clock.lap("measuring")
    return _timed(found, clock)


def _timed(found: Details, clock: Clock) -> Details:
    return msgspec.structs.replace(found, seconds={name: round(value, 3) for name, value in clock.seconds.items()})


def _there(options: TrainOptions, test: Dataset) -> tuple[list[str], list[str]]:
    for name in options.groups:
        if GROUP + name not in test.more:
            raise HistoryError(f"--group: the history has no column {name}")
    others = [name for name in options.segments if GROUP + name in test.more and name not in options.groups]
    return list(options.groups), others


def _importance(booster: xgb.Booster) -> tuple[tuple[str, float], ...]:
    # A list is what multi-class models give; these have one number a column.
    gain = {name: float(np.sum(value)) for name, value in booster.get_score(importance_type="total_gain").items()}
    total = sum(gain.values()) or 1.0
    return tuple(sorted(((name, value / total) for name, value in gain.items()), key=lambda one: (-one[1], one[0])))


def _remarks(manifest: Manifest, trained: Trained, options: TrainOptions) -> list[str]:
    remarks = []
    if manifest.split.test.frauds < _FEW_FRAUDS:
        remarks.append(f"the test part has {manifest.split.test.frauds} frauds: the figures are rough")
    if trained.calibration is None and options.calibration != "none":
        remarks.append("the validation part has too few frauds to calibrate on: probabilities are those of the trees")
    if options.refit:
        remarks.append("the trees were grown anew on the training and the validation part; thresholds are from before")
    return remarks
