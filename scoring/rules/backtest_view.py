"""A backtest's report for people: tables for the terminal, and a page with plots."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Final

import msgspec
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from scoring.charts import Line, html_table, line_plot, note, page
from scoring.decision import VERDICTS
from scoring.rules.backtest import BacktestReport, Day, RuleLine, Side, added
from scoring.rules.tally import FLAGGED, Sums

_EPOCH: Final = date(1970, 1, 1)
_MOST_LABELS: Final = 8
_MOST_OVERLAPS: Final = 30


class _Grid(msgspec.Struct, frozen=True):
    """A table in whichever form."""

    title: str
    heads: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def render(report: BacktestReport) -> RenderableType:
    """Tables to print through rich."""
    return Group(*(_rich(grid) for grid in _grids(report) if grid.rows))


def html(report: BacktestReport) -> str:
    """The whole report as one file."""
    grids = [html_table(grid.title, grid.heads, grid.rows) for grid in _grids(report) if grid.rows]
    days = html_table(
        "By day",
        ("day", "transactions", "frauds", "new review", "new block", "old review", "old block"),
        [
            (_date(day.day), *map(_count, (added(day.new.values()).count, added(day.new.values()).frauds)),
             *(_count(side[verdict].count) for side in (day.new, day.against) for verdict in VERDICTS[FLAGGED:]))
            for day in report.days
        ],
    )  # fmt: skip
    examples = html_table(
        "Some of what is decided otherwise",
        ("transaction", "before", "after", "rule before", "rule after", "amount", "fraud"),
        [
            (one.transaction_id, one.before, one.after, one.rule_before or "-", one.rule_after or "-",
             f"{one.amount:,.2f}", "?" if one.fraud is None else "yes" if one.fraud else "no")
            for one in report.examples
        ],
    )  # fmt: skip
    title = (
        f"Backtest: {report.new.name} ({report.new.version}) against {report.against.name} ({report.against.version})"
    )
    labels = "" if report.labelled else "Frauds are not known here: everything counts as ordinary. "
    remark = f"{labels}Values are in major units, currencies added as they are."
    return page(title, [note(remark), *_plots(report.days), *grids, examples, days])


def _plots(days: Sequence[Day]) -> list[str]:
    if not days:
        return []
    step = -(-len(days) // _MOST_LABELS)
    labels = [(float(day.day), _date(day.day)) for day in days[::step]]
    x = [float(day.day) for day in days]

    def plot(title: str, of: Sequence[tuple[str, list[float | None]]]) -> str:
        return line_plot(title, [Line(name, x, y) for name, y in of], "day", labels)

    sides = (("new", [day.new for day in days]), ("old", [day.against for day in days]))
    plots = [
        plot(f"{verdict}, transactions a day", [(n, [float(d[verdict].count) for d in s]) for n, s in sides])
        for verdict in VERDICTS[FLAGGED:]
    ]
    flagged = [(name, [added(d[v] for v in VERDICTS[FLAGGED:]) for d in side]) for name, side in sides]
    plots.append(plot("precision of review and block", [(n, [s.precision for s in sums]) for n, sums in flagged]))
    value = [(f"{n}, fraudulent", [s.fraud_value for s in sums]) for n, sums in flagged]
    value += [(f"{n}, ordinary", [s.ordinary_value for s in sums]) for n, sums in flagged]
    plots.append(plot("value reviewed and blocked a day", [(n, list(y)) for n, y in value]))
    return plots


def _grids(report: BacktestReport) -> list[_Grid]:
    return [
        _outcomes(report),
        _Grid(
            "What is decided otherwise",
            ("before", "after", "transactions", "frauds", "value", "fraudulent value"),
            [
                (one.before, one.after, _count(one.sums.count), _count(one.sums.frauds), _money(one.sums.value),
                 _money(one.sums.fraud_value))
                for one in report.changes
            ],
        ),
        _rules("Rules of the new set", report.new),
        _rules("Rules of the old set", report.against),
        _overlaps(report.new),
    ]  # fmt: skip


def _outcomes(report: BacktestReport) -> _Grid:
    rows = []
    for name, side in (("new", report.new), ("old", report.against)):
        for label, found in (*side.outcomes.items(), ("review + block", side.flagged)):
            recall = found.frauds / report.total.frauds if report.total.frauds else None
            rows.append((f"{name}: {label}", *_sums(found), _share(found.precision), _share(recall)))
    title = f"{report.total.count:,} transactions, {report.total.frauds:,} frauds"
    return _Grid(title, ("", "transactions", "frauds", "fraud value", "ordinary value", "precision", "recall"), rows)


def _rules(title: str, side: Side) -> _Grid:
    heads = (
        "rule", "outcome", "hits", "decides", "only it", "frauds", "precision", "recall", "fraud value",
        "false positives' value",
    )  # fmt: skip
    return _Grid(title, heads, [_rule(rule) for rule in side.rules])


def _rule(rule: RuleLine) -> tuple[str, ...]:
    # A shadow rule decides nothing; what it would touch is what it matches.
    touched = rule.hits if rule.shadow else rule.decided
    return (
        rule.id, f"{rule.outcome}{' (shadow)' if rule.shadow else ''}", _count(rule.hits.count),
        _count(rule.decided.count), _count(rule.alone), _count(rule.hits.frauds), _share(rule.hits.precision),
        _share(rule.recall), _money(touched.fraud_value), _money(touched.ordinary_value),
    )  # fmt: skip


def _overlaps(side: Side) -> _Grid:
    """Pairs of rules that match the same transactions, the largest first."""
    pairs = [
        (both, one, other)
        for one, row in enumerate(side.together)
        for other, both in enumerate(row)
        if one < other and both
    ]
    pairs.sort(key=lambda pair: (-pair[0], pair[1], pair[2]))
    rows = []
    for both, one, other in pairs[:_MOST_OVERLAPS]:
        first, second = side.rules[one], side.rules[other]
        either = first.hits.count + second.hits.count - both
        rows.append((first.id, second.id, _count(both), _share(both / either)))
    return _Grid("Rules of the new set that match the same", ("rule", "rule", "both", "of either"), rows)


def _rich(grid: _Grid) -> Table:
    table = Table(title=grid.title, title_justify="left", box=box.SIMPLE, pad_edge=False)
    for number, head in enumerate(grid.heads):
        table.add_column(head, justify="left" if number == 0 else "right", no_wrap=number > 0)
    for row in grid.rows:
        table.add_row(*row)
    return table


def _sums(found: Sums) -> tuple[str, ...]:
    return _count(found.count), _count(found.frauds), _money(found.fraud_value), _money(found.ordinary_value)


def _count(number: int) -> str:
    return f"{number:,}"


def _money(value: float) -> str:
    return f"{value:,.0f}"


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.2%}"


def _date(day: int) -> str:
    return (_EPOCH + timedelta(days=day)).isoformat()
