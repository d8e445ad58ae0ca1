"""What the console reads in OpenSearch: the queue, a case, its card, what is linked to it."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar

import msgspec
from opensearchpy import OpenSearch

from console.audit_index import audit_index
from console.cases import Case, CaseKey
from console.events import ReviewEvent
from console.filters import Filters, order_of, query_of
from console.linked import Link, link_searches, links_of
from features.errors import FraudstreamError, ServerUnavailable
from features.outage import Outage
from features.times import format_rfc3339
from features.windows import WEEK_MS
from sinks.documents import INDEX_ALIAS
from sinks.opensearch import mapped_errors

T = TypeVar("T")

PAGE: Final = 50
_MOST_POINTS: Final = 500
_MOST_DECISIONS: Final = 20
_MOST_EVENTS: Final = 100
_FACET: Final = 40
_AFTER_MS: Final = 24 * 3600 * 1000
# An index that is not there yet has no hits, which is true.
_LENIENT: Final = {"ignore_unavailable": "true", "allow_no_indices": "true"}
_NO_FEATURES: Final = {"excludes": ["fraud.features"]}


class Page(msgspec.Struct, frozen=True):
    """A page of the queue.

    Attributes:
        rows: sources of the documents, in order.
        total: how many there are in all.
        before, after: cursors of the pages beside it; empty where there is none.
        facets: values to filter by, with how many cases each has: name -> [(value, count)].
    """

    rows: list[dict[str, Any]]
    total: int
    before: str
    after: str
    facets: dict[str, list[tuple[str, int]]]


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """A place in a sorted list, and which way to read from it."""

    values: list[str | int | float | None]
    backwards: bool = False


class Library:
    """Searches; every call raises ServerUnavailable where OpenSearch does not answer.

    Args:
        client: where to search.
        index_prefix: put before the names.
        outage: of OpenSearch, told of every call.
    """

    def __init__(self, client: OpenSearch, index_prefix: str, outage: Outage) -> None:
        self._client, self._outage = client, outage
        self._index, self._audit = f"{index_prefix}{INDEX_ALIAS}", audit_index(index_prefix)

    async def queue(
        self, filters: Filters, cursor: Cursor | None, *, now_ms: int, name: str, claimed: Sequence[str]
    ) -> Page:
        """A page of cases."""
        backwards = cursor is not None and cursor.backwards
        body: dict[str, Any] = {
            "size": PAGE + 1,
            "query": query_of(filters, now_ms=now_ms, name=name, claimed=claimed),
            "sort": order_of(filters.sort, backwards=backwards),
            "track_total_hits": True,
            "_source": _NO_FEATURES,
            "aggs": {
                "rule": {"terms": {"field": "fraud.rule", "size": _FACET}},
                "country": {"terms": {"field": "country", "size": _FACET}},
                "mcc": {"terms": {"field": "merchant_category", "size": _FACET}},
            },
        }
        if cursor is not None:
            body["search_after"] = cursor.values
        found = await self.search(body)
        return _page(found, cursor, backwards=backwards)

    async def outcome(self, key: CaseKey) -> dict[str, Any] | None:
        """A document's source; None where there is none."""
        hits = (await self.search({"size": 1, "query": {"ids": {"values": [key.id]}}}))["hits"]["hits"]
        return hits[0]["_source"] if hits else None

    async def timeline(self, case: Case) -> list[dict[str, Any]]:
        """The card's transactions of the week before, and of the day after; in order of time."""
        if case.event_ms is None:
            return []
        first, last = (format_rfc3339(max(case.event_ms + ms, 0)) for ms in (-WEEK_MS, _AFTER_MS))
        wanted = [{"term": {"card_id": case.key.card_id}}, {"range": {"event_time": {"gte": first, "lte": last}}}]
        body = {
            "size": _MOST_POINTS,
            "query": {"bool": {"filter": wanted}},
            "sort": [{"event_time": "desc"}],
            "_source": [
                "transaction_id", "card_id", "amount", "amount_minor", "currency", "event_time", "merchant_id", "type",
                "fraud.outcome", "fraud.score", "label",
            ],
        }  # fmt: skip
        return [hit["_source"] for hit in reversed((await self.search(body))["hits"]["hits"])]

    async def decisions(self, case: Case) -> list[dict[str, Any]]:
        """What was said of the card's other transactions, the newest first."""
        body = {
            "size": _MOST_DECISIONS,
            "query": {
                "bool": {
                    "filter": [{"term": {"card_id": case.key.card_id}}, {"exists": {"field": "label.at"}}],
                    "must_not": [{"ids": {"values": [case.key.id]}}],
                }
            },
            "sort": [{"label.at": {"order": "desc", "unmapped_type": "date"}}],
            "_source": _NO_FEATURES,
        }
        return [hit["_source"] for hit in (await self.search(body))["hits"]["hits"]]

    async def linked(self, case: Case) -> list[Link]:
        """Other transactions with the same device, address, mail or merchant."""
        searches = link_searches(case)
        if not searches:
            return []
        lines = [line for body in searches.values() for line in ({"index": self._index, **_BOOLEANS}, body)]
        answer = await self._ask(partial(self._client.msearch, body=lines))
        return links_of(case, dict(zip(searches, answer["responses"], strict=True)))

    async def events(self, *, case: CaseKey | None = None, actor: str = "") -> list[ReviewEvent]:
        """The audit trail, the newest first: of a case, of somebody, or of all."""
        wanted: list[dict[str, Any]] = []
        if case is not None:
            wanted.append({"term": {"case": case.id}})
        if actor:
            wanted.append({"term": {"actor": actor}})
        body = {
            "size": _MOST_EVENTS,
            "query": {"bool": {"filter": wanted}} if wanted else {"match_all": {}},
            "sort": [{"at": {"order": "desc", "unmapped_type": "date"}}],
        }
        found = await self.search(body, index=self._audit)
        return [msgspec.convert(hit["_source"], ReviewEvent) for hit in found["hits"]["hits"]]

    async def check(self) -> None:
        """Look at it once, at the start; raises ConfigError where it refuses us."""

        def asked() -> None:
            with mapped_errors():
                self._client.search(index=self._index, body={"size": 0}, params=dict(_LENIENT))

        await asyncio.to_thread(asked)

    async def look(self) -> None:
        """Ask for nothing, to see whether it answers."""
        await self.search({"size": 0, "terminate_after": 1})

    async def search(self, body: Mapping[str, Any], index: str = "") -> dict[str, Any]:
        """The answer to a search."""
        return await self._ask(
            partial(self._client.search, index=index or self._index, body=body, params=dict(_LENIENT))
        )

    async def _ask(self, call: Callable[[], T]) -> T:
        def asked() -> T:
            with mapped_errors():
                return call()

        try:
            answer = await asyncio.to_thread(asked)
        except ServerUnavailable as exc:
            self._outage.failed(str(exc))
            raise
        except FraudstreamError as exc:
            # A right that is missing, a mapping that differs: to whoever looks at a page it is not there either.
            self._outage.failed(str(exc))
            raise ServerUnavailable(str(exc)) from exc
        self._outage.answered()
        return answer


