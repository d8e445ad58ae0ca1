"""What a model must show before it decides: each gate says whether it is passed, with the figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from features.catalogue import FEATURE_NAMES
from features.errors import HistoryError, ModelError
from lifecycle.lineage import metrics_of
from lifecycle.plan import Gates
from scoring.dataset import load_dataset
from scoring.evaluation import measure, milliseconds, timestamp
from scoring.model import Model
from scoring.reference import Reference, load_reference
from streams.parity import Parity

_SIZES: Final = (1, 500)
_ROUNDS: Final = 40
_LAST_MS: Final = 1 << 62


class Gate(msgspec.Struct, frozen=True):
    """One gate.

    Attributes:
        name: of it.
        passed: whether the model may go on.
        told: what was found, with figures.
    """

    name: str
    passed: bool
    told: str


def metric_gates(
    gates: Gates, challenger: Mapping[str, float], champion: Mapping[str, float] | None, measured: str
) -> list[Gate]:
    """That no declared metric falls further than it may.

    Args:
        gates: the declaration.
        challenger: figures of the model to be promoted.
        champion: figures of the model in force; None where there is none.
        measured: on what the figures were measured, in words.
    """
    found = []
    for name, fall in gates.metrics.items():
        new = challenger.get(name)
        if new is None:
            known = ", ".join(sorted(challenger))
            found.append(Gate(name, False, f"was not measured; measured were {known}"))  # noqa: FBT003 - a field
        elif champion is None:
            found.append(Gate(name, True, f"{new:.4f}; there is no champion to fall behind"))  # noqa: FBT003 - a field
        else:
            old = champion.get(name)
            passed = old is None or new >= old - fall
            before = "not measured" if old is None else f"{old:.4f}"
            found.append(Gate(name, passed, f"{new:.4f}, the champion {before}, may fall by {fall:g} ({measured})"))
    return found


def measured_on(table: Path, models: Mapping[str, Model]) -> tuple[dict[str, dict[str, float]], str]:
    """The figures of several models on the same rows, which none of them has learned from.

    Args:
        table: labelled feature table.
        models: by name.

    Returns:
        Figures by name, and the rows in words.

    Raises:
        HistoryError: the table has no such rows, or these are all of one kind.
    """
    start_ms = max(milliseconds(model.manifest.split.validation.stop) for model in models.values())
    data = load_dataset(table).between(start_ms, _LAST_MS)
    if not len(data):
        raise HistoryError(
            f"the history ends before {timestamp(start_ms)}, up to where the models have learned; give a later one"
        )
    figures = {
        name: metrics_of(measure(model.predict(data.features), data, model.thresholds))
        for name, model in models.items()
    }
    return figures, f"{len(data):,} rows from {timestamp(start_ms)[:10]} on, seen by neither"


def cost_gate(
    gates: Gates, challenger: Model, champion: Model | None, rows: NDArray[np.float64], clock_s: Callable[[], float]
) -> Gate:
    """A load test: what predictions cost, one at a time and by 500, beside the champion in the same run.

    Args:
        gates: how much it may be.
        challenger: the model to be promoted.
        champion: the model in force; None where there is none.
        rows: at least 500, shape (n, features).
        clock_s: a monotonic clock.
    """
    models = [challenger] if champion is None else [challenger, champion]
    costs = [_costs_us(models, rows[:size], clock_s) for size in _SIZES]
    told = "; ".join(
        f"{size} at a time: {cost[0]:,.1f} us a row" + ("" if champion is None else f" ({cost[1]:,.1f} the champion)")
        for size, cost in zip(_SIZES, costs, strict=True)
    )
    if champion is None:
        return Gate("predict cost", costs[-1][0] <= gates.predict_us, f"{told}; at most {gates.predict_us:g} us by 500")
    ratio = max(cost[0] / cost[1] for cost in costs)
    told = f"{told}; {ratio:.2f} times the champion's, at most {gates.predict_cost_ratio:g}"
    return Gate("predict cost", ratio <= gates.predict_cost_ratio, told)


def _costs_us(models: list[Model], rows: NDArray[np.float64], clock_s: Callable[[], float]) -> list[float]:
    """Shortest time of each model for these rows, microseconds a row: what other processes take is no cost of it."""
    taken: list[list[float]] = [[] for _ in models]
    for _ in range(_ROUNDS):
        for number, model in enumerate(models):
            began_s = clock_s()
            model.predict(rows)
            taken[number].append(clock_s() - began_s)
    return [min(times) * 1e6 / len(rows) for times in taken]


def parity_gate(found: Parity) -> Gate:
    """That features served are those of the offline table, bit for bit."""
    told = f"{found.events:,} events, {found.values:,} feature values, {found.different:,} different"
    return Gate("feature parity", found.different == 0, told)


def sample_rows(folder: Path, seed: int) -> NDArray[np.float64]:
    """Rows as the model met them in training, to try it on, (500, features); made up where it has no reference."""
    rng = np.random.default_rng(seed)
    try:
        reference = load_reference(folder)
    except ModelError:
        return rng.lognormal(1.0, 2.0, (max(_SIZES), len(FEATURE_NAMES)))
    return np.column_stack([_drawn(reference, name, rng) for name in FEATURE_NAMES])


def _drawn(reference: Reference, name: str, rng: np.random.Generator) -> NDArray[np.float64]:
    kept = reference.columns[name]
    values = np.array((*kept.edges, kept.edges[-1] * 1.5 + 1) if kept.edges else (1.0,), np.float64)
    weight = np.array(kept.counts, np.float64)
    return rng.choice(values, size=max(_SIZES), p=weight / weight.sum()) if weight.sum() else np.ones(max(_SIZES))
