"""What stands inside a visualization: its `visState`, as OpenSearch Dashboards 3.x reads it.

`params` are merged over the chart's defaults at the top level only: a key is left out, or its object is given whole.
"""

from __future__ import annotations

from typing import Any, Final

from dashboards.parts import Bucket, Controls, Metric, Panel, Text

Json = dict[str, Any]

_AXIS: Final = "ValueAxis-1"
_CONTROL_SIZE: Final = 20
# Where the buckets of a chart go when they do not say.
_PLACES: Final = {
    "metric": "group",
    "table": "bucket",
    "line": "segment",
    "histogram": "segment",
    "horizontal_bar": "segment",
    "pie": "segment",
    "heatmap": "segment",
}
_METRIC_STYLE: Final = {
    "percentageMode": False,
    "useRanges": False,
    "colorSchema": "Green to Red",
    "metricColorMode": "None",
    "colorsRange": [{"from": 0, "to": 10000}],
    "labels": {"show": True},
    "invertColors": False,
    "style": {"bgFill": "#000", "bgColor": False, "labelColor": False, "subText": "", "fontSize": 28},
}
_SHARES_AXIS: Final = {
    "id": _AXIS,
    "name": "LeftAxis-1",
    "type": "value",
    "position": "left",
    "show": True,
    "style": {},
    "scale": {"type": "linear", "mode": "percentage"},
    "labels": {"show": True, "rotate": 0, "filter": False, "truncate": 100},
    "title": {"text": "share"},
}


def panel_state(panel: Panel) -> Json:
    """The `visState` of a panel: metrics first, so that buckets can be ordered by the first of them."""
    metrics = [_metric(str(at), metric) for at, metric in enumerate(panel.metrics, 1)]
    first = len(metrics) + 1
    buckets = [_bucket(str(at), panel, bucket) for at, bucket in enumerate(panel.buckets, first)]
    return {"title": panel.title, "type": panel.chart, "params": _params(panel), "aggs": [*metrics, *buckets]}


def controls_state(controls: Controls) -> Json:
    """The `visState` of a bar of controls; its index patterns are references."""
    made = []
    for at, control in enumerate(controls.controls):
        options: Json = (
            {"decimalPlaces": 0, "step": 1}
            if control.kind == "range"
            else {"type": "terms", "multiselect": True, "dynamicOptions": True, "size": _CONTROL_SIZE, "order": "desc"}
        )
        made.append(
            {
                "id": str(at + 1),
                "fieldName": control.field,
                "label": control.label,
                "parent": "",
                "type": control.kind,
                "indexPatternRefName": control_reference(at),
                "options": options,
            }
        )
    params = {"controls": made, "updateFiltersOnChange": True, "useTimeFilter": False, "pinFilters": False}
    return {"title": controls.title, "type": "input_control_vis", "params": params, "aggs": []}


def text_state(text: Text) -> Json:
    """The `visState` of a text."""
    params = {"markdown": text.markdown, "fontSize": 12, "openLinksInNewTab": True}
    return {"title": text.title, "type": "markdown", "params": params, "aggs": []}


def control_reference(at: int) -> str:
    """Name of the reference from a control to its index pattern."""
    return f"control_{at}_index_pattern"


def _metric(name: str, metric: Metric) -> Json:
    params: Json = {"customLabel": metric.label} if metric.label else {}
    if metric.field:
        params["field"] = metric.field
    if metric.percents:
        params["percents"] = list(metric.percents)
    return {"id": name, "enabled": True, "type": metric.kind, "schema": "metric", "params": params}


def _bucket(name: str, panel: Panel, bucket: Bucket) -> Json:
    params: Json = {"field": bucket.field, **_cut(bucket)}
    if bucket.label:
        params["customLabel"] = bucket.label
    place = bucket.place or _PLACES[panel.chart]
    return {"id": name, "enabled": True, "type": bucket.kind, "schema": place, "params": params}


def _cut(bucket: Bucket) -> Json:
    if bucket.kind == "date_histogram":
        return {"interval": "auto", "min_doc_count": 1}
    if bucket.kind == "histogram":
        return {"interval": bucket.interval, "min_doc_count": False}
    if bucket.kind == "terms":
        order = {"order": "asc", "orderBy": "_key"} if bucket.by_key else {"order": "desc", "orderBy": "1"}
        return {"size": bucket.size, **order, "otherBucket": False, "missingBucket": False}
    ends = [
        {name: end for name, end in zip(("from", "to"), pair, strict=True) if end is not None} for pair in bucket.ranges
    ]
    return {"ranges": ends}


def _params(panel: Panel) -> Json:
    if panel.chart == "metric":
        return {"type": "metric", "addTooltip": True, "addLegend": False, "metric": _METRIC_STYLE}
    if panel.chart == "pie":
        labels = {"show": True, "values": True, "last_level": True, "truncate": 100}
        return {"type": "pie", "isDonut": True, "addLegend": True, "labels": labels}
    if panel.chart == "table":
        return {"perPage": 15, "showTotal": False, "totalFunc": "sum"}
    if panel.chart == "heatmap":
        return {"type": "heatmap", "addTooltip": True, "addLegend": True}
    params: Json = {"type": panel.chart, "seriesParams": [_series(panel, at) for at in range(len(panel.metrics))]}
    if panel.shares:
        params["valueAxes"] = [_SHARES_AXIS]
    return params


def _series(panel: Panel, at: int) -> Json:
    is_line = panel.chart == "line"
    return {
        "show": True,
        "type": "line" if is_line else "histogram",
        "mode": "normal" if is_line or not panel.stacked else "stacked",
        "data": {"id": str(at + 1), "label": panel.metrics[at].label},
        "valueAxis": _AXIS,
        "drawLinesBetweenPoints": True,
        "lineWidth": 2,
        "showCircles": True,
    }
