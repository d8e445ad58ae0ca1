"""Thresholds by expected cost: what a review queue of some size saves, and what a place in it is worth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.table import Table

from features.catalogue import FEATURE_NAMES
from features.errors import HistoryError
from scoring.charts import Line, html_table, line_plot, note, page
from scoring.dataset import Dataset
from scoring.decision import VERDICTS, expected_costs, levels
from scoring.evaluation import milliseconds
from scoring.manifest import Costs, Manifest, Thresholds

_DAY_MS: Final = 86_400_000
_LAST_MS: Final = 1 << 62
_STEPS: Final = (0.0, 0.125, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0)
_APPROVE, _REVIEW, _BLOCK = range(len(VERDICTS))


class Rows(msgspec.Struct, frozen=True):
    """Transactions that thresholds are chosen or judged on.

    Attributes:
        probability: of the model, shape (n,).
        amount: major units, shape (n,).
        fraud: labels, shape (n,).
        days: how many days they span.
    """

    probability: NDArray[np.float64]
    amount: NDArray[np.float64]
    fraud: NDArray[np.bool_]
    days: float


class Point(msgspec.Struct, frozen=True):
    """What one capacity of the review queue comes to; everything a day.

    Attributes:
        capacity: reviews that were allowed; None: any number.
        queue: worth of a place in the queue, see Costs.
        reviews, blocks, declined: transactions reviewed, blocked, and ordinary ones among the blocked.
        lost: fraudulent amounts that went through, and what reviews did not save.
        cost: lost, reviews and declined customers together, at their prices.
        caught: share of the fraudulent amount that is reviewed or blocked.
    """

    capacity: float | None
    queue: float
    reviews: float
    blocks: float
    declined: float
    lost: float
    cost: float
    caught: float


class Tradeoff(msgspec.Struct, frozen=True):
    """The curve, and the point that was chosen.

    Attributes:
        costs: with the worth of a place in the queue.
        chosen: what they come to.
        before: what the thresholds so far come to.
        points: by capacity.
        expected_frauds, frauds: what the model expects on these rows, and what there is: far apart, its probabilities
            are no measure of cost.
    """

    costs: Costs
    chosen: Point
    before: Point
    points: tuple[Point, ...]
    expected_frauds: float
    frauds: int


def parts(data: Dataset, probability: NDArray[np.float32], manifest: Manifest) -> tuple[Rows, Rows]:
    """The rows to choose on and those to judge on.

    On the table that the model was trained from these are the validation and the test part; of another table both are
    the whole.
    """
    if data.fingerprint != manifest.data_fingerprint:
        whole = _rows(data, probability, 0, _LAST_MS)
        return whole, whole
    split = manifest.split
    chosen = _rows(data, probability, milliseconds(split.validation.start), milliseconds(split.validation.stop))
    return chosen, _rows(data, probability, milliseconds(split.test.start), _LAST_MS)


def _rows(data: Dataset, probability: NDArray[np.float32], start_ms: int, stop_ms: int) -> Rows:
    first, last = np.searchsorted(data.time_ms, (start_ms, stop_ms))
    part = data.between(start_ms, stop_ms)
    if not len(part) or not part.is_fraud.any():
        raise HistoryError("thresholds by cost need a history with fraudulent transactions")
    days = max((int(part.time_ms[-1]) - int(part.time_ms[0])) / _DAY_MS, 1.0)
    amount = part.features[:, FEATURE_NAMES.index("amount")].astype(np.float64)
    return Rows(probability[first:last].astype(np.float64), amount, part.is_fraud, days)


def queue_worth(rows: Rows, costs: Costs, capacity: float | None) -> float:
    """What a place in the review queue is worth where it holds so many a day.

    Reviews are given to those who gain most by one, until the queue is full; the gain of the first who finds no place
    is the worth of a place.
    """
    if capacity is None:
        return 0.0
    price = msgspec.structs.replace(costs, queue=0.0)
    approve, review, block = expected_costs(rows.probability, rows.amount, price)
    gain = np.minimum(approve, block) - review
    places = int(capacity * rows.days)
    if not places:  # also for rows that gain more than any of these: no review gains a whole decline
        return costs.decline
    if places >= np.count_nonzero(gain > 0):
        return 0.0
    at = len(gain) - 1 - places
    return float(np.partition(gain, at)[at])


def tradeoff(choose: Rows, judge: Rows, costs: Costs, capacity: float | None, before: Thresholds) -> Tradeoff:
    """Find the worth of a place in the queue, and what other capacities would come to.

    Args:
        choose: rows that the worth is chosen on.
        judge: rows that everything is measured on.
        costs: prices.
        capacity: reviews a day; None: any number.
        before: the thresholds so far.
    """
    least = capacity if capacity is not None else _reviews(judge, costs)
    asked = [*(step * least for step in _STEPS), None]
    points = []
    for places in asked:
        priced = msgspec.structs.replace(costs, queue=queue_worth(choose, costs, places))
        points.append(_point(judge, priced, places, by_costs(priced)))
    chosen = msgspec.structs.replace(costs, queue=queue_worth(choose, costs, capacity))
    return Tradeoff(
        chosen,
        _point(judge, chosen, capacity, by_costs(chosen)),
        _point(judge, costs, None, before),
        tuple(points),
        float(judge.probability.sum()),
        int(np.count_nonzero(judge.fraud)),
    )


def _reviews(rows: Rows, costs: Costs) -> float:
    return max(
        float(np.count_nonzero(levels(rows.probability, by_costs(costs), rows.amount) == _REVIEW)) / rows.days, 1.0
    )


def by_costs(costs: Costs) -> Thresholds:
    """Thresholds that costs alone decide."""
    return Thresholds(1.0, 1.0, costs=costs)


def _point(rows: Rows, costs: Costs, capacity: float | None, limits: Thresholds) -> Point:
    fraud, amount = rows.fraud, rows.amount
    level = levels(rows.probability, limits, amount)
    reviews, blocks = np.count_nonzero(level == _REVIEW), np.count_nonzero(level == _BLOCK)
    declined = int(np.count_nonzero((level == _BLOCK) & ~fraud))
    through = float(amount[fraud & (level == _APPROVE)].sum())
    reviewed = float(amount[fraud & (level == _REVIEW)].sum())
    lost = through + (1 - costs.recovered) * reviewed
    cost = lost + int(reviews) * costs.review + declined * costs.decline
    total = float(amount[fraud].sum())
    a_day = 1 / rows.days
    return Point(
        capacity, costs.queue, int(reviews) * a_day, int(blocks) * a_day, declined * a_day, lost * a_day, cost * a_day,
        1 - through / total,
    )  # fmt: skip


_HEADS: Final = ("reviews a day at most", "reviews", "blocks", "wrongly declined", "fraud lost", "cost", "value caught")


def render(found: Tradeoff) -> Table:
    """The curve as a table to print through rich; everything a day."""
    table = Table(title="What a review queue comes to, a day", title_justify="left", box=box.SIMPLE, pad_edge=False)
    for head in _HEADS:
        table.add_column(head, justify="right")
    for row in _table(found):
        table.add_row(*row)
    return table


def html(found: Tradeoff) -> str:
    """The curve as one file."""
    x = [point.reviews for point in found.points]
    plots = [
        line_plot("cost a day", [Line("cost", x, [p.cost for p in found.points]),
                                 Line("of it fraud lost", x, [p.lost for p in found.points])],
                  "reviews a day", mark=found.chosen.reviews),
        line_plot("share of the fraudulent value reviewed or blocked",
                  [Line("caught", x, [p.caught for p in found.points])], "reviews a day", mark=found.chosen.reviews),
    ]  # fmt: skip
    remark = f"The model expects {found.expected_frauds:,.0f} frauds on these rows; there are {found.frauds:,}."
    return page("Thresholds by cost", [note(remark), *plots, html_table("A day", _HEADS, _table(found))])


def _table(found: Tradeoff) -> Sequence[tuple[str, ...]]:
    named = [("as it is", found.before), *((_capacity(p), p) for p in found.points), ("chosen", found.chosen)]
    return [
        (name, f"{p.reviews:,.1f}", f"{p.blocks:,.1f}", f"{p.declined:,.2f}", f"{p.lost:,.0f}", f"{p.cost:,.0f}",
         f"{p.caught:.1%}")
        for name, p in named
    ]  # fmt: skip


def _capacity(point: Point) -> str:
    return "any" if point.capacity is None else f"{point.capacity:,.1f}"
