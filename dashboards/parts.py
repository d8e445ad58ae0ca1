"""The words in which dashboards are described: panels, what they count and how they cut it up."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

COLUMNS: Final = 48
"""Width of a dashboard's grid."""

MetricKind = Literal["count", "avg", "sum", "min", "max", "cardinality", "percentiles"]
BucketKind = Literal["date_histogram", "terms", "histogram", "range", "date_range"]
Chart = Literal["metric", "line", "histogram", "horizontal_bar", "pie", "table", "heatmap"]
Pattern = Literal["outcomes", "labels", "given", "letters", "operations"]


class Metric(msgspec.Struct, frozen=True):
    """One number of each bucket.

    Attributes:
        kind: how it is made.
        field: of what; empty for a count.
        label: what people read.
        percents: of percentiles.
    """

    kind: MetricKind
    field: str = ""
    label: str = ""
    percents: tuple[float, ...] = ()


class Bucket(msgspec.Struct, frozen=True):
    """One way in which documents are cut up.

    Attributes:
        kind: how.
        field: by what.
        label: what people read.
        place: `segment` is the x axis (the slices of a pie, the rows of a bar chart), `group` the series (rows of a
            heat map), `bucket` a column of a table; empty: what fits the chart.
        size: of terms, how many at most.
        by_key: of terms, in the order of the terms; else the greatest first metric goes first.
        interval: of a histogram.
        ranges: of a range: numbers; of a date range: date math; an open end is absent.
    """

    kind: BucketKind
    field: str
    label: str = ""
    place: Literal["", "segment", "group", "bucket"] = ""
    size: int = 10
    by_key: bool = False
    interval: int = 0
    ranges: tuple[tuple[float | str | None, float | str | None], ...] = ()


class Panel(msgspec.Struct, frozen=True):
    """One picture.

    Attributes:
        id: unique; part of the saved object's id.
        title: what it tells, for people.
        chart: its form.
        metrics: at least one.
        buckets: the outermost first.
        query: in Lucene's syntax; empty: everything.
        pattern: which documents.
        width: of 48 columns.
        stacked: of a histogram, whether series stand on each other.
        shares: of a histogram, whether the axis is in percent of the whole.
    """

    id: str
    title: str
    chart: Chart
    metrics: tuple[Metric, ...]
    buckets: tuple[Bucket, ...] = ()
    query: str = ""
    pattern: Pattern = "outcomes"
    width: int = 24
    stacked: bool = True
    shares: bool = False


class Control(msgspec.Struct, frozen=True):
    """One field to choose from: a list of its values, or a range of numbers."""

    field: str
    label: str
    kind: Literal["list", "range"] = "list"


class Controls(msgspec.Struct, frozen=True):
    """A bar of controls, over the outcomes."""

    id: str
    title: str
    controls: tuple[Control, ...]
    width: int = COLUMNS


class Text(msgspec.Struct, frozen=True):
    """A text in Markdown."""

    id: str
    title: str
    markdown: str
    width: int = COLUMNS


class Search(msgspec.Struct, frozen=True):
    """A list of documents.

    Attributes:
        id: unique; part of the saved object's id.
        title: for people.
        columns: fields shown.
        sort: field, the greatest first.
        query: as of a panel.
        pattern: which documents.
        width: of 48 columns.
    """

    id: str
    title: str
    columns: tuple[str, ...]
    sort: str
    query: str = ""
    pattern: Pattern = "outcomes"
    width: int = COLUMNS


Part = Panel | Controls | Text | Search


class Row(msgspec.Struct, frozen=True):
    """Parts beside each other, together at most 48 columns wide."""

    height: int
    parts: tuple[Part, ...]


class Dashboard(msgspec.Struct, frozen=True):
    """One page.

    Attributes:
        id: unique; part of the saved object's id.
        title: for people.
        description: one sentence.
        rows: from top to bottom.
        since: where its time range begins, as date math; it ends now.
    """

    id: str
    title: str
    description: str
    rows: tuple[Row, ...]
    since: str = "now-24h"

    def parts(self) -> list[Part]:
        """Everything on it."""
        return [part for row in self.rows for part in row.parts]


class IndexPattern(msgspec.Struct, frozen=True):
    """Documents, and how their fields are written.

    Attributes:
        name: by which panels ask for it.
        alias: of the indices, without prefix.
        time_field: by which the time range cuts.
        formats: field -> format of Dashboards.
    """

    name: Pattern
    alias: str
    time_field: str
    formats: dict[str, dict[str, Any]] = {}


COUNT: Final = Metric("count", label="count")


def rate(field: str, label: str) -> Metric:
    """Average of a 0/1 number."""
    return Metric("avg", field, label)


def over_time(field: str = "event_time") -> Bucket:
    """The x axis of time."""
    return Bucket("date_histogram", field, "time", "segment")


def top(field: str, label: str, size: int = 10, **more: Any) -> Bucket:  # noqa: ANN401 - fields of a bucket
    """The most frequent values, or those with the most of the first metric."""
    return Bucket("terms", field, label, size=size, **more)
