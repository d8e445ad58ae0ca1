"""What the forms of a case do; a script may send them too and gets JSON."""

from __future__ import annotations

from typing import Annotated, Final, cast, get_args

from fastapi import APIRouter, Depends, Form
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from console.cases import CaseKey
from console.desk import Report
from console.web.guard import Denied, Visitor, room_of, visitor
from console.web.pages import key_of, show_case
from console.web.render import address_of_case
from scoring.label import Answer

router: Final = APIRouter(include_in_schema=False)

Known = Annotated[Visitor, Depends(visitor)]
Text = Annotated[str, Form()]
ANSWERS: Final = frozenset(get_args(Answer))
STATUS: Final = {"forbidden": 403, "not_yours": 403, "bad_id": 400, "too_long": 400}
_SCRIPT: Final = "fetch"


@router.post("/case/claim")
async def claim(
    request: Request, found: Known, card: Text = "", transaction: Text = "", take_over: Text = ""
) -> Response:
    """Work on a case."""
    key = _named(card, transaction)
    report = await room_of(request).desk.claim(found.actor, key, take_over=take_over == "1")
    return await _answered(request, found, key, report)


@router.post("/case/release")
async def release(request: Request, found: Known, card: Text = "", transaction: Text = "") -> Response:
    """Let it go."""
    key = _named(card, transaction)
    return await _answered(request, found, key, await room_of(request).desk.release(found.actor, key))


@router.post("/case/answer")
async def answer(
    request: Request, found: Known, card: Text = "", transaction: Text = "", label: Text = "", note: Text = "",
    label_id: Text = "", seen: Text = "",
) -> Response:  # fmt: skip
    """Say what it is, or take that back."""
    if label not in ANSWERS:
        raise Denied(400, "The answer is none of fraud, valid, undecided and withdrawn.")
    key = _named(card, transaction)
    report = await room_of(request).desk.answer(
        found.actor, key, cast("Answer", label), note=note, label_id=label_id, seen=seen
    )
    return await _answered(request, found, key, report, note)


def status_of(report: Report) -> int:
    """The status of HTTP that a report has."""
    return 200 if report.done else STATUS.get(report.word, 409)


def _named(card: str, transaction: str) -> CaseKey:
    return key_of({"card": card, "transaction": transaction}.get)


async def _answered(request: Request, found: Visitor, key: CaseKey, report: Report, note: str = "") -> Response:
    word = report.word if report.saved else "kept"
    target = f"{address_of_case(key)}&done={word}"
    if request.headers.get("x-requested-with") == _SCRIPT:
        said = {"done": report.done, "saved": report.saved, "word": word, "text": report.text, "location": target}
        return JSONResponse(said, status_of(report))
    if report.done:
        return RedirectResponse(target, 303)
    return await show_case(request, found, key, problem=report.text, note=note, status=status_of(report))
