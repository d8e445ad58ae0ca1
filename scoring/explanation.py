"""What a model looks at, over a whole history: `fraudstream explain`.

Every row is counted; contributions are computed of two samples of bounded size: of all rows, and of the flagged ones,
which are rare. Which rows are in them is drawn from a fixed seed, so the same history gives the same report.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from typing import Final

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.catalogue import FEATURE_NAMES
from features.errors import HistoryError
from scoring.decision import levels
from scoring.manifest import Baseline
from scoring.model import Model
from scoring.rules.backtest import Batch
from scoring.rules.history_rows import Wanted

SAMPLE_ROWS: Final = 50_000
WANTED: Final = Wanted(
    frozenset((*FEATURE_NAMES, "country", "channel", "currency")), frozenset(("country", "channel", "currency"))
)
"""What the batches must hold."""

DIMENSIONS: Final[Mapping[str, str]] = {
    "country": "by country", "channel": "by channel", "band": "by amount", "age": "by the card's week",
}  # fmt: skip
AMOUNT_BANDS: Final = (10, 50, 200, 1_000)
NEW_CARD: Final = "the week's first transaction"
KNOWN_CARD: Final = "later ones"
NOT_SENT: Final = "(not sent)"
MOST_SEGMENTS: Final = 12
MOST_DRIVERS: Final = 3

_BAND_NAMES: Final = (
    f"under {AMOUNT_BANDS[0]}",
    *(f"{low:,} to {high:,}" for low, high in pairwise(AMOUNT_BANDS)),
    f"{AMOUNT_BANDS[-1]:,} and more",
)
_BINS: Final = 24
_TAILS: Final = (0.99, 0.995, 0.999)
_SHAP_ROWS: Final = 5_000
_PRIORITY: Final = "priority"

Shaped = NDArray[np.float64]


class Importance(msgspec.Struct, frozen=True):
    """Of one feature.

    Attributes:
        feature: name in the catalogue.
        strength: mean of the absolute contribution to the log odds, over all transactions.
        in_flagged: mean contribution over the flagged ones; None where there are none.
    """

    feature: str
    strength: float
    in_flagged: float | None


class Bin(msgspec.Struct, frozen=True):
    """Rows of similar values of a feature: least and greatest value, how many, and their contributions."""

    low: float
    high: float
    rows: int
    mean: float
    p10: float
    p90: float


class Segment(msgspec.Struct, frozen=True):
    """Some of the transactions.

    Attributes:
        dimension: what they are told apart by, see DIMENSIONS.
        name: of the segment.
        rows, flagged: how many, and how many of them the model flags.
        frauds: how many of them are fraud; None where that is not known.
        probability: mean.
        drivers: features that speak most for fraud where it is flagged, with their mean contribution.
    """

    dimension: str
    name: str
    rows: int
    flagged: int
    frauds: int | None
    probability: float
    drivers: tuple[tuple[str, float], ...]


class Explanation(msgspec.Struct, frozen=True):
    """The whole report.

    Attributes:
        model: version.
        baseline: what contributions are measured against; None: the rows that the model was trained on.
        base: log odds of the baseline.
        rows, flagged: of the history.
        sampled, flagged_sampled: rows whose contributions were computed.
        off: greatest difference between a row's log odds and the sum of its contributions and the base.
        importance: of every feature, the strongest first.
        dependence: of every feature, its bins in order of their values.
        segments: by dimension, the largest first.
    """

    model: str
    baseline: Baseline | None
    base: float
    rows: int
    flagged: int
    sampled: int
    flagged_sampled: int
    off: float
    importance: tuple[Importance, ...]
    dependence: Mapping[str, tuple[Bin, ...]]
    segments: tuple[Segment, ...]


def explain_history(
    batches: Iterable[Batch],
    model: Model,
    *,
    rows: int = SAMPLE_ROWS,
    seed: int = 1,
    read: Callable[[int], None] = lambda _rows: None,
    explained: Callable[[int, int], None] = lambda _rows, _of: None,
) -> Explanation:
    """Explain a model on a history.

    Args:
        batches: of the history, with the columns of WANTED.
        model: the batches' probabilities are its own.
        rows: in a sample at most.
        seed: of the samples.
        read: called with the number of rows that were read so far.
        explained: called with the number of rows explained, and of those to be.

    Raises:
        HistoryError: there is nothing to explain.
    """
    random = np.random.default_rng(seed)
    whole, flagged, tally = pl.DataFrame(), pl.DataFrame(), pl.DataFrame()
    total = 0
    for batch in batches:
        frame = _frame(batch, model, random)
        whole = _drawn(whole, frame, rows)
        flagged = _drawn(flagged, frame.filter("flagged"), rows)
        tally = _added(tally, frame)
        total += len(frame)
        read(total)
    if not total:
        raise HistoryError("the history has no transactions to explain")
    steps = len(whole) + len(flagged)
    of_whole = _contributions(model, whole, lambda done: explained(done, steps))
    of_flagged = _contributions(model, flagged, lambda done: explained(len(whole) + done, steps))
    return Explanation(
        model=model.version,
        baseline=model.manifest.baseline,
        base=float(of_whole[0, -1]),
        rows=total,
        flagged=int(tally.filter(dimension="age")["flagged"].sum()),
        sampled=len(whole),
        flagged_sampled=len(flagged),
        off=_off(model, whole, of_whole),
        importance=_importance(of_whole, of_flagged),
        dependence={
            name: _bins(whole[name].to_numpy(), of_whole[:, column]) for column, name in enumerate(FEATURE_NAMES)
        },
        segments=tuple(_segments(tally, flagged, of_flagged)),
    )


def _frame(batch: Batch, model: Model, random: np.random.Generator) -> pl.DataFrame:
    """A batch with what it is told apart by."""
    columns, n = batch.columns, len(batch.amount)
    currency = columns["currency"]
    codes = currency.to_list() if isinstance(currency, pl.Series) else [str(code) for code in currency]
    level = levels(batch.probability.astype(np.float64), model.thresholds, batch.amount, codes)
    fraud = pl.Series("frauds", [None] * n, dtype=pl.Int64) if batch.fraud is None else batch.fraud.astype(np.int64)
    return pl.DataFrame({name: np.asarray(columns[name], np.float64) for name in FEATURE_NAMES}).with_columns(
        pl.Series("country", columns["country"], dtype=pl.String).fill_null(NOT_SENT),
        pl.Series("channel", columns["channel"], dtype=pl.String).fill_null(NOT_SENT),
        _band().alias("band"),
        pl.when(pl.col("num_trans_last_1w") == 1).then(pl.lit(NEW_CARD)).otherwise(pl.lit(KNOWN_CARD)).alias("age"),
        pl.Series("probability", batch.probability.astype(np.float64)),
        pl.Series("flagged", level > 0),
        pl.Series("frauds", fraud),
        pl.Series(_PRIORITY, random.random(n)),
    )


def _band() -> pl.Expr:
    place = pl.lit(0)
    for limit in AMOUNT_BANDS:
        place += (pl.col("amount") >= limit).cast(pl.Int32)
    return place.replace_strict(list(range(len(_BAND_NAMES))), list(_BAND_NAMES), return_dtype=pl.String)


def _drawn(kept: pl.DataFrame, more: pl.DataFrame, rows: int) -> pl.DataFrame:
    """Those with the least priorities: every row of a history has the same chance, however long it is."""
    return pl.concat([kept, more]).bottom_k(rows, by=_PRIORITY) if len(kept) else more.bottom_k(rows, by=_PRIORITY)


def _added(tally: pl.DataFrame, frame: pl.DataFrame) -> pl.DataFrame:
    """Counts of every segment, those of a batch added."""
    sums = [pl.col(name).sum() for name in ("rows", "flagged", "frauds", "unknown", "probability")]
    counts = [
        frame.group_by(pl.lit(dimension).alias("dimension"), pl.col(dimension).alias("name")).agg(
            pl.len().cast(pl.Int64).alias("rows"),
            pl.col("flagged").sum().cast(pl.Int64),
            pl.col("frauds").sum().cast(pl.Int64),
            pl.col("frauds").null_count().cast(pl.Int64).alias("unknown"),
            pl.col("probability").sum(),
        )
        for dimension in DIMENSIONS
    ]
    return pl.concat([tally, *counts] if len(tally) else counts).group_by("dimension", "name").agg(*sums)


def _contributions(model: Model, frame: pl.DataFrame, done: Callable[[int], None]) -> Shaped:
    x = frame.select(FEATURE_NAMES).to_numpy() if len(frame) else np.empty((0, len(FEATURE_NAMES)))
    found = np.empty((len(x), len(FEATURE_NAMES) + 1))
    for first in range(0, len(x), _SHAP_ROWS):
        part = slice(first, first + _SHAP_ROWS)
        found[part] = model.contributions(x[part])
        done(min(first + _SHAP_ROWS, len(x)))
    return found


def _off(model: Model, frame: pl.DataFrame, found: Shaped) -> float:
    """How far sums are from the trees' log odds; where a probability is too close to 0 or 1, nothing is told by it."""
    probability = model.raw(frame.select(FEATURE_NAMES).to_numpy()).astype(np.float64)
    inside = (probability > 1e-4) & (probability < 0.99)
    log_odds = np.log(probability[inside] / (1 - probability[inside]))
    return float(np.abs(found[inside].sum(axis=1) - log_odds).max(initial=0.0))


