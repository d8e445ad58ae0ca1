"""The application: routes, errors, and what goes around them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Final
from urllib.parse import urlencode

import structlog
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from console.room import Room
from console.web import actions, api, logins, pages
from console.web.envelope import Envelope
from console.web.guard import Denied, LoginNeeded
from console.web.render import STATIC, page
from features.errors import FraudstreamError, ServerUnavailable

log = structlog.get_logger(__name__)

_API: Final = "/api/"
_NOTHING_LOST: Final = "Nothing was changed by this request. What you have typed is still in the form: try again."


def make_app(room: Room) -> FastAPI:
    """The application of a console process; it opens the room when it starts and closes it when it ends."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await room.open()
        try:
            yield
        finally:
            await room.close()

    app = FastAPI(
        title="fraudstream console",
        summary="Review flagged card transactions: the same actions as the pages.",
        version=version("fraudstream"),
        lifespan=lifespan,
        # The usual pages for these load their scripts from elsewhere; the description itself is behind the login.
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.state.room = room
    for router in (logins.router, pages.router, actions.router, api.router):
        app.include_router(router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.add_middleware(Envelope, seconds=room.health.metrics.requests)
    app.add_exception_handler(LoginNeeded, _login_needed)
    app.add_exception_handler(Denied, _denied)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(FraudstreamError, _unavailable)
    return app


async def _login_needed(request: Request, _: Exception) -> Response:
    if _is_for_a_program(request):
        return _said(401, "login_needed", "Log in first.")
    target = f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path
    asked = f"?{urlencode({'next': target})}" if request.method == "GET" and target != "/" else ""
    return RedirectResponse(f"/login{asked}", 303)


async def _denied(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, Denied)
    return await _error(request, exc.status, "denied", exc.text)


async def _http_error(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    text = "There is no such page." if exc.status_code == 404 else str(exc.detail)
    return await _error(request, exc.status_code, "http", text)


async def _unavailable(request: Request, exc: Exception) -> Response:
    if not isinstance(exc, ServerUnavailable):
        log.error("request_failed", path=request.url.path, problem=str(exc))
    return await _error(request, 503, "away", f"{exc}. {_NOTHING_LOST}")


async def _error(request: Request, status: int, word: str, text: str) -> Response:
    if _is_for_a_program(request):
        return _said(status, word, text)
    try:
        known = await logins.maybe_visitor(request)
    except FraudstreamError:
        known = None  # Redis is away: nobody can be known
    return page(request, "error.html", {"status": status, "text": text}, seen_by=known, status=status)


def _is_for_a_program(request: Request) -> bool:
    return request.url.path.startswith(_API) or request.headers.get("x-requested-with") == "fetch"


def _said(status: int, word: str, text: str) -> Response:
    return JSONResponse({"done": False, "saved": False, "word": word, "text": text}, status)
