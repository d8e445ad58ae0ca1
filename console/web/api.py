"""The JSON API: the same actions as the pages, described by OpenAPI."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from console.cases import Case, CaseKey, case_of
from console.desk import new_id
from console.filters import Sort, StateFilter, read_filters
from console.library import read_cursor
from console.overview import DEFAULT_SPAN, SPANS, overview
from console.room import now_ms
from console.users import Role
from console.web.actions import status_of
from console.web.guard import Denied, Visitor, need, room_of, visitor
from scoring.label import MAX_NOTE, Answer

router: Final = APIRouter(prefix="/api")

Known = Annotated[Visitor, Depends(visitor)]
_Id = Annotated[str, Field(min_length=1, max_length=512)]


class Me(BaseModel):
    """Who asks."""

    name: str
    role: Role
    csrf: str = Field(description="for the header X-CSRF-Token of a session's requests; empty with an API token")


class SaidOut(BaseModel):
    """The answer that stands."""

    label: Answer
    at: str
    source: str
    analyst: str
    note: str
    saved: bool = Field(description="Kafka has confirmed it")
    indexed: bool = Field(description="OpenSearch has it")


class CaseOut(BaseModel):
    """One case."""

    card_id: str
    transaction_id: str
    state: str = Field(description="open, escalated, closed, or none where nobody was asked")
    expected_loss: float | None
    holder: str = Field(description="who works on it; empty: nobody")
    said: SaidOut | None
    outcome: dict[str, Any] = Field(description="the outcome as published")


class QueueOut(BaseModel):
    """A page of the queue."""

    total: int
    cases: list[CaseOut]
    next: str = Field(description="give it as `at` for the next page; empty: there is none")


class Named(BaseModel):
    """Which case."""

    model_config = ConfigDict(extra="forbid")

    card_id: _Id
    transaction_id: _Id


class ClaimIn(Named):
    """A claim."""

    take_over: bool = Field(default=False, description="an admin may take a case from whoever works on it")


class AnswerIn(Named):
    """An answer; `withdrawn` takes the last one back."""

    label: Answer
    note: str = Field(default="", max_length=MAX_NOTE)
    label_id: str | None = Field(
        default=None,
        pattern="^[A-Za-z0-9_-]{16,64}$",
        description="unique; send the same one again after a failure, and the answer counts once",
    )
    seen: str = Field(default="", description="`at` of the newest answer known to the caller; an older one is refused")


class ReportOut(BaseModel):
    """What became of it."""

    done: bool
    saved: bool = Field(description="Kafka has confirmed it; else it is kept and sent until it has")
    word: str
    text: str
    label_id: str | None = None


@router.get("/me")
async def me(found: Known) -> Me:
    """Who asks, and the token that their requests need."""
    return Me(name=found.actor.name, role=found.actor.account.role, csrf=found.csrf)


@router.get("/cases")
async def cases(
    request: Request,
    found: Known,
    q: Annotated[str, Query(description="card, merchant or transaction")] = "",
    state: Annotated[StateFilter | None, Query()] = None,
    outcome: str = "",
    rule: str = "",
    country: str = "",
    mcc: str = "",
    min_amount: float | None = None,
    max_amount: float | None = None,
    min_score: int | None = None,
    max_score: int | None = None,
    age: Annotated[str, Query(description="older than 1h, 4h, 1d, 3d or 7d")] = "",
    mine: bool = False,  # noqa: FBT001, FBT002 - a flag in an address
    sort: Sort = "loss",
    at: Annotated[str, Query(description="`next` of the page before")] = "",
) -> QueueOut:
    """The queue, fifty at a time."""
    room = room_of(request)
    given = {
        "q": q, "state": state or "", "outcome": outcome, "rule": rule, "country": country, "mcc": mcc,
        "min_amount": min_amount, "max_amount": max_amount, "min_score": min_score, "max_score": max_score,
        "age": age, "mine": "1" if mine else "", "sort": sort,
    }  # fmt: skip
    filters = read_filters({name: str(value) for name, value in given.items() if value is not None})
    claimed = await room.notes.claimed_by(found.actor.name, now_ms()) if filters.mine else []
    got = await room.library.queue(filters, read_cursor(at), now_ms=now_ms(), name=found.actor.name, claimed=claimed)
    plain = [case_of(fields) for fields in got.rows]
    standing = await room.notes.standing([case.key.id for case in plain])
    shown = [case_of(case.fields, known.said, known.holder) for case, known in zip(plain, standing, strict=True)]
    return QueueOut(total=got.total, cases=[_out(case) for case in shown], next=got.after)


@router.get("/case")
async def one_case(request: Request, found: Known, card_id: str, transaction_id: str) -> CaseOut:  # noqa: ARG001 - `found` guards
    """One case."""
    case = await room_of(request).desk.case(CaseKey(card_id, transaction_id))
    if case is None:
        raise Denied(404, "There is no such transaction.")
    return _out(case)


@router.post("/case/claim", responses={409: {"model": ReportOut}})
async def claim(request: Request, found: Known, body: ClaimIn) -> Response:
    """Work on a case; refused while somebody else does."""
    key = CaseKey(body.card_id, body.transaction_id)
    report = await room_of(request).desk.claim(found.actor, key, take_over=body.take_over)
    return _reported(
        ReportOut(done=report.done, saved=report.saved, word=report.word, text=report.text), status_of(report)
    )


@router.post("/case/release", responses={409: {"model": ReportOut}})
async def release(request: Request, found: Known, body: Named) -> Response:
    """Let a case go."""
    report = await room_of(request).desk.release(found.actor, CaseKey(body.card_id, body.transaction_id))
    return _reported(
        ReportOut(done=report.done, saved=report.saved, word=report.word, text=report.text), status_of(report)
    )


@router.post("/case/answer", responses={409: {"model": ReportOut}})
async def answer(request: Request, found: Known, body: AnswerIn) -> Response:
    """Answer a case, or take the answer back."""
    label_id = body.label_id or new_id()
    report = await room_of(request).desk.answer(
        found.actor,
        CaseKey(body.card_id, body.transaction_id),
        body.label,
        note=body.note,
        label_id=label_id,
        seen=body.seen,
    )
    said = ReportOut(done=report.done, saved=report.saved, word=report.word, text=report.text, label_id=label_id)
    return _reported(said, status_of(report))


@router.get("/overview")
async def overview_numbers(request: Request, found: Known, span: str = DEFAULT_SPAN) -> dict[str, Any]:  # noqa: ARG001
    """The numbers of the overview; `span` is 1h, 6h, 24h, 7d or 30d."""
    if span not in SPANS:
        raise Denied(400, f"span is one of {', '.join(SPANS)}.")
    return dict(msgspec.to_builtins(await overview(room_of(request).library, span, now_ms())))


@router.get("/audit")
async def audit(request: Request, found: Known, actor: str = "") -> list[dict[str, Any]]:
    """Who did what when, the newest hundred: admins see everybody, others themselves."""
    need(found, "analyst")
    who = actor if found.actor.is_admin else found.actor.name
    return [msgspec.to_builtins(event) for event in await room_of(request).library.events(actor=who)]


@router.get("/openapi.json", include_in_schema=False)
async def description(request: Request, found: Known) -> Response:  # noqa: ARG001
    """This API, described."""
    return JSONResponse(request.app.openapi())


def _reported(report: ReportOut, status: int) -> Response:
    return JSONResponse(report.model_dump(), status)


def _out(case: Case) -> CaseOut:
    said = case.said
    return CaseOut(
        card_id=case.key.card_id,
        transaction_id=case.key.transaction_id,
        state=case.state,
        expected_loss=case.expected_loss,
        holder=case.holder,
        said=None if said is None else SaidOut(
            label=said.label, at=said.at, source=said.source, analyst=said.analyst, note=said.note,
            saved=said.saved, indexed=said.indexed,
        ),
        outcome=dict(case.fields),
    )  # fmt: skip
