"""The declared features: one declaration each, and every use of a feature starts here.

A feature's formula takes the aggregates of the windows and gives a column; the order of the declarations is the order
of the model's columns. `FEATURE_SET` names the declarations: it changes whenever one of them does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from features.history import Int64
from features.windows import WEEK_MS, Aggregates, Window

Column = NDArray[np.float64]

_DAY_MS: Final = 86_400_000
_HOUR_MS: Final = 3_600_000
_NO_GAP_S: Final = WEEK_MS / 1000
_EXACT_IN_FLOAT: Final = 1 << 53
# 10 to the power of an exponent: currencies have up to four decimals.
_UNITS: Final = np.power(10.0, np.arange(19))


class Inputs(msgspec.Struct, frozen=True):
    """What formulas read.

    Attributes:
        windows: the windows' aggregates.
        unit: 10 to the power of each currency's exponent.
        amount: of this transaction, major units.
        mean_10m: mean amount of the ten minutes, major units.
        mean_1w: mean amount of the week, major units.
    """

    windows: Aggregates
    unit: Column
    amount: Column
    mean_10m: Column
    mean_1w: Column


class Feature(msgspec.Struct, frozen=True):
    """One declaration.

    Attributes:
        name: as in outcomes, tables and models.
        dtype: "int64" or "float64": how the value is written.
        meaning: one line for people.
        code: reason code where this feature explains a decision.
        sentence: template of the reason text, which may name any feature; how: `features/sentences.py`.
        formula: column of that type from the inputs.
        special: values that mean something else, each with its own template.
    """

    name: str
    dtype: Literal["int64", "float64"]
    meaning: str
    code: str
    sentence: str
    formula: Callable[[Inputs], Column | Int64]
    special: tuple[tuple[float, str], ...] = ()


def inputs_of(windows: Aggregates, exponents: Int64) -> Inputs:
    """What the formulas read.

    Args:
        windows: aggregates, length n.
        exponents: minor-unit exponents of the currencies, length n.
    """
    unit = _UNITS[exponents]
    return Inputs(
        windows, unit, windows.amount_minor / unit, _mean(windows.ten_minutes, unit), _mean(windows.week, unit)
    )


def _mean(window: Window, unit: Column) -> Column:
    """Mean amount in major units: integer sum / count / 10^exponent, the sum exact whatever its size."""
    mean = window.total / window.count
    for i in (window.total > _EXACT_IN_FLOAT).nonzero()[0].tolist():
        mean[i] = int(window.total[i]) / int(window.count[i])
    mean /= unit
    return mean


def _seconds_since_last(x: Inputs) -> Column:
    gap_ms = np.where(x.windows.previous_ms >= 0, x.windows.time_ms - x.windows.previous_ms, WEEK_MS)
    return np.asarray(gap_ms / 1000)


FEATURES: Final[tuple[Feature, ...]] = (
    Feature(
        "num_trans_last_10m", "int64", "authorizations of the card in the last 10 minutes, this one included",
        "VELOCITY_10M",
        "{num_trans_last_10m:transaction|transactions} in the last 10 minutes; "
        "this card had {num_trans_last_1w-num_trans_last_10m:count} in the rest of the week",
        lambda x: x.windows.ten_minutes.count,
    ),
    Feature(
        "num_trans_last_1w", "int64", "authorizations of the card in the last week, this one included",
        "VELOCITY_1W",
        "{num_trans_last_1w:transaction|transactions} in the last week, {num_trans_last_10m:count} of them in the last "
        "10 minutes",
        lambda x: x.windows.week.count,
    ),
    Feature(
        "avg_amt_last_10m", "float64", "mean amount of the last 10 minutes, major units",
        "AMOUNT_10M",
        "an average of {avg_amt_last_10m} per transaction in the last 10 minutes; {avg_amt_last_1w} over the week",
        lambda x: x.mean_10m,
    ),
    Feature(
        "avg_amt_last_1w", "float64", "mean amount of the last week, major units",
        "AMOUNT_1W", "an average of {avg_amt_last_1w} per transaction in the last week",
        lambda x: x.mean_1w,
    ),
    Feature(
        "amt_ratio1", "float64", "avg_amt_last_10m / avg_amt_last_1w",
        "AMOUNT_SHIFT",
        "amounts of the last 10 minutes average {avg_amt_last_10m}: {amt_ratio1} times the week's {avg_amt_last_1w}",
        lambda x: x.mean_10m / x.mean_1w,
    ),
    Feature(
        "amt_ratio2", "float64", "amount / avg_amt_last_1w",
        "AMOUNT_UNUSUAL",
        "the amount of {amount} is {amt_ratio2} times the card's average of the week, {avg_amt_last_1w}",
        lambda x: x.amount / x.mean_1w,
    ),
    Feature(
        "count_ratio", "float64", "num_trans_last_10m / num_trans_last_1w",
        "BURST",
        "{num_trans_last_10m:transaction|transactions} in the last 10 minutes: {count_ratio:percent} of the week's",
        lambda x: np.asarray(x.windows.ten_minutes.count / x.windows.week.count),
    ),
    Feature(
        "amount", "float64", "amount of this transaction, major units",
        "AMOUNT", "the amount is {amount}",
        lambda x: x.amount,
    ),
    Feature(
        "secs_since_last", "float64", "seconds since the card's last authorization of the week, 604800 for none",
        "RAPID_REPEAT", "{secs_since_last:duration} after the card's last transaction",
        _seconds_since_last,
        ((_NO_GAP_S, "no other transaction of the card in the last week"),),
    ),
    Feature(
        "prev_amt", "float64", "amount of the card's last authorization of the week, major units, 0 for none",
        "PREVIOUS_AMOUNT", "the card's last transaction was {prev_amt}",
        lambda x: np.asarray(x.windows.previous_minor / x.unit),
        ((0, "no earlier amount of the card in the last week"),),
    ),
    Feature(
        "min_amt_last_10m", "float64", "smallest amount of the last 10 minutes, major units",
        "SMALLEST_10M", "the smallest amount of the last 10 minutes is {min_amt_last_10m}",
        lambda x: np.asarray(x.windows.smallest / x.unit),
    ),
    Feature(
        "max_amt_last_10m", "float64", "largest amount of the last 10 minutes, major units",
        "LARGEST_10M", "the largest amount of the last 10 minutes is {max_amt_last_10m}",
        lambda x: np.asarray(x.windows.ten_minutes.largest / x.unit),
    ),
    Feature(
        "max_amt_last_1w", "float64", "largest amount of the last week, major units",
        "LARGEST_1W", "the largest amount of the last week is {max_amt_last_1w}",
        lambda x: np.asarray(x.windows.week.largest / x.unit),
    ),
    Feature(
        "hour_of_day", "int64", "UTC hour of the effective time",
        "HOUR", "the transaction was made between {hour_of_day:hour} UTC",
        lambda x: x.windows.time_ms % _DAY_MS // _HOUR_MS,
    ),
    Feature(
        "num_countries_last_10m", "int64", "distinct countries of the last 10 minutes, 0 where none is known",
        "COUNTRIES_10M", "{num_countries_last_10m:country|countries} in the last 10 minutes",
        lambda x: x.windows.countries,
        ((0, "no country is known of the last 10 minutes"),),
    ),
    Feature(
        "num_mccs_last_10m", "int64", "distinct merchant categories of the last 10 minutes, 0 where none is known",
        "CATEGORIES_10M",
        "{num_mccs_last_10m:merchant category|merchant categories} in the last 10 minutes",
        lambda x: x.windows.mccs,
        ((0, "no merchant category is known of the last 10 minutes"),),
    ),
)  # fmt: skip

FEATURE_NAMES: Final = tuple(f.name for f in FEATURES)
# A formula's change is a new revision: the name of a set stands for values, not for words.
_REVISION: Final = "1"
FEATURE_SET: Final = (
    "fs-"
    + hashlib.sha256(
        "\n".join((_REVISION, *(f"{f.name}:{f.dtype}:{f.meaning}" for f in FEATURES))).encode()
    ).hexdigest()[:12]
)


def feature_matrix(windows: Aggregates, exponents: Int64) -> NDArray[np.float64]:
    """Every declared feature of every authorization.

    Args:
        windows: aggregates, length n.
        exponents: minor-unit exponents of the currencies, length n.

    Returns:
        float64 of shape (n, features), in the order of the catalogue.
    """
    inputs = inputs_of(windows, exponents)
    matrix = np.empty((len(exponents), len(FEATURES)))
    for column, feature in enumerate(FEATURES):
        matrix[:, column] = feature.formula(inputs)
    return matrix
