"""The pages: queue, case, overview, audit trail."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Annotated, Any, Final, TypeVar

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from console import overview_charts
from console.case_charts import contributions, timeline
from console.cases import Case, CaseKey, case_of
from console.desk import new_id
from console.events import ReviewEvent
from console.filters import AGES_MS, OUTCOMES, SORTS, STATE_FILTERS, Filters, read_filters
from console.library import read_cursor
from console.overview import DEFAULT_SPAN, SPANS, overview
from console.room import Room, now_ms
from console.web.guard import Denied, Visitor, need, room_of, visitor
from console.web.render import page
from features.errors import ServerUnavailable

T = TypeVar("T")

router: Final = APIRouter(include_in_schema=False)

Known = Annotated[Visitor, Depends(visitor)]
_MOST_CHARS: Final = 512

DONE: Final = {
    "answered": "Saved. Thank you.",
    "kept": "Kept. Kafka does not answer now; the answer will be sent as soon as Kafka is back.",
    "undone": "The answer is taken back.",
    "claimed": "The case is yours.",
    "released": "The case is free again.",
}
"""What a page says after a form was sent, by a word in its address."""


@router.get("/")
async def start(found: Known) -> Response:
    """Where the day begins."""
    return RedirectResponse("/queue" if found.actor.may_answer else "/overview", 303)


@router.get("/queue")
async def queue(request: Request, found: Known) -> Response:
    """The cases that wait, the dearest first."""
    room, given = room_of(request), dict(request.query_params)
    filters = read_filters(given)
    if filters.hidden_card:
        # Its number must not stay in the address, in the history, or in a proxy's log.
        return RedirectResponse(f"/queue?{filters.query_string(card_hidden='1')}", 303)
    values = {
        "filters": filters,
        "card_hidden": given.get("card_hidden") == "1",
        "choices": {"states": STATE_FILTERS, "sorts": SORTS, "ages": tuple(AGES_MS), "outcomes": OUTCOMES},
        "now_ms": now_ms(),
        "away_text": "",
    }
    try:
        values |= await _queue_page(room, found, filters, given.get("at", ""))
    except ServerUnavailable as exc:
        values |= {"cases": await _held_cases(room, found), "total": None, "before": "", "after": "", "facets": {}}
        values["away_text"] = str(exc)
    return page(request, "queue.html", values, seen_by=found)


@router.get("/cards/{card_id:path}")
@router.get("/transactions/{transaction_id:path}")
async def look_up(request: Request, found: Known) -> Response:  # noqa: ARG001 - only for whoever is logged in
    """Where dashboards link to: everything of a card, or the transactions of an id."""
    (wanted,) = request.path_params.values()
    return RedirectResponse(f"/queue?{read_filters({'q': str(wanted)}).query_string()}", 303)


@router.get("/case")
async def case_page(request: Request, found: Known) -> Response:
    """One transaction and everything known around it."""
    said = DONE.get(request.query_params.get("done", ""), "")
    return await show_case(request, found, key_of(request.query_params.get), said=said)


@router.get("/overview")
async def overview_page(request: Request, found: Known) -> Response:
    """Traffic, outcomes, scores."""
    return page(request, "overview.html", await _overview(request), seen_by=found)


@router.get("/overview/parts")
async def overview_parts(request: Request, found: Known) -> Response:
    """What of the overview changes, for the page to put in place."""
    return page(request, "overview_parts.html", await _overview(request), seen_by=found)


@router.get("/audit")
async def audit_page(request: Request, found: Known) -> Response:
    """Who did what when: admins see everybody, others themselves."""
    need(found, "analyst")
    room = room_of(request)
    who = request.query_params.get("actor", "")[:_MOST_CHARS] if found.actor.is_admin else found.actor.name
    events, problem = await _or_problem(room.library.events(actor=who), [])
    return page(request, "audit.html", {"events": events, "who": who, "away_text": problem}, seen_by=found)


def key_of(get: Any) -> CaseKey:  # noqa: ANN401 - `get` of a form or an address
    """The case that a request names; raises Denied where it names none."""
    card, transaction = get("card"), get("transaction")
    if not isinstance(card, str) or not isinstance(transaction, str) or not card or not transaction:
        raise Denied(404, "Which case? The address names no card and transaction.")
    return CaseKey(card[:_MOST_CHARS], transaction[:_MOST_CHARS])


async def show_case(
    request: Request, found: Visitor, key: CaseKey, *, said: str = "", problem: str = "", note: str = "",
    status: int = 200,
) -> Response:  # fmt: skip
    """The page of a case."""
    room = room_of(request)
    case = await room.desk.case(key)
    if case is None:
        raise Denied(404, "There is no such transaction in OpenSearch. A new one takes some seconds to arrive.")
    (rows, away), (links, _), (decisions, _), (events, _) = await asyncio.gather(
        _or_problem(room.library.timeline(case), []),
        _or_problem(room.library.linked(case), []),
        _or_problem(room.library.decisions(case), []),
        _or_problem(room.library.events(case=key), []),
    )
    values = {
        "case": case,
        "reasons": case.fraud.get("reasons") or [],
        "bars": contributions(case.fraud.get("reasons") or []),
        "timeline": timeline(case, rows),
        "rows": rows,
        "links": links,
        "decisions": [case_of(fields) for fields in decisions],
        "events": _merged(events, await room.notes.trail(key)),
        "label_id": new_id(),
        "mine": case.holder == found.actor.name,
        "may_undo": case.answered and (found.actor.is_admin or _own(case, found)),
        "said": said,
        "problem": problem,
        "note": note,
        "away_text": away,
        "now_ms": now_ms(),
    }
    return page(request, "case.html", values, seen_by=found, status=status)


async def _queue_page(room: Room, found: Visitor, filters: Filters, at: str) -> dict[str, Any]:
    claimed = await room.notes.claimed_by(found.actor.name, now_ms()) if filters.mine else []
    got = await room.library.queue(filters, read_cursor(at), now_ms=now_ms(), name=found.actor.name, claimed=claimed)
    return {
        "cases": await _standing(room, got.rows),
        "total": got.total,
        "before": got.before,
        "after": got.after,
        "facets": got.facets,
    }


async def _held_cases(room: Room, found: Visitor) -> list[Case]:
    """The cases that somebody works on, from what was looked at lately: what there is while OpenSearch is away."""
    rows = await room.notes.remembered_by(await room.notes.claimed_by(found.actor.name, now_ms()))
    return await _standing(room, rows)


async def _standing(room: Room, rows: Sequence[dict[str, Any]]) -> list[Case]:
    cases = [case_of(fields) for fields in rows]
    standing = await room.notes.standing([case.key.id for case in cases])
    return [case_of(case.fields, at.said, at.holder) for case, at in zip(cases, standing, strict=True)]


async def _overview(request: Request) -> dict[str, Any]:
    room = room_of(request)
    asked = request.query_params.get("span", "")
    key = asked if asked in SPANS else DEFAULT_SPAN
    found, problem = await _or_problem(overview(room.library, key, now_ms()), None)
    pictures = {} if found is None else {
        "traffic": overview_charts.traffic(found),
        "rates": overview_charts.rates(found),
        "scores": overview_charts.scores(found),
    }  # fmt: skip
    return {"o": found, "span": key, "spans": SPANS, "pictures": pictures, "away_text": problem, "now_ms": now_ms()}


async def _or_problem(asking: Awaitable[T], otherwise: T) -> tuple[T, str]:
    """What was asked for; or, while OpenSearch is away, something else and what to say of it."""
    try:
        return await asking, ""
    except ServerUnavailable as exc:
        return otherwise, str(exc)


def _merged(indexed: Sequence[ReviewEvent], noted: Sequence[ReviewEvent]) -> list[ReviewEvent]:
    """The trail of a case from both places, the newest first."""
    by_id = {event.event_id: event for event in (*indexed, *noted)}
    return sorted(by_id.values(), key=lambda event: event.at, reverse=True)


def _own(case: Case, found: Visitor) -> bool:
    return case.said is not None and case.said.source == "analyst" and case.said.analyst == found.actor.name
