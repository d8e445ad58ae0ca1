"""The live overview: what came in, what was decided, what waits."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from console.library import Library
from features.times import format_rfc3339, parse_rfc3339

_MINUTE_MS: Final = 60_000
_HOUR_MS: Final = 60 * _MINUTE_MS
VERDICTS: Final = ("approve", "review", "block")
_LATEST: Final = 6


class Span(msgspec.Struct, frozen=True):
    """A stretch of time that can be looked at, and the width of its bars."""

    title: str
    reach_ms: int
    bar_ms: int


SPANS: Final = {
    "1h": Span("Last hour", _HOUR_MS, 2 * _MINUTE_MS),
    "6h": Span("Last 6 hours", 6 * _HOUR_MS, 10 * _MINUTE_MS),
    "24h": Span("Last 24 hours", 24 * _HOUR_MS, 30 * _MINUTE_MS),
    "7d": Span("Last 7 days", 7 * 24 * _HOUR_MS, 4 * _HOUR_MS),
    "30d": Span("Last 30 days", 30 * 24 * _HOUR_MS, 24 * _HOUR_MS),
}
DEFAULT_SPAN: Final = "24h"


class Bar(msgspec.Struct, frozen=True):
    """Counts of a stretch, by outcome."""

    start: int
    counts: dict[str, int]

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.counts.values())


class Overview(msgspec.Struct, frozen=True):
    """Everything that the page shows.

    Attributes:
        span: its key.
        first_ms, last_ms: the stretch of time.
        counts: transactions by outcome.
        traffic: over time; every bar of the stretch.
        scores: by score, in steps of 50; `start` is the step's first score.
        blocked: value blocked, by currency, major units.
        latest: sources of the newest blocked transactions.
        waiting: cases without an answer; `escalated` of them asked for a further look.
        at_risk: their expected loss by currency, major units.
        oldest: when the first of them came into the queue.
    """

    span: str
    first_ms: int
    last_ms: int
    counts: dict[str, int]
    traffic: list[Bar]
    scores: list[Bar]
    blocked: dict[str, float]
    latest: list[dict[str, Any]]
    waiting: int
    escalated: int
    at_risk: dict[str, float]
    oldest: str | None

    @property
    def total(self) -> int:
        """All transactions of the stretch."""
        return sum(self.counts.values())

    def rate(self, outcome: str) -> float:
        """Share of an outcome, 0 to 1."""
        return self.counts[outcome] / self.total if self.total else 0.0


async def overview(library: Library, key: str, now_ms: int) -> Overview:
    """Look at a stretch of time that ends now.

    Raises:
        ServerUnavailable: OpenSearch does not answer.
    """
    span = SPANS[key]
    first_ms = (now_ms - span.reach_ms) // span.bar_ms * span.bar_ms
    found, open_cases = await asyncio.gather(library.search(_traffic(span, first_ms, now_ms)), library.search(_OPEN))
    aggregations, queue = found.get("aggregations", {}), open_cases.get("aggregations", {})
    counted = _by_outcome(aggregations.get("outcomes", {}))
    return Overview(
        span=key,
        first_ms=first_ms,
        last_ms=now_ms,
        counts=counted,
        traffic=_bars(aggregations.get("traffic", {}), range(first_ms, now_ms, span.bar_ms)),
        scores=_bars(aggregations.get("scores", {}), range(0, 1000, 50)),
        blocked=_sums(aggregations.get("blocked", {}).get("currencies", {})),
        latest=[hit["_source"] for hit in aggregations.get("blocked", {}).get("latest", _NO_HITS)["hits"]["hits"]],
        waiting=int(open_cases["hits"]["total"]["value"]),
        escalated=int(queue.get("escalated", {}).get("doc_count", 0)),
        at_risk=_sums(queue.get("currencies", {})),
        oldest=_oldest(queue.get("oldest", {})),
    )


_NO_HITS: Final[dict[str, Any]] = {"hits": {"hits": []}}
_OUTCOMES: Final = {"terms": {"field": "fraud.outcome", "size": 5}}
_OPEN: Final[dict[str, Any]] = {
    "size": 0,
    "track_total_hits": True,
    "query": {"bool": {"filter": [{"terms": {"review.state": ["open", "escalated"]}}]}},
    "aggs": {
        "escalated": {"filter": {"term": {"review.state": "escalated"}}},
        "oldest": {"min": {"field": "review.opened_at"}},
        "currencies": {
            "terms": {"field": "currency", "size": 10},
            "aggs": {"sum": {"sum": {"field": "review.expected_loss"}}},
        },
    },
}


def _traffic(span: Span, first_ms: int, now_ms: int) -> dict[str, Any]:
    times = {"gte": format_rfc3339(first_ms), "lte": format_rfc3339(now_ms)}
    latest = {
        "size": _LATEST,
        "sort": [{"event_time": "desc"}],
        "_source": {"excludes": ["fraud.features"]},
    }
    return {
        "size": 0,
        "query": {"bool": {"filter": [{"range": {"event_time": times}}, {"term": {"type": "authorization"}}]}},
        "aggs": {
            "outcomes": _OUTCOMES,
            "traffic": {
                "date_histogram": {"field": "event_time", "fixed_interval": f"{span.bar_ms // _MINUTE_MS}m",
                                   "offset": f"{first_ms % span.bar_ms}ms", "min_doc_count": 1},
                "aggs": {"outcomes": _OUTCOMES},
            },
            "scores": {
                "histogram": {"field": "fraud.score", "interval": 50, "min_doc_count": 1},
                "aggs": {"outcomes": _OUTCOMES},
            },
            "blocked": {
                "filter": {"term": {"fraud.outcome": "block"}},
                "aggs": {
                    "currencies": {
                        "terms": {"field": "currency", "size": 10},
                        "aggs": {"sum": {"sum": {"field": "amount"}}},
                    },
                    "latest": {"top_hits": latest},
                },
            },
        },
    }  # fmt: skip


def _by_outcome(terms: Mapping[str, Any]) -> dict[str, int]:
    found = {str(bucket["key"]): int(bucket["doc_count"]) for bucket in terms.get("buckets", [])}
    return {verdict: found.get(verdict, 0) for verdict in VERDICTS}


def _bars(histogram: Mapping[str, Any], steps: range) -> list[Bar]:
    """Every bar, empty ones too; a score of 1000 belongs to the last."""
    found = {step: dict.fromkeys(VERDICTS, 0) for step in steps}
    for bucket in histogram.get("buckets", []):
        at = min(int(bucket["key"]), steps[-1])
        if at in found:
            for verdict, count in _by_outcome(bucket["outcomes"]).items():
                found[at][verdict] += count
    return [Bar(start, counts) for start, counts in found.items()]


def _sums(terms: Mapping[str, Any]) -> dict[str, float]:
    return {str(bucket["key"]): float(bucket["sum"]["value"]) for bucket in terms.get("buckets", [])}


def _oldest(smallest: Mapping[str, Any]) -> str | None:
    text = smallest.get("value_as_string")
    return text if isinstance(text, str) and parse_rfc3339(text) is not None else None
