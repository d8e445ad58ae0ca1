"""From a probability to a score and a verdict."""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from scoring.manifest import Thresholds

Verdict = Literal["approve", "review", "block"]

TOP_SCORE: Final = 1000
VERDICTS: Final[tuple[Verdict, ...]] = ("approve", "review", "block")


def decide(probability: NDArray[np.float32], thresholds: Thresholds) -> tuple[NDArray[np.int64], list[Verdict]]:
    """Score and verdict of each transaction.

    The score is the probability in whole thousandths, rounded down, so it orders transactions as the probability does.
    The verdict compares the probability itself, which is finer.

    Args:
        probability: shape (n,).
        thresholds: of the model that gave the probabilities.

    Returns:
        Scores from 0 to 1000, shape (n,), and n verdicts.

    >>> limits = Thresholds(0.25, 0.75, 0.003, 0.0005)
    >>> scores, verdicts = decide(np.array([0.2, 0.25, 1.0], dtype=np.float32), limits)
    >>> scores.tolist(), verdicts
    ([200, 250, 1000], ['approve', 'review', 'block'])
    """
    exact = probability.astype(np.float64)
    scores = np.clip(np.floor(exact * TOP_SCORE), 0, TOP_SCORE).astype(np.int64)
    level = (exact >= thresholds.review).astype(np.int64) + (exact >= thresholds.block)
    return scores, [VERDICTS[index] for index in level.tolist()]
