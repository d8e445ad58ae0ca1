"""Every document of our indices in OpenSearch: id, routing and source."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from opensearchpy import OpenSearch
from opensearchpy.helpers import scan

from sinks.documents import INDEX_ALIAS
from sinks.opensearch import mapped_errors
from sinks.side_indices import SIDE_KINDS
from sinks.topics import AUDIT
from streams.pan_scan.finder import Finder
from streams.pan_scan.report import Report

Show = Callable[[int, int | None], None]

# A page in memory: documents are a few kilobytes, and never over the 256 KiB of a record.
_PAGE: Final = 200
_SHOW_EVERY: Final = 1000


def scan_opensearch(client: OpenSearch, index_prefix: str, finder: Finder, report: Report, show: Show) -> None:
    """Look at all documents, page by page.

    Raises:
        ServerUnavailable: OpenSearch does not answer.
        ConfigError: it refuses the user.
    """
    aliases = (INDEX_ALIAS, AUDIT, *(kind.alias for kind in SIDE_KINDS))
    pattern = ",".join(f"{index_prefix}{alias}*" for alias in aliases)
    with mapped_errors():
        total = int(client.count(index=pattern, params={"ignore_unavailable": "true"})["count"])
        for done, document in enumerate(scan(client, index=pattern, size=_PAGE, ignore_unavailable=True), 1):
            where = f"{document['_index']}/{document['_id']}"
            report.add("opensearch", where, "id", finder.in_bytes(document["_id"].encode()))
            report.add("opensearch", where, "routing", finder.in_json(document.get("_routing", "")))
            report.add("opensearch", where, "document", set(finder.in_json(document.get("_source") or {})))
            report.count("opensearch documents")
            if done % _SHOW_EVERY == 0:
                show(done, total)
