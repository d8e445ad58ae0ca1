"""Look for card numbers where none may be: `fraudstream pan-scan`."""

# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it, so that --help answers at once
from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fraudstream.commands_roles import logged_settings
from fraudstream.progress import progress

if TYPE_CHECKING:
    from streams.pan_scan.report import Report


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("pan-scan")(pan_scan)


def pan_scan(
    *,
    logs: Annotated[list[Path] | None, typer.Option(exists=True, help="Log file or folder; may be repeated.")] = None,
    topic: Annotated[list[str] | None, typer.Option(help="Full name of a further topic; may be repeated.")] = None,
    include_input: Annotated[
        bool, typer.Option("--include-input", help="Count the input records that hold card numbers; they are no leak.")
    ] = False,
    known: Annotated[
        Path | None,
        typer.Option(
            help="File of card numbers, one a line (- for stdin), to be found in every spelling.", metavar="FILE"
        ),
    ] = None,
    skip_field: Annotated[
        list[str] | None, typer.Option(help="JSON field whose values are known to be no cards; may be repeated.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Look for card numbers in Redis, our topics and indices, the model folder and logs; ends with 1 if there are any.

    Needs FRAUD_KAFKA_BOOTSTRAP, FRAUD_REDIS_URL and FRAUD_OPENSEARCH_URL. Of a number only the last four digits are
    shown.

    Example: fraudstream pan-scan --logs /var/log/fraudstream
    """
    settings = logged_settings()
    from streams.pan_scan.finder import Finder, read_known
    from streams.pan_scan.scan import Scope, scan

    scope = Scope(topic or (), logs or (), include_input)
    finder = Finder(read_known(known) if known else (), skip_field or ())
    report = asyncio.run(scan(settings, scope, finder, progress))
    if as_json:
        _print_json(report)
    else:
        _print(report)
    raise typer.Exit(1 if report.found else 0)


def _print_json(report: Report) -> None:
    import msgspec

    typer.echo(
        msgspec.json.encode(
            {
                "found": report.found,
                "findings": report.findings,
                "looked_at": report.looked_at,
                "notes": report.notes,
                "input_records": report.input_records,
            }
        )
    )


def _print(report: Report) -> None:
    for one in report.findings:
        typer.echo(f"{one.server}: {one.where} ({one.part}): a card number that ends in {one.last4}")
    if report.found > len(report.findings):
        typer.echo(f"... and {report.found - len(report.findings):,} more")
    for note in report.notes:
        sys.stderr.write(f"{note}\n")
    if report.input_records is not None:
        typer.echo(f"input records that hold a card number (the producers' own): {report.input_records:,}")
    looked_at = ", ".join(f"{number:,} {kind}" for kind, number in report.looked_at.items())
    typer.echo(f"{report.found:,} card numbers found in {looked_at}")
