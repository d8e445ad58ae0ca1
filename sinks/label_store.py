"""Labels into OpenSearch, and onto the documents of their transactions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, TypeVar

import msgspec
from opensearchpy import OpenSearch

from features.outage import Outage
from features.times import parse_rfc3339
from scoring.label import Label, standing
from sinks.bulk import BulkWriter, Refusal, back_off
from sinks.daily import daily_name
from sinks.documents import INDEX_ALIAS, OLDER_SUFFIX, Document, index_name
from sinks.labels import (
    Fields,
    given_document,
    joined,
    label_fields,
    put_document,
    standing_document,
    transaction_id_of,
)
from sinks.opensearch import mapped_errors
from sinks.side_indices import LABELS_ALIAS, standing_index

_PAGE: Final = 500
_NEEDED: Final = ("event_time", "amount", "amount_minor", "currency", "fraud")
_NOT_NEEDED: Final = ("fraud.features", "fraud.reasons")
_NEWEST_FIRST: Final = [{"labelled_at": "desc"}, {"document": "asc"}]

T = TypeVar("T")


class Place(msgspec.Struct, frozen=True):
    """Where a transaction's document is, and what of it a label copies."""

    index: str
    fields: Fields


class LabelStore:
    """Keeps labels, and puts those that stand onto their transactions.

    Delivery: at least once, with effects that repeat. Each side first writes its own and then looks for the other's: a
    label looks for its transaction's document, a document that replaced an older one looks for its label. A label whose
    transaction is not there waits in its index (`known: 0`), and `settle` tries it again.

    Args:
        client: where to look.
        writer: where to write.
        index_prefix: put before every index name.
        outage: told of every attempt.
    """

    def __init__(self, client: OpenSearch, writer: BulkWriter, index_prefix: str, outage: Outage) -> None:
        self._client, self._writer, self._outage = client, writer, outage
        self._prefix = index_prefix
        self._after: list[Any] | None = None

    async def write(self, labels: Sequence[Label], now_ms: int) -> list[Refusal]:
        """Store labels, some of which may have come before; returns what OpenSearch refuses, by position.

        Raises:
            ConfigError: the credentials are refused.
            IndexingError: OpenSearch refuses requests as such.
        """
        refused: list[Refusal] = []
        for start in range(0, len(labels), _PAGE):
            page = labels[start : start + _PAGE]
            refused += [Refusal(start + item.position, item.reason) for item in await self._write(page, now_ms)]
        return refused

    async def _write(self, labels: Sequence[Label], now_ms: int) -> list[Refusal]:
        places = await self._ask(lambda: self._places((transaction_id_of(label), label.event_ms) for label in labels))
        fields = [label_fields(label, _fields(places.get(transaction_id_of(label))), now_ms) for label in labels]
        given = [given_document(label, one, self._prefix) for label, one in zip(labels, fields, strict=True)]
        refused = await self._writer.write(given)
        lost = {item.position for item in refused}
        kept = [at for at in range(len(labels)) if at not in lost]
        stands = set(standing(labels[at] for at in kept).values())
        newest = [fields[at] for at in kept if labels[at] in stands]
        await self._writer.write([standing_document(one, self._prefix) for one in newest])
        await self._put(newest, places)
        return refused

    async def settle(self, now_ms: int) -> int:
        """Try labels again whose transactions were not there; returns how many wait still.

        Of many that wait, the newest are tried each time, and the others page by page.
        """
        waiting, newest = await self._ask(lambda: self._waiting(None))
        older: list[Fields] = []
        if self._after is not None:
            _, older = await self._ask(lambda: self._waiting(self._after))
        page = older or newest
        self._after = [parse_rfc3339(page[-1]["labelled_at"]), page[-1]["document"]] if len(page) == _PAGE else None
        tried = {fields["document"]: fields for fields in (*older, *newest)}
        places = await self._ask(
            lambda: self._places((name, parse_rfc3339(one.get("event_time", ""))) for name, one in tried.items())
        )
        found = [joined(tried[name], place.fields, now_ms) for name, place in places.items()]
        await self._writer.write([standing_document(fields, self._prefix) for fields in found])
        await self._put(found, places)
        return waiting - len(found)

    async def restore(self, documents: Sequence[Document]) -> int:
        """Put labels back onto documents that were written again; returns how many had one."""
        count = 0
        for start in range(0, len(documents), _PAGE):
            page = {document.id: document for document in documents[start : start + _PAGE]}
            stands = await self._ask(lambda: self.standing_of(page))  # noqa: B023 - asked at once
            updates = [put_document(page[name].index, fields) for name, fields in stands.items()]
            await self._writer.write(updates)
            count += len(updates)
        return count

    async def _put(self, standing_fields: Iterable[Fields], places: dict[str, Place]) -> None:
        """Put labels onto the documents; one that has gone meanwhile (retention) is refused, and that is fine."""
        found = [(places[fields["document"]], fields) for fields in standing_fields if fields["document"] in places]
        await self._writer.write([put_document(place.index, fields) for place, fields in found])

    async def _ask(self, question: Callable[[], T]) -> T:
        """Ask OpenSearch, for as long as it takes."""
        async for attempt in back_off(self._outage):
            with attempt:
                answer = await asyncio.to_thread(question)
        self._outage.answered()
        return answer

    def standing_of(self, ids: Iterable[str]) -> dict[str, Fields]:
        """The labels that stand for transactions, by `_id` of the transaction's document."""
        wanted = list(ids)
        if not wanted:
            return {}
        with mapped_errors():
            answer = self._client.mget(index=standing_index(self._prefix), body={"ids": wanted})
        return {one["_id"]: one["_source"] for one in answer["docs"] if one.get("found")}

    def _waiting(self, after: list[Any] | None) -> tuple[int, list[Fields]]:
        """A page of labels that wait for their transactions, the newest first, and how many wait in all."""
        body: dict[str, Any] = {
            "size": _PAGE,
            "query": {"term": {"known": 0}},
            "sort": _NEWEST_FIRST,
            "track_total_hits": True,
        }
        if after is not None:
            body["search_after"] = after
        with mapped_errors():
            hits = self._client.search(index=f"{self._prefix}{LABELS_ALIAS}", body=body, params=_LENIENT)["hits"]
        return int(hits["total"]["value"]), [hit["_source"] for hit in hits["hits"]]

    def _places(self, wanted: Iterable[tuple[str, int | None]]) -> dict[str, Place]:
        """Where transactions' documents are: (`_id`, effective time) -> by `_id`."""
        asked = dict(wanted)
        found: dict[str, Place] = {}
        with mapped_errors():
            if timed := list(self._by_time(asked)):
                params = {"_source_includes": ",".join(_NEEDED), "_source_excludes": ",".join(_NOT_NEEDED)}
                for one in self._client.mget(body={"docs": timed}, params=params)["docs"]:
                    if one.get("found"):
                        found[one["_id"]] = Place(daily_name(one["_index"]), one["_source"])
            if rest := [name for name in asked if name not in found]:
                body = {
                    "size": len(rest),
                    "query": {"ids": {"values": rest}},
                    "_source": {"includes": _NEEDED, "excludes": _NOT_NEEDED},
                }
                answer = self._client.search(index=f"{self._prefix}{INDEX_ALIAS}", body=body, params=_LENIENT)
                found |= {
                    one["_id"]: Place(daily_name(one["_index"]), one["_source"]) for one in answer["hits"]["hits"]
                }
        return found

    def _by_time(self, asked: dict[str, int | None]) -> Iterator[dict[str, str]]:
        """The places where a document must be, if its effective time is known: seen at once, without a refresh."""
        for name, event_ms in asked.items():
            if event_ms is not None:
                yield {"_index": index_name(event_ms, event_ms, self._prefix), "_id": name}
                yield {"_index": f"{self._prefix}{INDEX_ALIAS}-{OLDER_SUFFIX}", "_id": name}


_LENIENT: Final = {"ignore_unavailable": "true", "allow_no_indices": "true"}


def _fields(place: Place | None) -> Fields | None:
    return None if place is None else place.fields
