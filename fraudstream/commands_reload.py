"""Have running workers take new rules, lists and models: `fraudstream reload`."""

# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it, so that --help answers at once
from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Annotated, Final

import typer

from features.errors import ServerUnavailable
from fraudstream.commands_roles import logged_settings

if TYPE_CHECKING:
    from streams.policy.board import Board, Standing
    from streams.settings import Settings

_PAUSE_S: Final = 0.2
_REFUSED: Final = 1


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(reload)


def reload(
    wait_s: Annotated[float, typer.Option("--wait", min=1, help="Seconds to wait for the workers' answers.")] = 30.0,
) -> None:
    """Have every score worker load its model, rules and challenger anew, and tell what each of them decides by.

    Workers do so by themselves, within seconds, when the files change; this tells when it is done. A version that
    cannot be used is refused: the old one stays in force, and the command ends with 1. Needs FRAUD_REDIS_URL.

    Example: fraudstream reload
    """
    standings = asyncio.run(_reloaded(logged_settings(), wait_s))
    for standing in standings:
        versions = ", ".join(f"{part} {version}" for part, version in standing.versions.items())
        typer.echo(f"{standing.worker}: {versions}")
        for part, problem in standing.problems.items():
            typer.echo(f"  {part} refused, the old version stays in force: {problem}")
    if any(standing.problems for standing in standings):
        raise typer.Exit(_REFUSED)


async def _reloaded(settings: Settings, wait_s: float) -> list[Standing]:
    from streams.policy.board import Board
    from streams.wired.score import redis_of

    client = redis_of(settings)
    try:
        return await _answers(Board(client, settings.key_prefix), settings.partitions, wait_s)
    finally:
        await client.aclose()


async def _answers(board: Board, partitions: int, wait_s: float) -> list[Standing]:
    """What all workers that are alive say once they are done; raises ServerUnavailable where they do not say."""
    number = await board.ask()
    until_s = time.monotonic() + wait_s
    while True:
        standings = await board.standings(partitions)
        silent = [standing.worker for standing in standings if standing.answered < number]
        if standings and not silent:
            return standings
        if time.monotonic() >= until_s:
            who = f"no answer from {', '.join(silent)}" if silent else "no score worker is running"
            raise ServerUnavailable(f"{who} within {wait_s:g} s; check FRAUD_REDIS_URL and FRAUD_KEY_PREFIX")
        await asyncio.sleep(_PAUSE_S)
