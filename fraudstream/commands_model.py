"""History, features, training and evaluation: the work of a data scientist, no server needed."""

# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it, so that --help answers at once
from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from features.errors import ConfigError
from fraudstream.progress import progress

if TYPE_CHECKING:
    from features.offline import TableSummary

History = Annotated[Path, typer.Option(help="Labelled history: a Parquet file or a folder of them.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (generate, features, train, evaluate):
        app.command()(command)


def generate(
    transactions: Annotated[int, typer.Option(min=10, help="Rows in all, attacks included.")],
    out: Annotated[Path, typer.Option(help="Folder for the Parquet files; a history in it is replaced.")],
    cards: Annotated[int, typer.Option(min=1, help="Cards that they are spread over.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same bytes.")] = 1,
) -> None:
    """Write a labelled card history of five months, as Parquet.

    Example: fraudstream generate --transactions 540000 --cards 1000 --seed 1 --out history
    """
    from local import generator

    with progress("generate") as show:
        written = 0

        def wrote(rows: int) -> None:
            nonlocal written
            written += rows
            show(written, transactions)

        try:
            made = generator.generate(transactions, cards, seed, out, wrote)
        except generator.GeneratorError as error:
            sys.stderr.write(f"fraudstream: {error}\n")
            raise typer.Exit(error.exit_code) from error
    typer.echo(
        f"{made.transactions:,} transactions of {made.cards:,} cards in {out}: "
        f"{made.frauds:,} fraudulent, in {made.attacks:,} attacks"
    )


def features(
    history: History, out: Annotated[Path, typer.Option(help="Parquet file of the feature table; replaced.")]
) -> None:
    """Build the feature table of a history: the columns of the catalogue, by the very code that serves them.

    Example: fraudstream features --history history --out features.parquet
    """
    summary = build_table(history, out)
    notes = {
        "reversals": summary.reversals,
        "copies": summary.copies,
        "late": summary.late,
        "late beyond the grace": summary.beyond_grace,
    }
    found = "".join(f", {count:,} {name}" for name, count in notes.items() if count)
    typer.echo(f"{summary.rows_out:,} rows of {summary.cards:,} cards in {out}{found}")


def train(
    history: History,
    out: Annotated[Path, typer.Option(help="Model folder; a model in it is replaced.")],
    review_fpr: Annotated[
        float, typer.Option(help="Share of ordinary transactions that may be reviewed or blocked.")
    ] = 0.003,
    block_fpr: Annotated[float, typer.Option(help="Share of them that may be blocked.")] = 0.0005,
    gap_days: Annotated[
        float, typer.Option(min=0, help="Days left out between training, validation and test: how late labels come.")
    ] = 7.0,
    seed: Annotated[int, typer.Option(min=0, help="The same history and seed give the same bytes.")] = 1,
) -> None:
    """Train a model on a labelled history and report what it catches on its last weeks, unseen.

    Example: fraudstream train --history history --out model
    """
    try:
        from scoring import training
    except ModuleNotFoundError as error:
        raise without_extra(error) from error
    from scoring.report import render

    with tempfile.TemporaryDirectory(prefix="fraudstream-") as folder:
        table = Path(folder) / "features.parquet"
        build_table(history, table)
        with progress("train") as show:
            manifest = training.train(
                table,
                out,
                seed=seed,
                review_fpr=review_fpr,
                block_fpr=block_fpr,
                split=training.SplitOptions(gap_days=gap_days),
                progress=show,
            )
    Console().print(render(manifest.metrics))
    typer.echo(f"model {manifest.version} in {out}")


def evaluate(
    model: Annotated[Path, typer.Option(help="Model folder.")],
    history: History,
) -> None:
    """Report what a model catches in a labelled history.

    On the history that it was trained on, the part that it has not seen counts; any other counts as a whole.

    Example: fraudstream evaluate --model model --history history
    """
    try:
        from scoring import evaluation
    except ModuleNotFoundError as error:
        raise without_extra(error) from error
    from scoring.model import Model
    from scoring.report import render

    loaded = Model.load(model)
    with tempfile.TemporaryDirectory(prefix="fraudstream-") as folder:
        table = Path(folder) / "features.parquet"
        build_table(history, table)
        report = evaluation.evaluate(loaded, table)
    Console().print(render(report))


def build_table(history: Path, out: Path) -> TableSummary:
    """Build the feature table of a history as the settings say, showing how far it is."""
    from features import offline
    from streams.settings import load_settings

    settings = load_settings()
    with progress("features") as show:
        return offline.build_table(
            history,
            out,
            grace_ms=settings.grace_s * 1000,
            clock_skew_ms=settings.clock_skew_s * 1000,
            pan_key=settings.pan_key.get_secret_value().encode() or None,
            progress=show,
        )


def without_extra(error: ModuleNotFoundError) -> ConfigError:
    """What to say where the libraries of training are not there."""
    return ConfigError(f"{error.name} is not installed; training needs: pip install 'fraudstream[train]'")
