"""The saved objects of OpenSearch Dashboards 3.x, made of the description: one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

from dashboards.content import DASHBOARDS, patterns
from dashboards.parts import COLUMNS, Controls, Dashboard, IndexPattern, Panel, Part, Search, Text
from dashboards.vis import control_reference, controls_state, panel_state, text_state

Json = dict[str, Any]

# The last migration of each type: a higher one is refused, and without one all migrations since 6.x would run.
_VERSIONS: Final = {"index-pattern": "7.6.0", "visualization": "7.10.0", "search": "7.9.3", "dashboard": "7.9.3"}
_PANEL_VERSION: Final = "7.10.0"
_SOURCE_REFERENCE: Final = "kibanaSavedObjectMeta.searchSourceJSON.index"
_COLORS: Final = {"approve": "#54B399", "review": "#D6BF57", "block": "#E7664C"}


def saved_objects(index_prefix: str = "", console_url: str = "") -> list[Json]:
    """Everything that is imported.

    Args:
        index_prefix: put before the names of indices, and of the objects: prefixes do not get into each other's way.
        console_url: to which cards link; empty: no links.
    """
    maker = _Maker(index_prefix)
    objects = [maker.index_pattern(pattern) for pattern in patterns(console_url)]
    # A part that stands on two dashboards is one object.
    parts = {part.id: part for dashboard in DASHBOARDS for part in dashboard.parts()}
    objects += [maker.part(part) for part in parts.values()]
    return objects + [maker.dashboard(dashboard) for dashboard in DASHBOARDS]


def ndjson(objects: Iterable[Json]) -> bytes:
    """The file that is imported."""
    return b"".join(_text(one).encode() + b"\n" for one in objects)


class _Maker:
    """Makes objects of one index prefix."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def _id(self, name: str) -> str:
        return f"{self._prefix}fraud-{name}"

    def _title(self, title: str) -> str:
        return f"{title} ({self._prefix})" if self._prefix else title

    def _object(self, kind: str, name: str, attributes: Json, references: Sequence[Json] = ()) -> Json:
        return {
            "type": kind,
            "id": self._id(name),
            "attributes": attributes,
            "references": list(references),
            "migrationVersion": {kind: _VERSIONS[kind]},
        }

    def _to_pattern(self, name: str, pattern: str) -> Json:
        return {"name": name, "type": "index-pattern", "id": self._id(f"{pattern}-pattern")}

    def index_pattern(self, pattern: IndexPattern) -> Json:
        attributes = {"title": f"{self._prefix}{pattern.alias}", "timeFieldName": pattern.time_field}
        if pattern.formats:
            attributes["fieldFormatMap"] = _text(pattern.formats)
        return self._object("index-pattern", f"{pattern.name}-pattern", attributes)

    def part(self, part: Part) -> Json:
        if isinstance(part, Search):
            return self._search(part)
        if isinstance(part, Panel):
            references = [self._to_pattern(_SOURCE_REFERENCE, part.pattern)]
            return self._visualization(part, panel_state(part), _source(part.query), references)
        if isinstance(part, Controls):
            references = [self._to_pattern(control_reference(at), "outcomes") for at in range(len(part.controls))]
            return self._visualization(part, controls_state(part), _no_source(), references)
        return self._visualization(part, text_state(part), _no_source(), [])

    def _visualization(self, part: Panel | Controls | Text, state: Json, source: Json, references: list[Json]) -> Json:
        by_outcome = isinstance(part, Panel) and any(bucket.field.endswith("outcome") for bucket in part.buckets)
        title = self._title(part.title)
        attributes = {
            "title": title,
            "description": "",
            "version": 1,
            "visState": _text({**state, "title": title}),
            "uiStateJSON": _text({"vis": {"colors": _COLORS}} if by_outcome else {}),
            "kibanaSavedObjectMeta": source,
        }
        return self._object("visualization", part.id, attributes, references)

    def _search(self, search: Search) -> Json:
        attributes = {
            "title": self._title(search.title),
            "description": "",
            "hits": 0,
            "columns": list(search.columns),
            "sort": [[search.sort, "desc"]],
            "version": 1,
            "kibanaSavedObjectMeta": _source(search.query),
        }
        return self._object("search", search.id, attributes, [self._to_pattern(_SOURCE_REFERENCE, search.pattern)])

    def dashboard(self, dashboard: Dashboard) -> Json:
        panels: list[Json] = []
        references: list[Json] = []
        top = 0
        for row in dashboard.rows:
            left = 0
            for part in row.parts:
                number = len(panels)
                grid = {"x": left, "y": top, "w": part.width, "h": row.height, "i": str(number + 1)}
                panels.append(
                    {
                        "panelRefName": f"panel_{number}",
                        "panelIndex": str(number + 1),
                        "gridData": grid,
                        "version": _PANEL_VERSION,
                        "embeddableConfig": {},
                    }
                )
                kind = "search" if isinstance(part, Search) else "visualization"
                references.append({"name": f"panel_{number}", "type": kind, "id": self._id(part.id)})
                left += part.width
            assert left <= COLUMNS, f"a row of {dashboard.id} is wider than the grid"
            top += row.height
        attributes = {
            "title": self._title(dashboard.title),
            "description": dashboard.description,
            "hits": 0,
            "version": 1,
            "panelsJSON": _text(panels),
            "optionsJSON": _text({"useMargins": True, "hidePanelTitles": False}),
            "timeRestore": True,
            "timeFrom": dashboard.since,
            "timeTo": "now",
            "refreshInterval": {"pause": False, "value": 30_000},
            "kibanaSavedObjectMeta": _no_source(),
        }
        return self._object("dashboard", dashboard.id, attributes, references)


def _source(query: str) -> Json:
    """What a part asks for: a query over an index pattern, which is a reference."""
    asked = {"query": {"query": query, "language": "lucene"}, "filter": [], "indexRefName": _SOURCE_REFERENCE}
    return {"searchSourceJSON": _text(asked)}


def _no_source() -> Json:
    return {"searchSourceJSON": _text({"query": {"query": "", "language": "lucene"}, "filter": []})}


def _text(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
