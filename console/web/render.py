"""Pages from templates: everything escaped, every value in a form for people."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse

from console import words
from console.cases import CaseKey
from console.filters import Filters
from console.web.guard import Visitor, cookie_name, room_of, set_cookie

HERE: Final = Path(__file__).resolve().parents[1]
STATIC: Final = HERE / "static"


@cache
def environment() -> Environment:
    """The templates."""
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "shown": words.shown,
        "brief": words.brief,
        "money": words.amount_of,
        "compact": words.compact,
        "percent": words.percent,
        "card": words.card,
        "utc": words.utc,
        "drawn": drawn,
        "facet": _facet,
        "address": _page_address,
    }
    made.globals |= {
        "static": static_address,
        "case_address": case_address,
        "major": words.major,
        "age": words.age,
        "OUTCOMES": words.OUTCOME_WORDS,
        "LABELS": words.LABEL_WORDS,
        "STATES": words.STATE_WORDS,
        "ACTIONS": words.ACTION_WORDS,
    }
    return made


def page(
    request: Request, template: str, values: Mapping[str, Any], *, seen_by: Visitor | None, status: int = 200
) -> HTMLResponse:
    """A page for somebody; `seen_by` is None where nobody is logged in."""
    room = room_of(request)
    away = [name.capitalize().replace("search", "Search") for name in room.health.away()] if seen_by else []
    common = {"visitor": seen_by, "away": away, "waiting_labels": room.outbox.waiting, "path": request.url.path}
    body = environment().get_template(template).render(**common, **values)
    response = HTMLResponse(body, status)
    if (token := getattr(request.state, "new_session", None)) is not None:
        set_cookie(request, response, cookie_name(request), token)
    return response


def drawn(picture: str) -> Markup:
    """A picture of ours: `console/drawing.py` escapes every text that it puts in."""
    return Markup(picture)  # noqa: S704 - see above


def case_address(card_id: str, transaction_id: str) -> str:
    """Where a case is."""
    return f"/case?{urlencode({'card': card_id, 'transaction': transaction_id})}"


def address_of_case(key: CaseKey) -> str:
    """Where a case is."""
    return case_address(key.card_id, key.transaction_id)


def _facet(found: Sequence[tuple[str, int]], chosen: str) -> list[tuple[str, str]]:
    """Choices of a filter with their counts; the one that is in force is among them even where nothing has it."""
    choices = [(value, f"{value} ({count:,})") for value, count in found]
    return choices if not chosen or any(value == chosen for value, _ in found) else [(chosen, chosen), *choices]


def _page_address(filters: Filters, cursor: str) -> str:
    return filters.query_string(at=cursor)


@cache
def static_address(name: str) -> str:
    """Where a file of ours is; another one whenever its content is another."""
    digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return f"/static/{name}?v={digest}"
