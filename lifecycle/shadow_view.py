"""A comparison of champion and challenger as tables and as a page."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from lifecycle.shadow import Comparison, Judgement
from lifecycle.stats import Interval
from scoring.charts import html_table, note, page
from scoring.decision import VERDICTS

_CLEAR: float = 0.05
_Rows = Sequence[Sequence[str]]


def render(found: Comparison) -> RenderableType:
    """Tables to print through rich."""
    parts: list[RenderableType] = [_summary(found)]
    parts += [_table(title, heads, rows) for title, heads, rows in _tables(found)]
    return Group(*parts, *_remarks(found))


def html(found: Comparison) -> str:
    """The same as one file."""
    tables = [html_table(title, heads, rows) for title, heads, rows in _tables(found)]
    remarks = [note(line) for line in _remarks(found)]
    return page("Champion and challenger", [note(_summary(found)), *tables, *remarks])


def verdict(found: Judgement) -> str:
    """What the figures come to, in one sentence."""
    if found.average_precision.p < _CLEAR and found.average_precision.value > 0:
        return "The challenger is better: more average precision than chance explains."
    if found.average_precision.p < _CLEAR and found.average_precision.value < 0:
        return "The challenger is worse: less average precision than chance explains."
    return "No difference that chance does not explain."


def _summary(found: Comparison) -> str:
    return (
        f"{found.rows:,} of {found.seen:,} transactions were answered by both, {found.first} to {found.last}: "
        f"the same verdict in {found.agreement:.2%}, rank correlation {found.rank_correlation:.3f}."
    )


def _tables(found: Comparison) -> list[tuple[str, tuple[str, ...], _Rows]]:
    rows: _Rows = [(VERDICTS[i], *(f"{n:,}" for n in line)) for i, line in enumerate(found.verdicts)]
    tables = [(f"{found.champion} (rows) and {found.challenger} (columns)", ("", *VERDICTS), rows)]
    if found.flips:
        heads = ("currency", "challenger alone", "value", "of it fraud", "champion alone", "value", "of it fraud")
        flips = [
            (f.currency, f"{f.caught_more:,}", f"{f.caught_more_amount:,.0f}", f"{f.fraud_more:,}",
             f"{f.let_through:,}", f"{f.let_through_amount:,.0f}", f"{f.fraud_less:,}")
            for f in found.flips
        ]  # fmt: skip
        tables.append(("Flips: flagged by one alone", heads, flips))
    if found.judgement is not None:
        tables += _judged(found.judgement)
    return tables


def _judged(found: Judgement) -> list[tuple[str, tuple[str, ...], _Rows]]:
    one, two = found.champion, found.challenger
    places = [
        (f"caught, transaction {place} of an attack", _share(first), _share(second))
        for place, (first, second) in enumerate(
            zip(one.recall_by_position, two.recall_by_position, strict=True), start=1
        )
    ]
    figures = [
        ("average precision", f"{one.average_precision:.3f}", f"{two.average_precision:.3f}"),
        ("frauds flagged", _share(one.recall), _share(two.recall)),
        *places,
        ("fraudulent value flagged", _share(one.recall_by_value), _share(two.recall_by_value)),
        ("ordinary transactions flagged", f"{one.flagged_ordinary:.2%}", f"{two.flagged_ordinary:.2%}"),
    ]
    tests = [
        ("average precision, bootstrap over cards", *_interval(found.average_precision)),
        ("ROC AUC, DeLong", *_interval(found.roc_auc)),
        ("frauds flagged by one alone, McNemar",
         f"{found.frauds_only_challenger:,} against {found.frauds_only_champion:,}", "", _p(found.p_frauds)),
        ("ordinary flagged by one alone, McNemar",
         f"{found.ordinary_only_challenger:,} against {found.ordinary_only_champion:,}", "", _p(found.p_ordinary)),
    ]  # fmt: skip
    known = f"{found.rows:,} transactions whose answer is known, {found.frauds:,} of them fraud"
    return [
        (known, ("", one.model, two.model), figures),
        ("Challenger against champion", ("", "difference", "95 %", "p"), tests),
    ]


def _remarks(found: Comparison) -> list[str]:
    judged = [] if found.judgement is None else [verdict(found.judgement)]
    return [*judged, *found.remarks]


def _interval(found: Interval) -> tuple[str, str, str]:
    return f"{found.value:+.4f}", f"{found.low:+.4f} to {found.high:+.4f}", _p(found.p)


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _table(title: str, heads: Sequence[str], rows: _Rows) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE, pad_edge=False)
    for number, head in enumerate(heads):
        table.add_column(head, justify="left" if number == 0 else "right")
    for row in rows:
        table.add_row(*row)
    return table
