"""Who asks: a session, an API token, or a proxy that says so; and that nobody else speaks for them."""

from __future__ import annotations

import secrets
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from console.desk import Actor
from console.room import Room, now_ms
from console.sessions import Session
from console.users import Account, Role

LOGIN_COOKIE: Final = "fraud_login"
_PLAIN_COOKIE: Final = "fraud_session"
_BY_ITSELF: Final = "/overview/parts"
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_RANK: Final[dict[Role, int]] = {"viewer": 0, "analyst": 1, "admin": 2}


class LoginNeeded(Exception):  # noqa: N818 - a state; answered with the login page
    """Nobody is logged in."""


class Denied(Exception):  # noqa: N818 - a state; answered with its status and text
    """A request that is not answered.

    Attributes:
        status: of HTTP.
        text: for people.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


class Visitor(msgspec.Struct, frozen=True):
    """Who is there.

    Attributes:
        actor: name, role, way in.
        csrf: what their forms must carry; empty for an API token, which no browser sends by itself.
    """

    actor: Actor
    csrf: str


def room_of(request: Request) -> Room:
    """The process's room."""
    room = request.app.state.room
    assert isinstance(room, Room)
    return room


async def visitor(request: Request) -> Visitor:
    """Who asks, by token, session or proxy; a request that changes something must carry the session's CSRF token.

    Raises:
        LoginNeeded: nobody is logged in.
        Denied: the token is unknown, the proxy's user is, or the request came from another site.
        ServerUnavailable: Redis does not answer.
    """
    room = room_of(request)
    authorization = request.headers.get("authorization", "")
    if authorization:
        return Visitor(_by_token(request, room, authorization), "")
    account, session = await _by_proxy(request, room) or await _by_session(request, room)
    if request.method not in _SAFE:
        await _check_origin(request, session.csrf)
    return Visitor(Actor(account, session.via, address_of(request)), session.csrf)


def need(found: Visitor, role: Role) -> None:
    """Raise Denied for whoever has less than a role."""
    if _RANK[found.actor.account.role] < _RANK[role]:
        raise Denied(403, f"This needs the role {role}; yours is {found.actor.account.role}.")


def address_of(request: Request) -> str:
    """Where a request comes from; what a proxy adds is believed of declared proxies only."""
    peer = request.client.host if request.client is not None else ""
    if not _is_proxy(request):
        return peer
    hops = [hop.strip() for line in request.headers.getlist("x-forwarded-for") for hop in line.split(",")]
    strangers = [hop for hop in hops if _is_address(hop) and not _declared(request, hop)]
    return strangers[-1] if strangers else peer


def is_secure(request: Request) -> bool:
    """Whether the browser's connection is encrypted."""
    told = request.headers.get("x-forwarded-proto", "") if _is_proxy(request) else ""
    return request.url.scheme == "https" or told == "https"


def cookie_name(request: Request) -> str:
    """The session's cookie; over TLS with a prefix that browsers tie to this very host."""
    return f"__Host-{_PLAIN_COOKIE}" if is_secure(request) else _PLAIN_COOKIE


def set_cookie(request: Request, response: Response, name: str, value: str) -> None:
    """A cookie that no script reads and no other site's form carries along."""
    response.set_cookie(name, value, httponly=True, secure=is_secure(request), samesite="lax", path="/")


def same_site(request: Request) -> bool:
    """Whether a request that changes something comes from our own pages, as far as the browser says."""
    fetch_site = request.headers.get("sec-fetch-site", "same-origin")
    origin = request.headers.get("origin")
    if fetch_site not in {"same-origin", "none"}:
        return False
    return origin is None or urlsplit(origin).netloc == request.headers.get("host", "")


def _by_token(request: Request, room: Room, authorization: str) -> Actor:
    scheme, _, token = authorization.partition(" ")
    account = room.users.by_token(token.strip()) if scheme.lower() == "bearer" else None
    if account is None:
        raise Denied(401, "The token is not known here; make one with: fraudstream console-user token NAME")
    return Actor(account, "token", address_of(request))


async def _by_session(request: Request, room: Room) -> tuple[Account, Session]:
    session = await _session(request, room)
    if session is None or session.via != "password":
        raise LoginNeeded
    account = room.users.account(session.name)
    if account is None or not secrets.compare_digest(account.mark, session.mark):
        raise LoginNeeded
    return account, session


async def _by_proxy(request: Request, room: Room) -> tuple[Account, Session] | None:
    """Whom a declared proxy names; its word is asked for again with every request."""
    header = room.settings.console_proxy_header
    name = request.headers.get(header, "") if header and _is_proxy(request) else ""
    if not name:
        return None
    account = room.users.account(name)
    if account is None:
        raise Denied(403, "The proxy has logged you in, but the users file does not know that name.")
    session = await _session(request, room)
    if session is None or session.via != "proxy" or session.name != name:
        token, session = await room.sessions.begin(account, "proxy", now_ms())
        request.state.new_session = token
    return account, session


async def _session(request: Request, room: Room) -> Session | None:
    token = request.cookies.get(cookie_name(request), "")
    # What a page asks for by itself keeps nobody logged in.
    active = request.url.path != _BY_ITSELF
    return await room.sessions.find(token, now_ms(), active=active) if token else None


async def _check_origin(request: Request, csrf: str) -> None:
    given = request.headers.get("x-csrf-token", "")
    if not given and request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        field = (await request.form()).get("csrf", "")
        given = field if isinstance(field, str) else ""
    if not same_site(request) or not secrets.compare_digest(given.encode(), csrf.encode()):
        raise Denied(403, "This request did not come from a page of this login. Load the page again.")


def _is_proxy(request: Request) -> bool:
    return request.client is not None and _declared(request, request.client.host)


def _declared(request: Request, address: str) -> bool:
    if not _is_address(address):
        return False
    found = ip_address(address)
    return any(found.version == network.version and found in network for network in room_of(request).networks)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
