"""What a model looks at, for people: tables for the terminal, and a page with plots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from features.catalogue import FEATURES
from scoring.charts import Line, bar_plot, html_table, line_plot, note, page
from scoring.explanation import DIMENSIONS, Bin, Explanation, Segment

_MEANINGS: Final = {feature.name: feature.meaning for feature in FEATURES}
_LABELS: Final = 6
_SEGMENT_HEADS: Final = ("", "transactions", "flagged", "frauds", "mean probability", "speaks most for fraud there")
_IMPORTANCE_HEADS: Final = ("feature", "mean |contribution|", "mean where flagged", "meaning")


def method(found: Explanation) -> list[str]:
    """How the numbers were made, in sentences."""
    baseline = found.baseline
    against = (
        f"They are measured against {baseline.rows:,} approved transactions of the training data (of "
        f"{baseline.approved:,})."
        if baseline is not None
        else "The model's manifest holds no baseline: they are measured against the rows that it was trained on."
    )
    flagged = f"{found.flagged:,} of them flagged (review or block) by its thresholds"
    sums = f"this and the contributions of a row are its log odds, here within {found.off:.1g}"
    return [
        f"Model {found.model}. {found.rows:,} transactions, {flagged}.",
        f"Contributions are exact TreeSHAP values: what a feature adds to the log odds of fraud. {against}",
        f"The baseline lies at log odds of {found.base:.3f}; {sums}.",
        f"Computed for {found.sampled:,} transactions drawn from all, and {found.flagged_sampled:,} from the flagged.",
    ]


def render(found: Explanation) -> RenderableType:
    """Tables to print through rich."""
    return Group(
        *map(Text, method(found)),
        _rich("Importance", _IMPORTANCE_HEADS, _importance(found)),
        *(_rich(title, _SEGMENT_HEADS, rows) for title, rows in _by_dimension(found)),
    )


def html(found: Explanation) -> str:
    """The whole report as one file."""
    parts = [note(text) for text in method(found)]
    parts.append(
        bar_plot("importance: mean absolute contribution", [(one.feature, one.strength) for one in found.importance])
    )
    flagged = [(one.feature, one.in_flagged) for one in found.importance if one.in_flagged is not None]
    if flagged:
        flagged.sort(key=lambda one: -one[1])
        parts.append(bar_plot("mean contribution where flagged: above 0 speaks for fraud", flagged))
    parts.append(html_table("Importance", _IMPORTANCE_HEADS, _importance(found)))
    parts += [html_table(title, _SEGMENT_HEADS, rows) for title, rows in _by_dimension(found)]
    parts.append(
        note(
            "Dependence: the contribution of a feature by its value. Places on the axis hold as many transactions "
            "each, but for single values and for the largest percent."
        )
    )
    parts += [_dependence(one.feature, found.dependence[one.feature]) for one in found.importance]
    return page(f"What {found.model} looks at", parts)


def _importance(found: Explanation) -> Sequence[tuple[str, ...]]:
    return [
        (one.feature, f"{one.strength:.3f}", "-" if one.in_flagged is None else f"{one.in_flagged:+.3f}",
         _MEANINGS[one.feature])
        for one in found.importance
    ]  # fmt: skip


def _by_dimension(found: Explanation) -> Sequence[tuple[str, Sequence[tuple[str, ...]]]]:
    return [
        (title, [_segment(one) for one in found.segments if one.dimension == dimension])
        for dimension, title in DIMENSIONS.items()
    ]


def _segment(one: Segment) -> tuple[str, ...]:
    drivers = ", ".join(f"{name} {mean:+.2f}" for name, mean in one.drivers)
    return (
        one.name, f"{one.rows:,}", f"{one.flagged:,} ({one.flagged / one.rows:.2%})",
        "?" if one.frauds is None else f"{one.frauds:,}", f"{one.probability:.3%}", drivers or "-",
    )  # fmt: skip


def _dependence(name: str, bins: Sequence[Bin]) -> str:
    x = list(range(len(bins)))
    step = max(len(bins) // _LABELS, 1)
    labels = [(float(place), _span(bins[place])) for place in x[::step]]
    lines = [
        Line("mean", x, [one.mean for one in bins]),
        Line("9 of 10 are below", x, [one.p90 for one in bins]),
        Line("1 of 10 is below", x, [one.p10 for one in bins]),
    ]
    return line_plot(f"{name}: contribution", lines, _MEANINGS[name], labels)


def _span(one: Bin) -> str:
    return f"{one.low:.4g}" if one.low == one.high else f"{one.low:.3g} to {one.high:.3g}"


def _rich(title: str, heads: Sequence[str], rows: Sequence[tuple[str, ...]]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE)
    for number, head in enumerate(heads):
        is_text = number == 0 or number == len(heads) - 1
        table.add_column(head, justify="left" if is_text else "right")
    for row in rows:
        table.add_row(*map(Text, row))
    return table
