"""Lists that rules look fields up in, in Redis: `fraudstream list`."""

# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it, so that --help answers at once
from __future__ import annotations

import asyncio
import math
import re
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer

from features.errors import ConfigError, RulesError
from fraudstream.commands_roles import logged_settings

if TYPE_CHECKING:
    from scoring.rules.lists import Entries, ListDefinition
    from streams.lists import ListStore
    from streams.settings import Settings

T = TypeVar("T")

_UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_MOST_SHOWN: Final = 1_000

Name = Annotated[str, typer.Argument(help="Name of the list, as in the rule file.")]
Values = Annotated[list[str] | None, typer.Argument(help="Entries; card numbers become tokens.")]
Source = Annotated[Path | None, typer.Option("--file", help="File with an entry a line (- for stdin), besides.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    lists = typer.Typer(no_args_is_help=True, help="Allow and block lists in Redis, that rules look fields up in.")
    lists.command()(add)
    lists.command()(remove)
    lists.command()(show)
    app.add_typer(lists, name="list")


def add(
    name: Name,
    values: Values = None,
    file: Source = None,
    field: Annotated[str, typer.Option(help="Field that the list is of.")] = "card_id",
    lasts: Annotated[
        str, typer.Option("--for", help="How long they count: a number with s, m, h, d or w; empty: for ever.")
    ] = "",
) -> None:
    """Put entries into a list; running workers know within seconds.

    Needs FRAUD_REDIS_URL, and FRAUD_PAN_KEY where card numbers are among the entries: only their tokens are kept.

    Example: fraudstream list add blocked_cards tok_7f3a --for 30d
    """
    from scoring.rules.columns import TEXTS

    if field not in TEXTS:
        raise ConfigError(f"--field: there is no field {field}; there are {', '.join(TEXTS)}")
    now_ms = time.time_ns() // 1_000_000
    ends_ms = now_ms + _milliseconds(lasts) if lasts else math.inf
    entries = _entries(values or [], file, field)
    added = _with_store(lambda store: store.add(_fit(name), field, entries, ends_ms, now_ms))
    typer.echo(f"{name}: {len(entries):,} entries, {added:,} of them new")


def remove(name: Name, values: Values = None, file: Source = None) -> None:
    """Take entries out of a list; running workers know within seconds.

    Example: fraudstream list remove blocked_cards tok_7f3a
    """
    field = _with_store(lambda store: store.field(name))
    if field is None:
        raise ConfigError(f"there is no list {name} in Redis")
    entries = _entries(values or [], file, field)
    removed = _with_store(lambda store: store.remove(name, entries))
    typer.echo(f"{name}: {removed:,} of {len(entries):,} entries were in it")


def show(
    name: Annotated[str | None, typer.Argument(help="Name of a list; without: all lists.")] = None,
    most: Annotated[int, typer.Option(min=1, help="Entries shown at most.")] = _MOST_SHOWN,
) -> None:
    """Show lists, or the entries of one with their ends.

    Example: fraudstream list show blocked_cards
    """
    now_ms = time.time_ns() // 1_000_000
    if name is None:
        for one, field in _with_store(lambda store: store.names()).items():
            typer.echo(f"{one}  {field}")
        return
    found = _with_store(lambda store: store.entries(name, now_ms))
    for value, ends_ms in found[:most]:
        typer.echo(f"{value}  {_until(ends_ms)}")
    sys.stderr.write(f"{name}: {len(found):,} entries\n")


def members_now(wanted: Mapping[str, ListDefinition], settings: Settings) -> dict[str, Entries]:
    """Lists in Redis as they are now; raises ServerUnavailable where it does not answer."""
    from streams.lists import ListBook

    async def read(store: ListStore) -> dict[str, Entries]:
        book = ListBook(store)
        await book.refresh(wanted, time.time_ns() // 1_000_000)
        return book.members

    return _with_store(read, settings)


def _with_store(call: Callable[[ListStore], Awaitable[T]], settings: Settings | None = None) -> T:
    from features.redis_link import connect
    from streams.lists import ListStore

    known = settings or logged_settings()

    async def run() -> T:
        client: Any = connect(known.redis_url.get_secret_value(), ca_path=known.redis_ssl_ca)
        try:
            return await call(ListStore(client, known.key_prefix))
        finally:
            await client.aclose()

    return asyncio.run(run())


def _entries(values: list[str], file: Path | None, field: str) -> list[str]:
    from scoring.rules.entries import list_entry

    lines = values + ([] if file is None else _lines(file))
    if not lines:
        raise ConfigError("name entries, or a --file of them")
    key = logged_settings().pan_key.get_secret_value().encode() or None
    try:
        return list(dict.fromkeys(list_entry(line, field, key) for line in lines))
    except ValueError as exc:
        raise ConfigError(str(exc)) from None


def _lines(file: Path) -> list[str]:
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise RulesError(f"{file} cannot be read as UTF-8 text: {exc}") from None
    return [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def _fit(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        raise ConfigError("the name of a list has 1 to 64 letters, digits, _ and -")
    return name


def _milliseconds(lasts: str) -> int:
    match = re.fullmatch(r"([0-9]{1,6})([smhdw])", lasts)
    if match is None:
        raise ConfigError("--for: a number with s, m, h, d or w is expected, as in 30d")
    return int(match[1]) * _UNITS_S[match[2]] * 1000


def _until(ends_ms: float) -> str:
    if math.isinf(ends_ms):
        return "for ever"
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ends_ms / 1000))
