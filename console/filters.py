"""What an analyst asks the queue for, as it comes in an address, and as OpenSearch understands it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, get_args
from urllib.parse import urlencode

import msgspec

from features.pan import pan_digits
from features.times import format_rfc3339

StateFilter = Literal["open", "escalated", "unanswered", "closed", "any"]
Sort = Literal["loss", "newest", "oldest", "score", "amount"]
STATE_FILTERS: Final[tuple[StateFilter, ...]] = get_args(StateFilter)
SORTS: Final[tuple[Sort, ...]] = get_args(Sort)
OUTCOMES: Final = ("review", "block", "approve")
AGES_MS: Final = {"1h": 3_600_000, "4h": 14_400_000, "1d": 86_400_000, "3d": 259_200_000, "7d": 604_800_000}

_MOST_CHARS: Final = 256
_MOST_AMOUNT: Final = 1e15
_MOST_SCORE: Final = 1000

# What is sorted by, and which way; every sort ends with what makes it the same each time.
_ORDER: Final[dict[Sort, tuple[tuple[str, str, str], ...]]] = {
    "loss": (("review.expected_loss", "desc", "double"), ("event_time", "desc", "date")),
    "newest": (("event_time", "desc", "date"),),
    "oldest": (("review.opened_at", "asc", "date"),),
    "score": (("fraud.score", "desc", "short"), ("event_time", "desc", "date")),
    "amount": (("amount", "desc", "double"), ("event_time", "desc", "date")),
}
_TIES: Final = (("transaction_id", "asc", "keyword"), ("card_id", "asc", "keyword"))


class Filters(msgspec.Struct, frozen=True):
    """What is asked for; an empty text or None leaves a field out."""

    q: str = ""
    state: StateFilter = "unanswered"
    outcome: str = ""
    rule: str = ""
    country: str = ""
    mcc: str = ""
    min_amount: float | None = None
    max_amount: float | None = None
    min_score: int | None = None
    max_score: int | None = None
    age: str = ""
    mine: bool = False
    sort: Sort = "loss"
    hidden_card: bool = False

    def query_string(self, **more: str) -> str:
        """The same as the end of an address."""
        default = Filters()
        pairs = {
            name: ("1" if value is True else _shown(value))
            for name, value in msgspec.structs.asdict(self).items()
            if value != getattr(default, name) and name != "hidden_card"
        }
        return urlencode(pairs | more)

    @property
    def narrowed(self) -> bool:
        """Whether anything but the order is other than at first."""
        return self != Filters(sort=self.sort)


def read_filters(given: Mapping[str, str]) -> Filters:
    """Filters from the parameters of an address; what makes no sense is left out.

    A card number is never looked for: its last four digits are, and `hidden_card` says so.
    """
    q = given.get("q", "").strip()[:_MOST_CHARS]
    digits = pan_digits(q)
    if digits is not None:
        q = digits[-4:]
    state, sort = given.get("state", ""), given.get("sort", "")
    # Whoever looks for something looks everywhere.
    default: StateFilter = "any" if q else "unanswered"
    return Filters(
        q=q,
        state=next((one for one in STATE_FILTERS if one == state), default),
        outcome=next((one for one in OUTCOMES if one == given.get("outcome")), ""),
        rule=given.get("rule", "")[:_MOST_CHARS],
        country=given.get("country", "")[:_MOST_CHARS],
        mcc=given.get("mcc", "")[:_MOST_CHARS],
        min_amount=_number(given.get("min_amount"), _MOST_AMOUNT),
        max_amount=_number(given.get("max_amount"), _MOST_AMOUNT),
        min_score=_whole(given.get("min_score")),
        max_score=_whole(given.get("max_score")),
        age=next((one for one in AGES_MS if one == given.get("age")), ""),
        mine=given.get("mine") == "1",
        sort=next((one for one in SORTS if one == sort), "loss"),
        hidden_card=digits is not None,
    )


def query_of(filters: Filters, *, now_ms: int, name: str, claimed: Sequence[str]) -> dict[str, Any]:
    """The query of OpenSearch.

    Args:
        filters: what is asked for.
        now_ms: the clock.
        name: who asks, for `mine`.
        claimed: ids of the cases that they work on.
    """
    wanted: list[dict[str, Any]] = [*_states(filters), *_terms(filters), *_ranges(filters, now_ms)]
    if filters.q:
        wanted.append(_found(filters.q))
    if filters.mine:
        mine = [{"ids": {"values": list(claimed)}}, {"term": {"label.analyst": name}}]
        wanted.append({"bool": {"should": mine, "minimum_should_match": 1}})
    return {"bool": {"filter": wanted or [{"match_all": {}}]}}


def order_of(sort: Sort, *, backwards: bool) -> list[dict[str, Any]]:
    """The order of the hits, or the opposite of it."""
    turned = {"asc": "desc", "desc": "asc"}
    return [
        {
            field: {
                "order": turned[way] if backwards else way,
                # What has no value comes last, whichever way the list is read.
                "missing": "_first" if backwards else "_last",
                "unmapped_type": kind,
            }
        }
        for field, way, kind in (*_ORDER[sort], *_TIES)
    ]


def _states(filters: Filters) -> list[dict[str, Any]]:
    if filters.state == "any" or filters.mine:
        return []
    states = ["open", "escalated"] if filters.state == "unanswered" else [filters.state]
    return [{"terms": {"review.state": states}}]


def _terms(filters: Filters) -> list[dict[str, Any]]:
    fields = {
        "fraud.outcome": filters.outcome,
        "fraud.rule": filters.rule,
        "country": filters.country,
        "merchant_category": filters.mcc,
    }
    return [{"term": {field: value}} for field, value in fields.items() if value]


def _ranges(filters: Filters, now_ms: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    bounds: dict[str, tuple[float | None, float | None]] = {
        "amount": (filters.min_amount, filters.max_amount),
        "fraud.score": (filters.min_score, filters.max_score),
    }
    for field, (low, high) in bounds.items():
        if low is not None or high is not None:
            limits = {"gte": low, "lte": high}
            found.append({"range": {field: {name: value for name, value in limits.items() if value is not None}}})
    if filters.age:
        before = format_rfc3339(max(now_ms - AGES_MS[filters.age], 0))
        found.append({"range": {"review.opened_at": {"lte": before}}})
    return found


def _found(q: str) -> dict[str, Any]:
    """A card (its id or last four digits), a merchant or a transaction: exactly, or by how it begins."""
    exact = [{"term": {field: q}} for field in ("card_id", "card_last4", "merchant_id", "transaction_id")]
    if len(q) >= 3:
        exact += [{"prefix": {field: q}} for field in ("card_id", "merchant_id", "transaction_id")]
    return {"bool": {"should": exact, "minimum_should_match": 1}}


def _number(text: str | None, most: float) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and 0 <= value <= most else None


def _whole(text: str | None) -> int | None:
    value = _number(text, _MOST_SCORE)
    return None if value is None else int(value)


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) and value < 1e6 else str(value)
