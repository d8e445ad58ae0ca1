"""What was found of drift: for people, for OpenSearch, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from features.times import format_rfc3339
from lifecycle.drift import Drift, Week, range_of
from scoring.charts import Line, html_table, line_plot, note, page
from sinks.documents import Document, day_of
from sinks.operations import drift_document
from sinks.side_indices import OPERATIONS_ALIAS

_COLUMNS = ("feature", "PSI", "KS", "missing", "grown most")
_WEEKS = ("week", "transactions", "frauds", "expected", "recall", "precision", "average precision")


def render(found: Drift) -> RenderableType:
    """Tables to print through rich."""
    parts: list[RenderableType] = [
        _table(
            f"{found.rows:,} transactions, {found.first} to {found.last}, against {found.model}",
            _COLUMNS,
            _columns(found),
        ),
    ]
    if found.weeks:
        parts.append(_table("Where the answer is known, by week", _WEEKS, _weeks(found.weeks)))
    parts.append("\n".join(_remarks(found)))
    if found.alarms:
        parts.append(_table("Alarms", ("kind", "of", "what"), [(a.kind, a.subject, a.told) for a in found.alarms]))
    else:
        parts.append("No alarm.")
    return Group(*parts)


def html(found: Drift) -> str:
    """The same as one file."""
    alarms = [(a.kind, a.subject, a.told) for a in found.alarms]
    parts = [note(line) for line in _remarks(found)]
    parts.append(html_table("Alarms", ("kind", "of", "what"), alarms) if alarms else note("No alarm."))
    if found.weeks:
        x = list(range(len(found.weeks)))
        labels = [(float(i), week.start[5:10]) for i, week in enumerate(found.weeks)]
        lines = [Line("recall", x, [w.recall for w in found.weeks]),
                 Line("average precision", x, [w.average_precision for w in found.weeks])]  # fmt: skip
        parts += [line_plot("by week", lines, "week", labels), html_table("By week", _WEEKS, _weeks(found.weeks))]
    parts.append(html_table(f"Against {found.model}", _COLUMNS, _columns(found)))
    missing = [(name, f"{share:.2%}") for name, share in found.missing_fields.items()]
    parts.append(html_table("Optional fields", ("field", "missing"), missing))
    return page("Drift", parts)


def documents(found: Drift, at_ms: int, index_prefix: str) -> Iterator[Document]:
    """One document per feature, field, week and alarm, and one of the whole, for the index of operations.

    Args:
        found: what was found.
        at_ms: when, epoch milliseconds.
        index_prefix: put before the index name.
    """

    def made(kind: str, subject: str, **fields: object) -> Document:
        body = {"at": format_rfc3339(at_ms), "kind": kind, "model": found.model, **fields}
        identity = f"{kind}:{found.model}:{subject}:{at_ms}"
        return Document(f"{index_prefix}{OPERATIONS_ALIAS}-{day_of(at_ms)}", identity, msgspec.json.encode(body))

    for one in found.columns:
        yield drift_document(
            at_ms=at_ms, feature=one.name, psi=one.psi, ks=one.ks, model=found.model, index_prefix=index_prefix
        )
    for name, share in found.missing_fields.items():
        yield made("missing_field", name, field=name, missing=share)
    for week in found.weeks:
        figures = {"recall": week.recall, "precision": week.precision, "average_precision": week.average_precision}
        counts = {"rows": week.rows, "frauds": week.frauds, "expected_frauds": week.expected}
        yield made("performance", week.start, week=week.start, **figures, **counts)
    for alarm in found.alarms:
        yield made("alarm", f"{alarm.kind}:{alarm.subject}", alarm=alarm.kind, feature=alarm.subject, text=alarm.told)
    counts = {"rows": found.rows, "labelled": found.labelled, "alarms": len(found.alarms)}
    yield made("watch", "all", flagged=found.flagged, calibration=found.calibration, **counts)


def _columns(found: Drift) -> list[tuple[str, ...]]:
    return [
        (one.name, f"{one.psi:.3f}", f"{one.ks:.3f}", f"{one.missing:.1%}",
         "-" if one.surge is None else f"{range_of(one.surge)}: {one.surge.before:.2%} -> {one.surge.now:.2%}")
        for one in found.columns
    ]  # fmt: skip


def _weeks(weeks: Sequence[Week]) -> list[tuple[str, ...]]:
    return [
        (week.start[:10], f"{week.rows:,}", f"{week.frauds:,}", f"{week.expected:,.0f}", _share(week.recall),
         _share(week.precision), "-" if week.average_precision is None else f"{week.average_precision:.3f}")
        for week in weeks
    ]  # fmt: skip


def _remarks(found: Drift) -> list[str]:
    before = f"({found.flagged_before:.2%} on the test part)"
    lines = [f"{found.flagged:.2%} reviewed or blocked {before}, {found.degraded:.2%} scored without history."]
    if found.scored < found.rows:
        lines.append(f"{found.rows - found.scored:,} transactions were answered by other models alone.")
    if found.labelled:
        ratio = "too few frauds to tell" if found.calibration is None else f"{found.calibration:.2f}"
        lines.append(f"The answer of {found.labelled:,} is known; frauds per expected fraud: {ratio}.")
    else:
        lines.append("No answer is known yet: what the model catches cannot be told, only what it is asked.")
    if found.left_out:
        lines.append("Left out: " + ", ".join(f"{n:,} {why}" for why, n in sorted(found.left_out.items())) + ".")
    return lines


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE, pad_edge=False)
    for number, head in enumerate(heads):
        table.add_column(head, justify="left" if number == 0 or head in {"what", "of", "grown most"} else "right")
    for row in rows:
        table.add_row(*row)
    return table
