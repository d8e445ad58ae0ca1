"""What an evaluation found, as a record (stored in a model's manifest) and as tables for people."""

from __future__ import annotations

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table


class RatePoint(msgspec.Struct, frozen=True):
    """What is caught when a stated share of the ordinary transactions may be flagged.

    Attributes:
        false_positive_rate: share of ordinary transactions flagged, at most.
        recall: share of the fraudulent transactions flagged.
        recall_by_position: the same for the 1st, 2nd, 3rd ... transactions of an attack; None where there is none.
    """

    false_positive_rate: float
    recall: float
    recall_by_position: tuple[float | None, ...]


class Counts(msgspec.Struct, frozen=True):
    """Transactions of one kind by what the thresholds make of them."""

    approve: int
    review: int
    block: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.approve + self.review + self.block

    @property
    def flagged_rate(self) -> float:
        """Share that is reviewed or blocked."""
        return (self.review + self.block) / self.total

    @property
    def blocked_rate(self) -> float:
        """Share that is blocked."""
        return self.block / self.total


class Report(msgspec.Struct, frozen=True):
    """Measured on rows that neither the model nor its thresholds have seen.

    Attributes:
        first, last: event times of the first and last row, RFC 3339.
        rows: transactions evaluated.
        attacks: attacks whose first transaction is among them.
        average_precision: area under the precision-recall curve, as a step function.
        roc_auc: area under the ROC curve.
        at_rates: what is caught at stated false-positive rates of these rows.
        ordinary, fraud: what the model's own thresholds make of them.
        value_detection_rate: share of the fraudulent amount that is reviewed or blocked.
        card_precision: mean over days of the share of compromised cards among the day's most suspicious cards.
        card_precision_best: what a perfect model would reach, days having few compromised cards.
        card_precision_k: how many cards a day.
    """

    first: str
    last: str
    rows: int
    attacks: int
    average_precision: float
    roc_auc: float
    at_rates: tuple[RatePoint, ...]
    ordinary: Counts
    fraud: Counts
    value_detection_rate: float
    card_precision: float
    card_precision_best: float
    card_precision_k: int


def render(report: Report) -> RenderableType:
    """Tables to print through rich."""
    return Group(_summary(report), _rates(report), _confusion(report))


def _summary(report: Report) -> Table:
    table = Table(title=f"{report.rows:,} transactions, {report.first} to {report.last}", show_header=False)
    table.add_row("fraudulent transactions", f"{report.fraud.total:,} in {report.attacks:,} attacks")
    table.add_row("average precision", f"{report.average_precision:.3f}")
    table.add_row("ROC AUC", f"{report.roc_auc:.3f}")
    table.add_row("fraudulent value flagged", f"{report.value_detection_rate:.1%}")
    best = f"(at best {report.card_precision_best:.3f})"
    table.add_row(f"card precision@{report.card_precision_k} per day", f"{report.card_precision:.3f} {best}")
    return table


def _rates(report: Report) -> Table:
    table = Table(title="Caught, by place in the attack")
    table.add_column("at false positives of")
    for point in report.at_rates:
        table.add_column(f"{point.false_positive_rate:.1%}", justify="right")
    table.add_row("all", *(_share(point.recall) for point in report.at_rates))
    positions = max(len(point.recall_by_position) for point in report.at_rates)
    for position in range(positions):
        table.add_row(
            _ordinal(position + 1), *(_share(point.recall_by_position[position]) for point in report.at_rates)
        )
    return table


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _confusion(report: Report) -> Table:
    table = Table(title="At the model's thresholds")
    for heading in ("", "approve", "review", "block", "flagged", "blocked"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, counts in (("ordinary", report.ordinary), ("fraud", report.fraud)):
        numbers = (f"{count:,}" for count in (counts.approve, counts.review, counts.block))
        table.add_row(name, *numbers, f"{counts.flagged_rate:.2%}", f"{counts.blocked_rate:.2%}")
    return table


def _ordinal(position: int) -> str:
    return f"{position}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(position, 'th') }"
