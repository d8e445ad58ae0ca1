"""A history and its features: no server needed."""

# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it, so that --help answers at once
from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from features.errors import ConfigError
from fraudstream.progress import progress
from fraudstream.tables import ByTime, build_table

__all__ = ["History", "build_table", "register", "without_extra"]

History = Annotated[Path, typer.Option(help="Labelled history: a Parquet file or a folder of them.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (generate, features):
        app.command()(command)


def generate(
    transactions: Annotated[int, typer.Option(min=10, help="Rows in all, attacks included.")],
    out: Annotated[Path, typer.Option(help="Folder for the Parquet files; a history in it is replaced.")],
    cards: Annotated[int, typer.Option(min=1, help="Cards that they are spread over.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same bytes.")] = 1,
    change_on_day: Annotated[
        float | None, typer.Option(min=0, max=150, help="Day from which on there are attacks of a new kind.")
    ] = None,
    change_share: Annotated[
        float, typer.Option(min=0.0001, max=0.5, help="Share of the later transactions that belong to them.")
    ] = 0.02,
) -> None:
    """Write a labelled card history of five months, as Parquet.

    Example: fraudstream generate --transactions 540000 --cards 1000 --seed 1 --out history
    """
    from local import generator, regime

    with progress("generate") as show:
        written = 0

        def wrote(rows: int) -> None:
            nonlocal written
            written += rows
            show(written, transactions)

        try:
            change = None
            if change_on_day is not None:
                change = regime.Change(generator.START_MS + round(change_on_day * 86_400_000), change_share)
            made = generator.generate(transactions, cards, seed, out, wrote, change)
        except generator.GeneratorError as error:
            sys.stderr.write(f"fraudstream: {error}\n")
            raise typer.Exit(error.exit_code) from error
    typer.echo(
        f"{made.transactions:,} transactions of {made.cards:,} cards in {out}: "
        f"{made.frauds:,} fraudulent, in {made.attacks:,} attacks"
    )


def features(
    history: History,
    out: Annotated[Path, typer.Option(help="Parquet file of the feature table; replaced.")],
    *,
    by_time: ByTime = False,
) -> None:
    """Build the feature table of a history: the columns of the catalogue, by the very code that serves them.

    Example: fraudstream features --history history --out features.parquet
    """
    summary = build_table(history, out, by_time=by_time)
    notes = {
        "reversals": summary.reversals,
        "copies": summary.copies,
        "late": summary.late,
        "late beyond the grace": summary.beyond_grace,
    }
    found = "".join(f", {count:,} {name}" for name, count in notes.items() if count)
    typer.echo(f"{summary.rows_out:,} rows of {summary.cards:,} cards in {out}{found}")


def without_extra(error: ModuleNotFoundError) -> ConfigError:
    """What to say where the libraries of training are not there."""
    return ConfigError(f"{error.name} is not installed; training needs: pip install 'fraudstream[train]'")
