"""From a probability to a score and a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from scoring.manifest import Costs, Thresholds

Verdict = Literal["approve", "review", "block"]

TOP_SCORE: Final = 1000
VERDICTS: Final[tuple[Verdict, ...]] = ("approve", "review", "block")


def decide(
    probability: NDArray[np.float32],
    thresholds: Thresholds,
    amount: NDArray[np.float64] | None = None,
    currency: Sequence[str] | None = None,
) -> tuple[NDArray[np.int64], list[Verdict]]:
    """Score and verdict of each transaction.

    The score is the probability in whole thousandths, rounded down, so it orders transactions as the probability does.
    The verdict compares the probability itself, which is finer.

    Args:
        probability: shape (n,).
        thresholds: of the model that gave the probabilities, or of the rule set.
        amount: in major units, shape (n,); needed where the thresholds have costs.
        currency: length n; needed where the costs have rates.

    Returns:
        Scores from 0 to 1000, shape (n,), and n verdicts.

    >>> limits = Thresholds(0.25, 0.75)
    >>> scores, verdicts = decide(np.array([0.2, 0.25, 1.0], dtype=np.float32), limits)
    >>> scores.tolist(), verdicts
    ([200, 250, 1000], ['approve', 'review', 'block'])
    """
    exact = probability.astype(np.float64)
    level = levels(exact, thresholds, amount, currency)
    return scores_of(exact), [VERDICTS[index] for index in level.tolist()]


def scores_of(probability: NDArray[np.float64]) -> NDArray[np.int64]:
    """Probabilities in whole thousandths, rounded down; shape (n,).

    >>> scores_of(np.array([0.0, 0.9999, 1.0])).tolist()
    [0, 999, 1000]
    """
    return np.clip(np.floor(probability * TOP_SCORE), 0, TOP_SCORE).astype(np.int64)


def levels(
    probability: NDArray[np.float64],
    thresholds: Thresholds,
    amount: NDArray[np.float64] | None = None,
    currency: Sequence[str] | None = None,
) -> NDArray[np.int64]:
    """Verdicts as places in VERDICTS; arguments as of `decide`.

    Raises:
        ValueError: the thresholds have costs, and no amounts are given.
    """
    if thresholds.costs is None:
        return np.asarray((probability >= thresholds.review).astype(np.int64) + (probability >= thresholds.block))
    if amount is None:
        raise ValueError("thresholds by cost need the amounts")
    costs = thresholds.costs
    expected = expected_costs(probability, exposure(amount, currency, costs), costs)
    return np.asarray(np.argmin(expected, axis=0), np.int64)


def exposure(amount: NDArray[np.float64], currency: Sequence[str] | None, costs: Costs) -> NDArray[np.float64]:
    """Amounts in the currency of the costs; shape (n,)."""
    if not costs.rates or currency is None:
        return amount
    rates = np.array([costs.rates.get(code, 1.0) for code in currency], np.float64)
    return np.asarray(amount * rates)


def expected_costs(
    probability: NDArray[np.float64], at_stake: NDArray[np.float64], costs: Costs
) -> NDArray[np.float64]:
    """What each verdict is expected to cost, the queue's worth included; shape (3, n), in the order of VERDICTS.

    Of equal costs the mildest verdict is the first.

    >>> expected_costs(np.array([0.5]), np.array([100.0]), Costs(review=4, decline=60)).ravel().tolist()
    [50.0, 4.0, 30.0]
    """
    loss = probability * at_stake
    review = costs.review + costs.queue + (1 - costs.recovered) * loss
    return np.stack((loss, review, (1 - probability) * costs.decline))