_BOOLEANS: Final = {"ignore_unavailable": True, "allow_no_indices": True}


def read_cursor(text: str) -> Cursor | None:
    """A cursor from an address; None where it is none."""
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(text.encode()), type=Cursor) if text else None
    except (msgspec.DecodeError, UnicodeDecodeError, UnicodeEncodeError, binascii.Error):
        return None


def _cursor(hit: Mapping[str, Any], *, backwards: bool) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(Cursor(list(hit["sort"]), backwards))).decode()


def _page(found: Mapping[str, Any], cursor: Cursor | None, *, backwards: bool) -> Page:
    hits = found["hits"]["hits"]
    more = len(hits) > PAGE
    hits = hits[:PAGE]
    if backwards:
        hits.reverse()
    earlier, later = (more, True) if backwards else (cursor is not None, more)
    facets = {
        name: [(str(bucket["key"]), int(bucket["doc_count"])) for bucket in one["buckets"]]
        for name, one in found.get("aggregations", {}).items()
    }
    return Page(
        rows=[hit["_source"] for hit in hits],
        total=int(found["hits"]["total"]["value"]),
        before=_cursor(hits[0], backwards=True) if hits and earlier else "",
        after=_cursor(hits[-1], backwards=False) if hits and later else "",
        facets=facets,
    )
