"""Watch a model at work, and train the next one when it is due."""

# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it, so that --help answers at once
from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from features.errors import HistoryError, IndexingError, ServerUnavailable
from fraudstream.commands_registry import AsJson, now_ms
from fraudstream.commands_roles import logged_settings
from fraudstream.commands_rules import wide_console, write_page

if TYPE_CHECKING:
    from lifecycle.drift import Drift
    from streams.settings import Settings

Outcomes = Annotated[str, typer.Option(help="Outcomes: `topic`, or a file (JSON lines, Parquet).")]
Labels = Annotated[str, typer.Option(help="What became of them: `topic`, `none`, or a file.")]
Rows = Annotated[int, typer.Option(min=1, help="Newest outcomes of the topic to read.")]
AsOf = Annotated[str, typer.Option(help="Moment to look back from, RFC 3339; newest: the newest outcome's.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(watch)


def watch(
    outcomes: Outcomes = "topic",
    labels: Labels = "topic",
    model: Annotated[str | None, typer.Option(help="Model folder or registry URI; without: FRAUD_MODEL.")] = None,
    rows: Rows = 50_000,
    as_of: AsOf = "newest",
    every: Annotated[
        float | None, typer.Option(min=1, help="Seconds from one look to the next; without: once.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="File for the report; replaced.")] = None,
    *,
    index: Annotated[bool, typer.Option("--index", help="Write what is found to OpenSearch.")] = False,
    check: Annotated[bool, typer.Option("--check", help="End with 1 where there is an alarm.")] = False,
    as_json: AsJson = False,
) -> None:
    """Hold live traffic against what the model was trained on, and its decisions against labels.

    With --every it stays, and serves what it found last on FRAUD_HTTP_PORT under /metrics.

    Example: fraudstream watch --every 300 --index --html drift.html
    """
    settings = logged_settings()

    def once() -> Drift:
        found = look_once(settings, outcomes, labels, model or settings.model, rows, as_of)
        if as_json:
            typer.echo(msgspec.json.encode(found))
        else:
            from lifecycle.drift_view import render

            wide_console().print(render(found))
        if html is not None:
            from lifecycle.drift_view import html as page

            write_page(html, page(found))
        if index:
            _index(settings, found)
        return found

    if every is None:
        raise typer.Exit(1 if once().alarms and check else 0)
    _stay(settings, once, every)


def look_once(settings: Settings, outcomes: str, labels: str, model: str, rows: int, as_of: str) -> Drift:
    """Read traffic and labels, and hold them against a model."""
    from lifecycle.looking import look, read_traffic, read_truth
    from lifecycle.plan import load_plan
    from scoring.registry_uri import resolve_model

    folder = resolve_model(model, Path(settings.registry_dir))
    traffic, truth = read_traffic(settings, outcomes, rows), read_truth(settings, labels)
    return look(folder, load_plan(settings.lifecycle), traffic, truth, as_of)


def _index(settings: Settings, found: Drift) -> None:
    from features.outage import Outage
    from lifecycle.drift_view import documents
    from sinks.bulk import BulkWriter
    from sinks.index_template import setup_index
    from streams.index import opensearch_client

    client = opensearch_client(settings)
    made = list(documents(found, now_ms(), settings.index_prefix))
    try:
        prepare = partial(setup_index, client, settings.index_prefix)
        refused = asyncio.run(BulkWriter(client, prepare, Outage("opensearch", "FRAUD_OPENSEARCH_URL")).write(made))
    finally:
        client.close()
    if refused:
        raise IndexingError(f"FRAUD_OPENSEARCH_URL: OpenSearch refuses a finding ({refused[0].reason})")
    typer.echo(f"{len(made)} documents in {settings.index_prefix}operations", err=True)


def _stay(settings: Settings, once: Callable[[], Drift], every_s: float) -> None:
    """Look again and again; what cannot be read now may be there the next time."""
    import structlog
    from prometheus_client import CollectorRegistry, start_http_server

    from lifecycle.watch_metrics import WatchMetrics

    log = structlog.get_logger(__name__)
    registry = CollectorRegistry()
    metrics = WatchMetrics(registry)
    server, _ = start_http_server(settings.http_port, settings.http_host, registry)
    log.info("serving_metrics", port=server.server_port)
    while True:
        try:
            metrics.show(once(), now_ms())
        except (HistoryError, ServerUnavailable) as exc:
            log.warning("not_looked", problem=str(exc))
        time.sleep(every_s)
