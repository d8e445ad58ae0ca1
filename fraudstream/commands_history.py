"""Histories: from the topics, and from foreign data sets."""

# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it, so that --help answers at once
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from features.errors import ConfigError
from fraudstream.commands_roles import logged_settings
from fraudstream.progress import progress

if TYPE_CHECKING:
    from streams.history_export import Exported


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    history = typer.Typer(no_args_is_help=True, help="Histories to train on.")
    history.command()(export)
    history.command()(convert)
    app.add_typer(history, name="history")


def export(
    out: Annotated[Path, typer.Option(help="Folder for the Parquet files; the labels go to labels/ in it.")],
    until: Annotated[
        str | None, typer.Option(help="Only records that the broker has from before this time (RFC 3339).")
    ] = None,
    *,
    labels: Annotated[bool, typer.Option(help="Also export the labels.")] = True,
    moved: Annotated[
        bool,
        typer.Option("--moved", help="FRAUD_PARTITIONS was raised: take records where they lie; train with --by-time."),
    ] = False,
) -> None:
    """Write the topics `transactions` and `fraud_labels` as a history to train on; card numbers become tokens.

    Run again, it goes on behind what is there. Needs FRAUD_KAFKA_BOOTSTRAP, and FRAUD_PAN_KEY where cards are numbers.

    Example: fraudstream history export --out history
    """
    from features.decode import Decoder
    from features.times import parse_rfc3339
    from sinks.topics import DEAD_LETTERS, LABELS, TRANSACTIONS
    from streams.history_export import (
        LABELS_FOLDER,
        Export,
        label_frame,
        label_row,
        transaction_frame,
        transaction_rows,
    )

    settings = logged_settings()
    until_ms = None if until is None else parse_rfc3339(until)
    if until is not None and until_ms is None:
        raise ConfigError(f"--until: {until!r} is no time such as 2026-01-31T12:00:00Z")
    decoder = Decoder(settings.pan_key.get_secret_value().encode() or None, settings.old_pan_keys())
    topic = settings.topic(TRANSACTIONS)
    read = transaction_rows(decoder, topic=topic, dead_letters=settings.topic(DEAD_LETTERS), moved=moved)
    with progress("export") as show:
        _tell(out, "transactions", Export(settings.kafka(), topic, out, transaction_frame).run(read, until_ms, show))
    if labels:
        into = out / LABELS_FOLDER
        made = Export(settings.kafka(), settings.topic(LABELS), into, label_frame)
        with progress("labels") as show:
            _tell(into, "labels", made.run(lambda _partitions: label_row, until_ms, show))


def _tell(out: Path, what: str, done: Exported) -> None:
    before = f" beside {done.before:,} that were there" if done.before else ""
    typer.echo(f"{done.rows:,} {what} of {done.records:,} records in {out}{before}")
    for reason, count in done.left_out.items():
        typer.echo(f"left out: {count:,} {reason}")


def convert(
    history: Annotated[Path, typer.Option(help="CSV or Parquet file of a foreign data set, or a folder of them.")],
    mapping: Annotated[Path, typer.Option(help="What its columns mean (YAML).")],
    out: Annotated[Path, typer.Option(help="Folder for the history; Parquet files in it are replaced.")],
) -> None:
    """Write a foreign data set as a history of ours; `train --mapping` does the same by itself.

    Example: fraudstream history convert --history cards.csv --mapping cards.yaml --out history
    """
    from features.mapping.convert import convert as converted
    from features.mapping.spec import load_mapping

    with progress("read") as show:
        made = converted(history, load_mapping(mapping), out, show)
    typer.echo(f"{made.written:,} transactions of {made.rows:,} rows in {out}")
    for reason, count in (made.left_out | made.changed).items():
        typer.echo(f"left out or changed: {count:,} {reason}")
    if made.inputs:
        typer.echo(f"inputs beside the catalogue: {', '.join(made.inputs)}")
