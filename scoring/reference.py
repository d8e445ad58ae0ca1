"""What a model was trained on, as histograms beside it (`reference.json`): what live traffic is held against."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from features.catalogue import FEATURE_NAMES
from features.errors import ModelError
from features.windows import WEEK_MS

REFERENCE_FILE: Final = "reference.json"
FORMAT: Final = 1
SCORE: Final = "probability"
"""What the column of the model's answers is called, beside the features."""
_BINS: Final = 100
_MOST_ROWS: Final = 2_000_000

Values = NDArray[np.float64] | NDArray[np.float32]


class Histogram(msgspec.Struct, frozen=True):
    """One column's values.

    Attributes:
        edges: upper ends of all bins but the last, themselves included, ascending; the last bin has no end.
        counts: values in each bin; one more than edges.
        missing: values that were NaN.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    missing: int = 0

    @property
    def rows(self) -> int:
        """Values that were there."""
        return sum(self.counts)


class Reference(msgspec.Struct, frozen=True):
    """What is kept of the rows.

    Attributes:
        format: of this file.
        rows: how many they were.
        columns: by feature name, and the model's answers under `probability`.
        missing_fields: share of the transactions that lacked an optional field, by its name; where it is known.
        flagged: share that the model's thresholds flag; where it is known.
    """

    format: int
    rows: int
    columns: dict[str, Histogram]
    missing_fields: dict[str, float] = {}
    flagged: float | None = None


def reference_of(
    features: Values,
    probability: Values,
    *,
    time_ms: NDArray[np.int64] | None = None,
    flagged: float | None = None,
    missing_fields: Mapping[str, float] | None = None,
) -> Reference:
    """Histograms of the rows that a model learned from.

    Args:
        features: shape (n, features), in the order of the catalogue.
        probability: what the model says of rows that it has not seen, shape (m,).
        time_ms: event times of the features' rows, ascending, shape (n,): the first week is left out, where more than
            that remains, since the windows of its cards are not full yet.
        flagged: share of those rows that its thresholds flag.
        missing_fields: share of the transactions that lacked an optional field.
    """
    if time_ms is not None and len(time_ms) and time_ms[-1] - time_ms[0] > 2 * WEEK_MS:
        features = features[np.searchsorted(time_ms, time_ms[0] + WEEK_MS) :]
    step = max(1, -(-len(features) // _MOST_ROWS))
    columns = {name: histogram(features[::step, place]) for place, name in enumerate(FEATURE_NAMES)}
    columns[SCORE] = histogram(probability)
    return Reference(FORMAT, len(features), columns, dict(missing_fields or {}), flagged)


def histogram(values: Values) -> Histogram:
    """The values in bins of about equal weight; a value that is frequent has a bin of its own.

    >>> histogram(np.array([1.0, 1.0, 2.0, np.nan]))
    Histogram(edges=(1.0,), counts=(2, 1), missing=1)
    """
    exact = values.astype(np.float64)
    there = exact[~np.isnan(exact)]
    if not len(there):
        return Histogram((), (0,), len(exact))
    places = np.quantile(there, np.linspace(0, 1, _BINS + 1)[1:-1], method="inverted_cdf")
    edges = np.unique(places)
    # The largest value needs no edge: the last bin is open.
    edges = edges[edges < there.max()]
    return Histogram(tuple(edges.tolist()), tuple(count(there, edges).tolist()), len(exact) - len(there))


def count(values: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    """How many values fall into each bin; shape (edges + 1,)."""
    bins = np.searchsorted(edges, values, side="left")
    return np.bincount(bins, minlength=len(edges) + 1).astype(np.int64)


def write_reference(folder: Path, reference: Reference) -> None:
    """Write it beside the model; raises ModelError where that cannot be done."""
    unfinished = folder / f".{REFERENCE_FILE}.new"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        unfinished.write_bytes(msgspec.json.encode(reference) + b"\n")
        unfinished.replace(folder / REFERENCE_FILE)
    except OSError as exc:
        raise ModelError(f"cannot write {folder / REFERENCE_FILE}: {exc.strerror or exc}") from exc


def load_reference(folder: Path) -> Reference:
    """Read it; raises ModelError where there is none, or none for this catalogue."""
    file = folder / REFERENCE_FILE
    try:
        reference = msgspec.json.decode(file.read_bytes(), type=Reference)
    except OSError as exc:
        raise ModelError(
            f"{file}: {exc.strerror}; without it nothing can be held against the training: train the model anew"
        ) from exc
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise ModelError(f"{file} is no reference of a model ({exc}); train the model anew") from exc
    missing = [name for name in (*FEATURE_NAMES, SCORE) if name not in reference.columns]
    if reference.format != FORMAT or missing:
        raise ModelError(f"{file} was made for another catalogue (it lacks {', '.join(missing)}); train the model anew")
    for name, kept in reference.columns.items():
        if len(kept.counts) != len(kept.edges) + 1 or not all(map(math.isfinite, kept.edges)):
            raise ModelError(f"{file}: {name} has {len(kept.counts)} counts for {len(kept.edges)} edges; train anew")
    return reference
