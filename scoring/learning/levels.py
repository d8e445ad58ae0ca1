"""Categorical inputs: codes of texts, in terms of the texts that the learning rows know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scoring.manifest import InputColumn

Floats = NDArray[np.float32]

MAX_LEVELS: Final = 200
CATEGORICAL: Final = "categorical"


def fitted_levels(inputs: Sequence[InputColumn], x: Floats, first: int) -> tuple[InputColumn, ...]:
    """Inputs with those levels of categorical ones that the learning rows have, most frequent first, at most so many.

    Args:
        inputs: as read, with every text of the table.
        x: the learning rows, shape (n, columns).
        first: place of the first input among the columns.
    """
    made = []
    for place, one in enumerate(inputs, start=first):
        if one.type == CATEGORICAL:
            known = x[:, place][~np.isnan(x[:, place])].astype(np.int64)
            often = np.bincount(known, minlength=len(one.levels))
            order = np.argsort(-often, kind="stable")[:MAX_LEVELS]
            made.append(InputColumn(one.name, one.type, tuple(one.levels[at] for at in order if often[at])))
        else:
            made.append(one)
    return tuple(made)


def recoded(x: Floats, old: Sequence[InputColumn], new: Sequence[InputColumn], first: int) -> Floats:
    """Codes of categorical columns in terms of new levels, NaN for what is none of them; a copy where any is."""
    if not any(one.type == CATEGORICAL for one in new):
        return x
    made = x.copy()
    for place, (was, now) in enumerate(zip(old, new, strict=True), start=first):
        if now.type == CATEGORICAL:
            places = {text: float(code) for code, text in enumerate(now.levels)}
            table = np.array([*(places.get(text, np.nan) for text in was.levels), np.nan], np.float32)
            codes = np.where(np.isnan(x[:, place]), len(was.levels), x[:, place]).astype(np.int64)
            made[:, place] = table[codes]
    return made
