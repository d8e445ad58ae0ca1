"""Around every request: headers that tie the browser's hands, a limit on bodies, a clock."""

from __future__ import annotations

from time import perf_counter
from typing import Final

from prometheus_client import Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from console.web.guard import is_secure

MOST_BYTES: Final = 64 * 1024

_CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": _CSP,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Addresses of cases name cards. `no-referrer` would make browsers hide the origin of our own forms from us.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
_TLS_ONLY: Final = "max-age=31536000"
_STATIC: Final = "/static/"


class Envelope:
    """ASGI middleware.

    Args:
        app: what it goes around.
        seconds: told how long each request took.
    """

    def __init__(self, app: ASGIApp, seconds: Histogram) -> None:
        self._app, self._seconds = app, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began_s = perf_counter()
        cached = str(scope["path"]).startswith(_STATIC)

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers["Cache-Control"] = "public, max-age=31536000, immutable" if cached else "no-store"
                if is_secure(Request(scope)):
                    headers["Strict-Transport-Security"] = _TLS_ONLY
            await send(message)

        try:
            if _is_too_long(Headers(scope=scope)):
                await PlainTextResponse("The request is too large.\n", 413)(scope, receive, sealed)
            else:
                await self._app(scope, receive, sealed)
        finally:
            if not cached:
                self._seconds.observe(perf_counter() - began_s)


def _is_too_long(headers: Headers) -> bool:
    """Whether a body is over the limit, or does not say how long it is."""
    length = headers.get("content-length")
    if length is None:
        return "transfer-encoding" in headers
    return not length.isdigit() or int(length) > MOST_BYTES
