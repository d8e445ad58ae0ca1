"""How good a model is: what it catches, at which place of an attack, and what that costs in false alarms."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from features.catalogue import FEATURE_NAMES
from features.errors import HistoryError
from features.mapping.spec import SPLIT
from scoring.dataset import PARTS, Dataset, load_dataset
from scoring.decision import VERDICTS, levels
from scoring.learning.labels import LabelOptions
from scoring.learning.offline_model import OfflineModel
from scoring.manifest import Manifest, Thresholds
from scoring.model import Model
from scoring.report import Counts, RatePoint, Report

Probabilities = NDArray[np.float32]

FALSE_POSITIVE_RATES: Final = (0.001, 0.003, 0.005, 0.01)
POSITIONS: Final = 10
"""Places of an attack that are reported on their own."""
CARDS_PER_DAY: Final = 100
_DAY_MS: Final = 86_400_000


def evaluate(model: Model | OfflineModel, table: Path, labels: LabelOptions | None = None) -> Report:
    """Evaluate a model on a labelled feature table.

    On the very table that the model was trained from, only the test part counts. Another table counts as a whole, and
    is taken for unseen.

    Args:
        model: loaded.
        table: from `build_table`.
        labels: labels from elsewhere, and what counts as known.

    Raises:
        HistoryError: the table cannot be used, or its labels are all alike.
    """
    data = load_dataset(table, labels, model.manifest.inputs)
    if data.fingerprint == model.manifest.data_fingerprint:
        data = unseen(data, model.manifest)
    return measure(model.predict(data.features), data, model.thresholds)


def unseen(data: Dataset, manifest: Manifest) -> Dataset:
    """The rows that a model has not seen, of the data that it was trained on."""
    if manifest.split_by != "time":
        return data.rows(data.more[SPLIT] == PARTS.index("test"))
    test = manifest.split.test
    return data.between(milliseconds(test.start), min(milliseconds(test.stop), data.usable_until_ms))


def measure(probability: Probabilities, data: Dataset, thresholds: Thresholds) -> Report:
    """Everything that is reported about one set of rows.

    Args:
        probability: of each row, shape (n,).
        data: n rows.
        thresholds: what flags and blocks.

    Raises:
        HistoryError: the rows are all fraudulent or all ordinary.
    """
    fraud = data.is_fraud
    if fraud.all() or not fraud.any():
        raise HistoryError("an evaluation needs fraudulent and ordinary transactions; these are all of one kind")
    precision, best = card_precision(probability, data)
    # numpy would round the thresholds to float32; a decision compares exactly.
    amount = data.features[:, FEATURE_NAMES.index("amount")].astype(np.float64)
    level = levels(probability.astype(np.float64), thresholds, amount)
    return Report(
        first=timestamp(int(data.time_ms[0])),
        last=timestamp(int(data.time_ms[-1])),
        rows=len(data),
        attacks=int(np.count_nonzero(data.position == 1)),
        average_precision=float(average_precision_score(fraud, probability)),
        roc_auc=float(roc_auc_score(fraud, probability)),
        at_rates=tuple(_at_rate(probability, data, rate) for rate in FALSE_POSITIVE_RATES),
        ordinary=_counts(level[~fraud]),
        fraud=_counts(level[fraud]),
        value_detection_rate=_value_detection(level, data),
        card_precision=precision,
        card_precision_best=best,
        card_precision_k=CARDS_PER_DAY,
    )


def threshold_at(ordinary: Probabilities, false_positive_rate: float) -> float:
    """The lowest threshold that flags at most this share of ordinary transactions.

    Args:
        ordinary: their probabilities, shape (n,), n > 0.
        false_positive_rate: 0 <= rate < 1.

    Returns:
        A probability; what is equal or above is flagged. Transactions that share a probability are flagged together or
        not at all, so fewer than the allowed share may be.

    >>> threshold_at(np.array([0.5, 0.125, 0.25, 0.75], dtype=np.float32), 0.25) > 0.5
    True
    """
    allowed = int(false_positive_rate * len(ordinary))
    place = len(ordinary) - 1 - allowed
    highest_spared = np.partition(ordinary, place)[place]
    return float(np.nextafter(highest_spared, np.float32(np.inf)))


def timestamp(time_ms: int) -> str:
    """Epoch milliseconds as RFC 3339 in UTC, to the millisecond.

    >>> timestamp(1_767_225_600_250)
    '2026-01-01T00:00:00.250Z'
    """
    moment = datetime.fromtimestamp(time_ms // 1000, UTC).replace(microsecond=time_ms % 1000 * 1000)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def milliseconds(stamp: str) -> int:
    """Epoch milliseconds of what `timestamp` wrote.

    >>> milliseconds("2026-01-01T00:00:00.250Z")
    1767225600250
    """
    moment = datetime.fromisoformat(stamp)
    return int(moment.replace(microsecond=0).timestamp()) * 1000 + moment.microsecond // 1000


def _at_rate(probability: Probabilities, data: Dataset, rate: float) -> RatePoint:
    flagged = probability >= threshold_at(probability[~data.is_fraud], rate)
    by_position = []
    for position in range(1, POSITIONS + 1):
        here = data.position == position
        by_position.append(float(flagged[here].mean()) if here.any() else None)
    return RatePoint(rate, float(flagged[data.is_fraud].mean()), tuple(by_position))


def _counts(level: NDArray[np.int64]) -> Counts:
    approve, review, block = np.bincount(level, minlength=len(VERDICTS)).tolist()
    return Counts(approve=approve, review=review, block=block)


def _value_detection(level: NDArray[np.int64], data: Dataset) -> float:
    amount = data.features[data.is_fraud, FEATURE_NAMES.index("amount")].astype(np.float64)
    caught = level[data.is_fraud] > 0
    return float(amount[caught].sum() / amount.sum())


def card_precision(probability: Probabilities, data: Dataset) -> tuple[float, float]:
    """Card precision at CARDS_PER_DAY, mean over days: as measured, and of a perfect order.

    A card found compromised on one day is not shown to the analysts again on later days.
    """
    cards = (
        pl.DataFrame(
            {
                "day": data.time_ms // _DAY_MS,
                "card": data.card,
                "probability": probability,
                "compromised": data.is_fraud,
            }
        )
        .group_by("day", "card")
        .agg(pl.col("probability", "compromised").max())
        # The card decides between equal probabilities: the order of a group-by is not the same every time.
        .sort("day", "probability", "card", descending=[False, True, False])
    )
    known: set[int] = set()
    found, findable = [], []
    for day in cards.partition_by("day", maintain_order=True):
        shown = day.filter(~pl.col("card").is_in(sorted(known))) if known else day
        top = shown.head(CARDS_PER_DAY).filter("compromised")
        found.append(len(top) / CARDS_PER_DAY)
        findable.append(min(int(shown["compromised"].sum()), CARDS_PER_DAY) / CARDS_PER_DAY)
        known.update(top["card"].to_list())
    return float(np.mean(found)), float(np.mean(findable))
