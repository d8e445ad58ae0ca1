"""Documents per second of the `index` role, beside a bare bulk loop with the same documents."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

import msgspec
from opensearchpy import OpenSearch, helpers

from bench.cards import Cards, span_ms
from bench.lab import BenchError, Lab
from bench.throughput import prepare
from faults.readback import read_topic
from sinks.documents import INDEX_ALIAS, outcome_document
from sinks.index_template import setup_index
from sinks.opensearch import connect
from sinks.topics import PROCESSED

_CHUNK: Final = 1_000
_MOST_S: Final = 120.0
_SOURCE: Final = "i-"
_KINDS: Final = ("role", "loop")


class Indexing(msgspec.Struct, frozen=True):
    """One writer over all documents.

    Attributes:
        per_s: documents per second.
        cpu_us: CPU microseconds of the writer per document.
        search_cpu_us: of OpenSearch.
    """

    per_s: float
    cpu_us: float
    search_cpu_us: float


class Round(msgspec.Struct, frozen=True):
    """Both, one after the other.

    Attributes:
        role: the `index` role, from the topic.
        loop: `opensearchpy.helpers.bulk` over documents that are in memory.
    """

    role: Indexing
    loop: Indexing


class IndexBench:
    """Outcomes in a topic, and an OpenSearch that is warm.

    Args:
        lab: where everything runs.
        url: of OpenSearch.
        cards_count: cards of the outcomes.
        count: outcomes.
    """

    def __init__(self, lab: Lab, url: str, cards_count: int, count: int) -> None:
        self._lab, self._url, self._count = lab, url, count
        self._client: OpenSearch = connect(url)
        self._actions = self._outcomes(cards_count)
        self._loop("warm-")

    def measure(self, number: int) -> Round:
        """One round, another first in each."""
        order = _KINDS if number % 2 else _KINDS[::-1]
        writers: dict[str, Callable[[str], Indexing]] = {"role": self._role, "loop": self._loop}
        return Round(**{kind: writers[kind](f"{kind}{number}-") for kind in order})

    def _outcomes(self, cards_count: int) -> list[dict[str, Any]]:
        """Real outcomes into the topic, and as actions of a bulk request without an index."""
        lab = self._lab
        cards = Cards(cards_count, 1, int(time.time() * 1000) - span_ms(cards_count, self._count))
        prepare(lab, _SOURCE, cards, cards.histories(), self._count)
        score = lab.score(_SOURCE)
        score.wait(lambda: lab.written(score.sink) >= self._count, "the last outcome", _MOST_S)
        score.stop()
        actions = []
        for stored in read_topic(lab.kafka, f"{_SOURCE}{PROCESSED}"):
            document = outcome_document(stored.value, index_prefix="", indexed_at_ms=int(time.time() * 1000))
            source = msgspec.json.decode(document.body)
            actions.append({"_index": document.index, "_id": document.id, "_source": source})
        return actions

    def _loop(self, prefix: str) -> Indexing:
        setup_index(self._client, prefix)
        actions = ({**action, "_index": f"{prefix}{action['_index']}"} for action in self._actions)
        before, began_s = (time.process_time(), self._lab.search_cpu_s()), time.monotonic()
        stored, _ = helpers.bulk(self._client, actions, chunk_size=_CHUNK)
        seconds, after = time.monotonic() - began_s, (time.process_time(), self._lab.search_cpu_s())
        return self._indexing(prefix, stored, stored, seconds, before, after)

    def _role(self, prefix: str) -> Indexing:
        running = self._lab.index(_SOURCE, self._url, prefix)
        seen = 0

        def reached(enough: int) -> bool:
            nonlocal seen
            seen = self._stored(prefix)
            return seen >= enough

        running.wait_ready()
        running.wait(lambda: reached(1), "the first document")
        first, before, began_s = seen, (running.cpu_s(), self._lab.search_cpu_s()), time.monotonic()
        running.wait(lambda: reached(self._count), "the last document", _MOST_S)
        seconds, after = time.monotonic() - began_s, (running.cpu_s(), self._lab.search_cpu_s())
        running.stop()
        return self._indexing(prefix, self._count, self._count - first, seconds, before, after)

    def _indexing(
        self, prefix: str, stored: int, timed: int, seconds: float, before: tuple[float, float],
        after: tuple[float, float],
    ) -> Indexing:  # fmt: skip
        """The figures; raises BenchError unless every document is there."""
        self._client.indices.refresh(index=f"{prefix}{INDEX_ALIAS}-*")
        there = self._client.count(index=f"{prefix}{INDEX_ALIAS}-*")["count"]
        self._client.indices.delete(index=f"{prefix}*")
        if not stored == there == self._count:
            raise BenchError(f"{there} of {self._count} documents are in OpenSearch")
        own_us, search_us = ((b - a) * 1e6 / timed for a, b in zip(before, after, strict=True))
        return Indexing(timed / seconds, own_us, search_us)

    def _stored(self, prefix: str) -> int:
        """Documents written so far, by OpenSearch's own count: asking the role would slow it down."""
        stats = self._client.indices.stats(
            index=f"{prefix}{INDEX_ALIAS}-*",
            metric="indexing",
            params={"filter_path": "_all.primaries.indexing.index_total"},
        )
        return int(stats.get("_all", {}).get("primaries", {}).get("indexing", {}).get("index_total", 0))
