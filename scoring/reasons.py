"""Why a transaction was flagged: the features that raised its probability most, in the analyst's words."""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from features.catalogue import FEATURES, Feature

MOST_REASONS: Final = 4


class Reason(msgspec.Struct, frozen=True):
    """One reason of an outcome.

    Attributes:
        code: stable, for machines.
        text: for people; its number is rounded.
        feature: name in the catalogue.
        value: exactly what the model saw.
    """

    code: str
    text: str
    feature: str
    value: int | float


def explain(contributions: NDArray[np.float32], x: NDArray[np.float64]) -> list[list[Reason]]:
    """Reasons of each flagged transaction, the weightiest first.

    Args:
        contributions: of each feature to the log odds, the average last: shape (n, features + 1).
        x: the features, shape (n, features).

    Returns:
        For each row up to MOST_REASONS features that speak for fraud; ties in the order of the catalogue.
    """
    weights = contributions[:, :-1]
    heaviest = np.argsort(-weights, axis=1, kind="stable")[:, :MOST_REASONS]
    return [
        [_reason(FEATURES[column], float(x[row, column])) for column in columns if weights[row, column] > 0]
        for row, columns in enumerate(heaviest.tolist())
    ]


def _reason(feature: Feature, number: float) -> Reason:
    value = int(number) if feature.dtype == "int64" else number
    return Reason(feature.code, feature.sentence.format(value=_for_people(value)), feature.name, value)


def _for_people(value: float) -> str:
    """Two decimals, or two digits of a small fraction; whole numbers as they are.

    >>> _for_people(3), _for_people(41.128), _for_people(0.0041)
    ('3', '41.13', '0.0041')
    """
    if isinstance(value, int):
        return str(value)
    return f"{value:.2f}" if abs(value) >= 1 or value == 0 else f"{value:.2g}"
