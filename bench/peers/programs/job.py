"""What the job is, whatever the framework: windows over a card's history, features, score and answer.

The programs differ in how they keep a history and how they are called; this is the rest, written as a careful user
would write it, once for all of them. A history is a list of entries sorted by time, each `(time in ms, transaction id,
amount in minor units, country, merchant category)`; it keeps a day more than a week, for those that come late. A copy
is found by its id, a reversal takes its original out. What is left out: a reversal that comes before its original.
"""

from __future__ import annotations

import json
import os
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import xgboost as xgb

TEN_MINUTES_MS = 600_000
WEEK_MS = 604_800_000
KEPT_MS = WEEK_MS + 86_400_000
FEATURES = (
    "num_trans_last_10m", "num_trans_last_1w", "avg_amt_last_10m", "avg_amt_last_1w", "amt_ratio1", "amt_ratio2",
    "count_ratio", "amount", "secs_since_last", "prev_amt", "min_amt_last_10m", "max_amt_last_10m", "max_amt_last_1w",
    "hour_of_day", "num_countries_last_10m", "num_mccs_last_10m",
)  # fmt: skip
BROKER, SOURCE, SINK, GROUP, REDIS, FOLDER = (
    os.environ[f"PEER_{name}"] for name in ("BROKER", "SOURCE", "SINK", "GROUP", "REDIS", "FOLDER")
)
SESSION_TIMEOUT_S = 10
"""A worker that died is given up as soon as one of ours; the frameworks would wait for 45 to 60 s."""

Entry = tuple[Any, ...]
Row = list[float]
_DECIMALS = {"JPY": 0, "KWD": 3}


def entry_of(transaction: dict[str, Any]) -> Entry:
    """What a history keeps of a transaction."""
    time = transaction["event_time"]
    t_ms = time if isinstance(time, int) else round(datetime.fromisoformat(time).timestamp() * 1000)
    amount_minor = int(Decimal(str(transaction["amount"])).scaleb(decimals(transaction)))
    return (
        t_ms, transaction["transaction_id"], amount_minor,
        transaction.get("country"), transaction.get("merchant_category"),
    )  # fmt: skip


def decimals(transaction: dict[str, Any]) -> int:
    """Of the transaction's currency."""
    return _DECIMALS.get(transaction["currency"], 2)


def insert(history: list[Entry], transaction: dict[str, Any]) -> list[Entry]:
    """Put an authorization into its card's history and let go what is too old; returns the week that ends with it."""
    entry = entry_of(transaction)
    known = [one[1] for one in history]
    if entry[1] in known:
        at = known.index(entry[1])
    else:
        at = bisect_left(history, (entry[0] + 1,))  # behind those of the same time: a tuple is above its beginning
        history.insert(at, entry)
        gone = min(bisect_left(history, (history[-1][0] - KEPT_MS,)), at)
        del history[:gone]
        at -= gone
    return history[bisect_left(history, (history[at][0] - WEEK_MS,)) : at + 1]


def row_of(week: Sequence[Entry], exponent: int) -> Row:
    """The features of the week's last entry, in the model's order."""
    unit = 10**exponent
    t_ms, _, amount_minor, _, _ = week[-1]
    ten = week[bisect_left(week, (t_ms - TEN_MINUTES_MS,)) :]
    amounts, recent = [entry[2] for entry in week], [entry[2] for entry in ten]
    average_1w, average_10m = sum(amounts) / len(week) / unit, sum(recent) / len(ten) / unit
    amount = amount_minor / unit
    before = week[-2] if len(week) > 1 else None
    return [
        len(ten), len(week), average_10m, average_1w, average_10m / average_1w, amount / average_1w,
        len(ten) / len(week), amount,
        WEEK_MS / 1000 if before is None else (t_ms - before[0]) / 1000, 0.0 if before is None else before[2] / unit,
        min(recent) / unit, max(recent) / unit, max(amounts) / unit, t_ms // 3_600_000 % 24,
        len({entry[3] for entry in ten} - {None}), len({entry[4] for entry in ten} - {None}),
    ]  # fmt: skip


class Scorer:
    """The model, and the answers that it gives."""

    def __init__(self) -> None:
        self._booster = xgb.Booster({"nthread": 1}, model_file=str(Path(FOLDER) / "model.json"))
        self._booster.set_param({"nthread": 1})
        if tuple(self._booster.feature_names or ()) != FEATURES:
            raise ValueError("the model was trained on other features")
        limits = json.loads((Path(FOLDER) / "thresholds.json").read_text())
        self._review, self._block = limits["review"], limits["block"]

    def answers(self, some: Iterable[tuple[dict[str, Any], dict[str, int], Row | None]]) -> list[dict[str, Any]]:
        """The outcome of each transaction, given its place in its topic and its row of features; None: a reversal."""
        pending = list(some)
        rows = [row for _, _, row in pending if row is not None]
        scored = iter(self._booster.inplace_predict(np.array(rows)).tolist() if rows else ())
        return [
            {**transaction, "fraud": {"source": place, **(self._decide(next(scored), row) if row else _UNSCORED)}}
            for transaction, place, row in pending
        ]

    def _decide(self, probability: float, row: Row) -> dict[str, Any]:
        verdict = "block" if probability >= self._block else "review" if probability >= self._review else "approve"
        features = dict(zip(FEATURES, row, strict=True))
        return {
            "score": int(probability * 1000), "probability": probability, "outcome": verdict, "features": features,
        }  # fmt: skip


_UNSCORED = {"outcome": "approve"}
