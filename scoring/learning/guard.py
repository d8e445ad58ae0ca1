"""What must not teach: columns that know the answer, columns that know nothing."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from features.catalogue import FEATURE_NAMES
from features.errors import HistoryError
from scoring.dataset import Dataset

TELLTALE: Final = 0.9995
"""Area under the ROC curve from which on a single column is taken for the label in disguise."""
_MOST_ROWS: Final = 200_000


def refuse_leaks(data: Dataset, allowed: Collection[str]) -> None:
    """Refuse further inputs that by themselves tell frauds from ordinary transactions.

    No column that is known at the time of the event does. A column that does was made from the label, or after it.

    Args:
        data: the learning rows.
        allowed: names of inputs that somebody vouches for.

    Raises:
        HistoryError: names the column.
    """
    for place, one in enumerate(data.inputs, start=len(FEATURE_NAMES)):
        if one.name in allowed:
            continue
        area = _area(data.features[:, place], data.is_fraud, categorical=one.type == "categorical")
        if area >= TELLTALE:
            raise HistoryError(
                f"input {one.name} tells the label by itself (area under the ROC curve {area:.4f}): it looks like a "
                "leak, known only after the event; take it out of the mapping's inputs, or vouch for it with "
                f"--trust-input {one.name}"
            )


def _area(column: NDArray[np.float32], is_fraud: NDArray[np.bool_], *, categorical: bool) -> float:
    """How well a column alone ranks, whichever way round; what is missing counts as a value of its own."""
    step = max(len(column) // _MOST_ROWS, 1)
    # All frauds, and enough of the others.
    chosen = is_fraud | (np.arange(len(column)) % step == 0)
    values, label = column[chosen].astype(np.float64), is_fraud[chosen]
    missing = np.isnan(values)
    if categorical:
        codes = np.where(missing, -1, values).astype(np.int64) + 1
        # A level that few rows have says nothing: an id tells every label by heart.
        often = np.bincount(codes)
        share = np.bincount(codes, weights=label) / np.maximum(often, 1)
        share[often < 20] = label.mean()
        values = share[codes]
    else:
        values = np.where(missing, (np.nanmin(values) if not missing.all() else 0.0) - 1, values)
    if values.min() == values.max():
        return 0.5
    area = float(roc_auc_score(label, values))
    return max(area, 1 - area)


def constant_columns(data: Dataset) -> tuple[str, ...]:
    """Names of columns that have one value on all rows, or none: no tree can use them."""
    found = []
    for name, column in zip(data.names, data.features.T, strict=True):
        first = column[0]
        if (column == first).all() or np.isnan(column).all():
            found.append(name)
    return tuple(found)
