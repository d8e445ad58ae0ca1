"""The columns that a rule's condition may read, and how they are made of a batch."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from features.catalogue import FEATURE_NAMES
from features.transaction import Transaction
from scoring.rules.grammar import Kind

Column = Sequence[object] | NDArray[np.generic]
"""Numbers as an array or a sequence; texts as a sequence of `str` or None."""

TEXTS: Final = (
    "transaction_id", "card_id", "currency", "merchant_id", "merchant_category", "country", "channel", "device_id",
    "ip_address", "email", "card_last4",
)  # fmt: skip
MODEL_OUTCOME: Final = "model_outcome"
OLD_CARD_IDS: Final = "old_card_ids"
"""A column that no condition reads: the tokens of each card under older keys, which lists may still hold."""
NUMBERS: Final = ("amount_minor", "event_ms", "day_of_week", "score", "probability", *FEATURE_NAMES)

FIELDS: Final[Mapping[str, Kind]] = {
    **dict.fromkeys(NUMBERS, "number"),
    **dict.fromkeys((*TEXTS, MODEL_OUTCOME), "text"),
}
"""Every field that a condition may read, and its kind."""

_DAY_MS: Final = 86_400_000
_EPOCH_WEEKDAY: Final = 3  # 1970 began on a Thursday


class Scored(msgspec.Struct, frozen=True):
    """What a batch of n authorizations is decided from.

    Attributes:
        x: features, shape (n, features), in the order of the catalogue.
        probability, score: of the model, shape (n,).
        model_outcome: what the thresholds make of them, length n.
        amount_minor: amounts that stand, shape (n,).
        event_ms: event times that stand, shape (n,).
    """

    x: NDArray[np.float64]
    probability: NDArray[np.float32]
    score: NDArray[np.int64]
    model_outcome: Sequence[str]
    amount_minor: NDArray[np.int64]
    event_ms: NDArray[np.int64]


def batch_columns(wanted: Collection[str], transactions: Sequence[Transaction], scored: Scored) -> dict[str, Column]:
    """The columns of a batch that a rule set asks for, and no others.

    Args:
        wanted: names, see `RuleSet.columns`.
        transactions: the authorizations, length n.
        scored: what was found out about them.
    """
    return {
        name: [getattr(t, name) for t in transactions] if name in _OF_TRANSACTION else _NUMBERS_OF[name](scored)
        for name in wanted
    }


def day_of_week(event_ms: NDArray[np.int64]) -> NDArray[np.int64]:
    """Day of the week in UTC, 1 is Monday and 7 Sunday.

    >>> day_of_week(np.array([1_767_225_600_000])).tolist()  # 2026-01-01, a Thursday
    [4]
    """
    return (event_ms // _DAY_MS + _EPOCH_WEEKDAY) % 7 + 1


def _feature(place: int) -> Callable[[Scored], Column]:
    return lambda scored: scored.x[:, place]


_OF_TRANSACTION: Final = frozenset((*TEXTS, OLD_CARD_IDS))
_NUMBERS_OF: Final[Mapping[str, Callable[[Scored], Column]]] = {
    "amount_minor": lambda scored: scored.amount_minor,
    "event_ms": lambda scored: scored.event_ms,
    "day_of_week": lambda scored: day_of_week(scored.event_ms),
    "score": lambda scored: scored.score,
    "probability": lambda scored: scored.probability,
    MODEL_OUTCOME: lambda scored: scored.model_outcome,
    **{name: _feature(place) for place, name in enumerate(FEATURE_NAMES)},
}
