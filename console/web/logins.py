"""Logging in and out."""

from __future__ import annotations

import asyncio
import secrets
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from console.room import Room, now_ms
from console.users import Account
from console.web import guard
from console.web.guard import Denied, LoginNeeded, Visitor, room_of, visitor
from console.web.render import page

router: Final = APIRouter(include_in_schema=False)

_MOST_CHARS: Final = 256
# A hash takes 64 MiB for a moment: two at a time, and the others wait.
_HASHING: Final = asyncio.Semaphore(2)


@router.get("/login")
async def login_page(request: Request, next: str = "") -> Response:  # noqa: A002 - the usual name in an address
    """The form."""
    return _form(request, next)


@router.post("/login")
async def login(
    request: Request,
    name: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
    csrf: Annotated[str, Form()] = "",
    next: Annotated[str, Form()] = "",  # noqa: A002
) -> Response:
    """Check name and password; failures are counted and slow down whoever guesses."""
    room, address = room_of(request), guard.address_of(request)
    expected = request.cookies.get(guard.LOGIN_COOKIE, "")
    if not expected or not secrets.compare_digest(csrf.encode(), expected.encode()) or not guard.same_site(request):
        return _form(request, next, "The form was too old. Please try again.", 403)
    name, password = name.strip()[:_MOST_CHARS], password[:_MOST_CHARS]
    locked_s = await room.sessions.locked_s(name, address)
    if locked_s:
        room.health.metrics.logins["locked"].inc()
        minutes = -(-locked_s // 60)
        return _form(request, next, f"Too many failures. Try again in {minutes} min.", 429)
    async with _HASHING:
        account = await asyncio.to_thread(room.users.verified, name, password)
    if account is None:
        return await _refused(request, room, name, address, next)
    return await _entered(request, room, account, next)


@router.post("/logout")
async def logout(request: Request, found: Annotated[Visitor, Depends(visitor)]) -> Response:
    """End the session."""
    room = room_of(request)
    await room.sessions.end(request.cookies.get(guard.cookie_name(request), ""))
    await room.desk.told(room.desk.event("logout", found.actor.name, found.actor.via, found.actor.address))
    response = RedirectResponse("/login", 303)
    response.delete_cookie(guard.cookie_name(request), path="/", secure=guard.is_secure(request), httponly=True)
    return response


async def _refused(request: Request, room: Room, name: str, address: str, target: str) -> Response:
    await room.sessions.failed(name, address)
    room.health.metrics.logins["refused"].inc()
    # Who mistypes a password into the field of the name must not find it in the audit trail.
    known = name if room.users.account(name) is not None else "unknown"
    await room.desk.told(room.desk.event("login_refused", known, "password", address))
    return _form(request, target, "Name or password is wrong.", 401, name=name)


async def _entered(request: Request, room: Room, account: Account, target: str) -> Response:
    address = guard.address_of(request)
    await room.sessions.succeeded(account.name, address)
    # Whatever session the browser had ends: a new login is a new session, under a new name.
    await room.sessions.end(request.cookies.get(guard.cookie_name(request), ""))
    token, _ = await room.sessions.begin(account, "password", now_ms())
    room.health.metrics.logins["done"].inc()
    await room.desk.told(room.desk.event("login", account.name, "password", address))
    response = RedirectResponse(_local(target), 303)
    guard.set_cookie(request, response, guard.cookie_name(request), token)
    response.delete_cookie(guard.LOGIN_COOKIE, path="/")
    return response


def _form(request: Request, target: str, problem: str = "", status: int = 200, *, name: str = "") -> Response:
    csrf = request.cookies.get(guard.LOGIN_COOKIE) or secrets.token_urlsafe(24)
    values = {"csrf": csrf, "next": _local(target), "problem": problem, "name": name[:64]}
    response = page(request, "login.html", values, seen_by=None, status=status)
    guard.set_cookie(request, response, guard.LOGIN_COOKIE, csrf)
    return response


def _local(target: str) -> str:
    r"""A path of ours to go on to; anything else is the start.

    >>> _local("/case?card=1"), _local("//evil.example"), _local("/\\evil.example"), _local("https://evil.example")
    ('/case?card=1', '/', '/', '/')
    """
    fine = target.startswith("/") and not target.startswith("//") and "\\" not in target and target.isprintable()
    return target if fine and not target.startswith("/login") else "/"


async def maybe_visitor(request: Request) -> Visitor | None:
    """Who asks, if anybody is known."""
    try:
        return await visitor(request)
    except (LoginNeeded, Denied):
        return None