def _importance(of_whole: Shaped, of_flagged: Shaped) -> tuple[Importance, ...]:
    strength = np.abs(of_whole[:, :-1]).mean(axis=0)
    flagged = of_flagged[:, :-1].mean(axis=0).tolist() if len(of_flagged) else [None] * len(FEATURE_NAMES)
    order = np.argsort(-strength, kind="stable").tolist()
    return tuple(Importance(FEATURE_NAMES[column], float(strength[column]), flagged[column]) for column in order)


def _bins(values: Shaped, weights: Shaped) -> tuple[Bin, ...]:
    """Each value by itself where there are few; else bins of as many rows, and finer ones at the upper end."""
    different = np.unique(values)
    if len(different) <= _BINS:
        edges = different
    else:
        quantiles = np.quantile(values, [*(np.arange(_BINS) / _BINS), *_TAILS], method="higher")
        edges = np.unique(quantiles)
    of = np.searchsorted(edges, values, side="right") - 1
    return tuple(
        Bin(
            float(values[rows].min()), float(values[rows].max()), len(rows), float(weights[rows].mean()),
            *(float(q) for q in np.quantile(weights[rows], (0.1, 0.9))),
        )
        for number in range(len(edges))
        if len(rows := np.flatnonzero(of == number))
    )  # fmt: skip


def _segments(tally: pl.DataFrame, flagged: pl.DataFrame, of_flagged: Shaped) -> Iterable[Segment]:
    for dimension in DIMENSIONS:
        own = tally.filter(dimension=dimension).sort("rows", "name", descending=[True, False])
        for row in own.head(MOST_SEGMENTS).iter_rows(named=True):
            here = (flagged[dimension] == row["name"]).to_numpy() if len(flagged) else np.empty(0, np.bool_)
            yield Segment(
                dimension=dimension,
                name=row["name"],
                rows=row["rows"],
                flagged=row["flagged"],
                frauds=None if row["unknown"] else row["frauds"],
                probability=row["probability"] / row["rows"],
                drivers=_drivers(of_flagged[here]),
            )


def _drivers(found: Shaped) -> tuple[tuple[str, float], ...]:
    if not len(found):
        return ()
    mean = found[:, :-1].mean(axis=0)
    order = np.argsort(-mean, kind="stable")[:MOST_DRIVERS].tolist()
    return tuple((FEATURE_NAMES[column], float(mean[column])) for column in order if mean[column] > 0)
