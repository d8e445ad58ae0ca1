"""Cross-validation over time, and a bounded, resumable search for parameters by it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from features.errors import ConfigError, HistoryError
from scoring.dataset import Dataset
from scoring.evaluation import threshold_at, timestamp
from scoring.learning.details import Fold, SearchSummary
from scoring.learning.grow import PARAMETERS, ROUNDS, Parameters, grow, predicted, with_constraints
from scoring.learning.measures import RECALL_RATES

if TYPE_CHECKING:
    import optuna

FOLDS: Final = 3
_FIRST_SHARE: Final = 0.4
"""Of the rows: what the first fold is trained on."""
_DAY_MS: Final = 86_400_000
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """How long to search.

    Attributes:
        trials: in all, those of an interrupted search included; 0: no search.
        minutes: after which no further trial begins.
        store: SQLite file that keeps the trials; an interrupted search goes on where it was.
        folds: of the cross-validation.
    """

    trials: int = 0
    minutes: float = 30.0
    store: Path | None = None
    folds: int = FOLDS


@dataclass(frozen=True, slots=True)
class Setting:
    """What is grown: parameters of XGBoost, and how many trees."""

    parameters: Parameters
    rounds: int


def time_folds(data: Dataset, count: int, gap_days: float) -> list[tuple[Dataset, Dataset]]:
    """Pairs of rows to train on and rows to judge on, each later than the one before; folds of one kind are left out.

    Args:
        data: the learning part.
        count: of folds.
        gap_days: left out before the rows to judge on, as far as it leaves something.

    Raises:
        HistoryError: no fold has frauds and ordinary rows on both sides.
    """
    cuts = [int(data.time_ms[int(share * (len(data) - 1))]) for share in np.linspace(_FIRST_SHARE, 1, count + 1)]
    cuts[-1] += 1
    span_ms = int(data.time_ms[-1]) - int(data.time_ms[0])
    gap_ms = min(round(gap_days * _DAY_MS), span_ms // (4 * count))
    pairs = [(data.between(0, start - gap_ms), data.between(start, stop)) for start, stop in pairwise(cuts)]
    fit = [pair for pair in pairs if all(part.is_fraud.any() and not part.is_fraud.all() for part in pair)]
    if not fit:
        raise HistoryError("no fold of the training part has frauds on both sides; give a longer history, or no folds")
    return fit


def cross_validate(folds: list[tuple[Dataset, Dataset]], setting: Setting) -> tuple[Fold, ...]:
    """What a setting comes to on every fold."""
    found = []
    for train, judge in folds:
        said = _said(train, judge, setting)
        caught = [said >= threshold_at(said[~judge.is_fraud], rate) for rate in RECALL_RATES]
        found.append(
            Fold(
                timestamp(int(judge.time_ms[0])),
                timestamp(int(judge.time_ms[-1])),
                len(judge),
                int(judge.is_fraud.sum()),
                float(average_precision_score(judge.is_fraud, said)),
                tuple(float(one[judge.is_fraud].mean()) for one in caught),
            )
        )
    return tuple(found)


def _said(train: Dataset, judge: Dataset, setting: Setting) -> NDArray[np.float32]:
    codes = [False] * (len(train.names) - len(train.inputs)) + [one.type == "categorical" for one in train.inputs]
    booster = grow(train.features, train.is_fraud, train.names, setting.parameters, setting.rounds, categorical=codes)
    return predicted(booster, judge.features)


def search(
    folds: list[tuple[Dataset, Dataset]],
    options: SearchOptions,
    seed: int,
    monotone: dict[str, int],
    name: str,
    progress: Progress = lambda _done, _all: None,
) -> tuple[Setting, SearchSummary]:
    """Look for better parameters; the defaults are the first trial and stay unless something beats them.

    Args:
        folds: from `time_folds`.
        options: see SearchOptions.
        seed: of the search and of the trees.
        monotone: see `with_constraints`.
        name: of what is searched on: trials of other data in the same file are not mixed up with these.
        progress: called with the trials done and to do.

    Raises:
        ConfigError: Optuna is not installed, or the file cannot be used.
    """
    _quiet_optuna()
    began_s = time.monotonic()
    names = folds[0][0].names
    rate = folds[0][0].is_fraud.mean()

    def value(trial: optuna.Trial) -> float:
        setting = _suggested(trial, seed, float(rate))
        setting = Setting(with_constraints(setting.parameters, monotone, names), setting.rounds)
        folded = cross_validate(folds, setting)
        return float(np.mean([one.average_precision for one in folded]))

    study = _study(options, seed, name)
    left = options.trials - _finished(study)
    progress(options.trials - left, options.trials)
    if left > 0:
        study.optimize(
            value,
            n_trials=left,
            timeout=options.minutes * 60,
            callbacks=[lambda study, _trial: progress(_finished(study), options.trials)],
        )
    default = next((one.value for one in study.get_trials() if one.value is not None), None)
    best = _suggested(study.best_trial, seed, float(rate))
    return Setting(with_constraints(best.parameters, monotone, names), best.rounds), SearchSummary(
        _finished(study),
        study.best_value,
        float(default or 0.0),
        dict(study.best_params),
        time.monotonic() - began_s,
    )


def _quiet_optuna() -> None:
    try:
        import optuna  # noqa: PLC0415 - half a second that only a search needs
    except ModuleNotFoundError as exc:
        raise ConfigError("optuna is not installed; --search needs: pip install 'fraudstream[train]'") from exc
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def _study(options: SearchOptions, seed: int, name: str) -> optuna.Study:
    import optuna  # noqa: PLC0415 - as above

    storage = None
    if options.store is not None:
        options.store.parent.mkdir(parents=True, exist_ok=True)
        storage = f"sqlite:///{options.store.resolve()}"
    try:
        study = optuna.create_study(
            study_name=name,
            storage=storage,
            load_if_exists=True,
            direction="maximize",
            sampler=optuna.samplers.TPESampler(seed=seed),
        )
    except Exception as exc:  # Optuna passes on whatever the database library raises
        raise ConfigError(f"--search-store: {options.store} cannot be used: {str(exc).splitlines()[0]}") from exc
    if not _finished(study):
        study.enqueue_trial(_DEFAULTS)
    return study


def _finished(study: optuna.Study) -> int:
    return sum(one.state.name == "COMPLETE" for one in study.get_trials(deepcopy=False))


_DEFAULTS: Final = {
    "rounds": ROUNDS,
    "max_depth": PARAMETERS["max_depth"],
    "eta": PARAMETERS["eta"],
    "min_child_weight": PARAMETERS["min_child_weight"],
    "subsample": PARAMETERS["subsample"],
    "colsample_bytree": 1.0,
    "reg_lambda": PARAMETERS["reg_lambda"],
    "gamma": 0.0,
    "weight": 0.0,
}


def _suggested(trial: optuna.trial.Trial | optuna.trial.FrozenTrial, seed: int, rate: float) -> Setting:
    """The setting of a trial; `weight`: 0 leaves frauds as they are, 1 raises them to the weight of all others."""
    rounds = trial.suggest_int("rounds", 50, 400)
    weight = trial.suggest_float("weight", 0.0, 0.5)
    parameters = {
        **PARAMETERS,
        "seed": seed,
        "max_depth": trial.suggest_int("max_depth", 3, 8),
        "eta": trial.suggest_float("eta", 0.02, 0.3, log=True),
        "min_child_weight": trial.suggest_float("min_child_weight", 1, 30, log=True),
        "subsample": trial.suggest_float("subsample", 0.5, 1.0),
        "colsample_bytree": trial.suggest_float("colsample_bytree", 0.4, 1.0),
        "reg_lambda": trial.suggest_float("reg_lambda", 0.1, 100, log=True),
        "gamma": trial.suggest_float("gamma", 0.0, 5.0),
    }
    if weight:
        parameters["scale_pos_weight"] = ((1 - rate) / rate) ** weight
    return Setting(parameters, rounds)
