"""What OpenSearch holds: how long it is kept, how it is built anew, and the dashboards over it."""

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
    from opensearchpy import OpenSearch

    from sinks.generations import Generations
    from streams.reindex import Reindexed
    from streams.settings import Settings

dashboards = typer.Typer(name="dashboards", help="The dashboards for OpenSearch Dashboards.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (retention, reindex):
        app.command()(command)
    app.add_typer(dashboards)


def retention(
    days: Annotated[
        int | None, typer.Option(min=1, help="Whole days to keep; without it, FRAUD_RETENTION_DAYS.")
    ] = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be deleted, and delete nothing.")] = False,
) -> None:
    """Delete outcomes, dead letters and samples that are older than so many days; labels stay.

    Whole daily indices go, by their exact names. Of the catch-all index, documents go that were indexed that long ago.
    Needs FRAUD_OPENSEARCH_URL. Where Index State Management is installed, `fraudstream setup` has it do the same.

    Example: fraudstream retention --days 90 --dry-run
    """
    settings = logged_settings()
    from features.errors import ConfigError
    from sinks.retention import delete_expired, find_expired
    from streams.index import opensearch_client
    from streams.roles import now_ms

    kept = days if days is not None else settings.retention_days
    if not kept:
        raise ConfigError("say how many days to keep: --days, or FRAUD_RETENTION_DAYS")
    client, now = opensearch_client(settings), now_ms()
    try:
        expired = find_expired(client, settings.index_prefix, days=kept, now_ms=now)
        for name in expired.indices:
            typer.echo(name)
        if expired.older:
            typer.echo(f"{', '.join(expired.older)}: {expired.older_documents:,} documents")
        if dry_run:
            typer.echo(f"{len(expired.indices)} indices would be deleted")
            return
        delete_expired(client, expired, days=kept, now_ms=now)
    finally:
        client.close()
    typer.echo(f"{len(expired.indices)} indices deleted")


def reindex(
    *,
    status: Annotated[bool, typer.Option("--status", help="Say whether one is under way, and do nothing.")] = False,
    abandon: Annotated[
        bool, typer.Option("--abandon", help="Give up the one that is under way, and delete what it built.")
    ] = False,
) -> None:
    """Build the indices of the outcomes anew from the topic, and put them in place without a gap.

    Readers see the old ones until the new ones have everything; the index role may run, and is held up for the last
    moment. Labels stay. Interrupted, it goes on where it was when it is run again; run one at a time. Needs
    FRAUD_KAFKA_BOOTSTRAP and FRAUD_OPENSEARCH_URL, and room for a second copy.

    Example: fraudstream reindex
    """
    settings = logged_settings()
    from sinks.generations import Generations
    from streams.index import opensearch_client

    client = opensearch_client(settings)
    try:
        generations = Generations(client, settings.index_prefix)
        if status or abandon:
            _under_way(generations, abandon=abandon)
            return
        done = asyncio.run(_reindex(settings, client))
    finally:
        client.close()
    if done is None:
        typer.echo("there are no indices of outcomes yet")
        return
    typer.echo(f"{done.indices} indices replaced by generation {done.generation}")
    typer.echo(f"{done.from_topic:>12,}  outcomes from the topic")
    typer.echo(f"{done.copied:>12,}  copied that the topic no longer had")
    typer.echo(f"{done.labels:>12,}  labels given meanwhile")
    typer.echo(f"{done.passed_over:>12,}  records passed over")


def _under_way(generations: Generations, *, abandon: bool) -> None:
    plan = generations.load()
    if plan is None:
        typer.echo("no reindex is under way")
    elif abandon:
        generations.abandon(plan)
        typer.echo(f"generation {plan.generation} given up")
    else:
        typer.echo(f"generation {plan.generation}, {len(plan.indices)} indices, offsets {plan.positions}")


async def _reindex(settings: Settings, client: OpenSearch) -> Reindexed | None:
    from sinks.topics import PROCESSED
    from streams.brokers import wait_for_topics
    from streams.reindex import Reindexer
    from streams.repair.topic_reader import reading
    from streams.roles import now_ms

    topic = settings.topic(PROCESSED)
    await wait_for_topics(settings, [], [topic])
    with reading(settings.kafka(), topic) as reader, progress("outcomes") as show:
        return await Reindexer(reader, client, settings.index_prefix, now_ms).run(show)


@dashboards.command()
def export(
    out: Annotated[Path | None, typer.Option(help="File to write; without it, standard output.")] = None,
) -> None:
    """Write the dashboards as saved objects (NDJSON), as `fraudstream setup` imports them.

    FRAUD_INDEX_PREFIX and FRAUD_CONSOLE_URL are built in.

    Example: fraudstream dashboards export --out fraud.ndjson
    """
    settings = logged_settings()
    from dashboards.saved_objects import ndjson, saved_objects
    from features.errors import ConfigError

    raw = ndjson(saved_objects(settings.index_prefix, settings.console_url))
    if out is None:
        sys.stdout.buffer.write(raw)
        return
    try:
        out.write_bytes(raw)
    except OSError as exc:
        raise ConfigError(f"--out {out}: cannot be written ({exc.strerror})") from None


@dashboards.command(name="import")
def import_() -> None:
    """Store the dashboards in OpenSearch Dashboards, in the place of those of the same names.

    Copies under other names stay. Needs FRAUD_DASHBOARDS_URL.

    Example: FRAUD_DASHBOARDS_URL=http://localhost:5601 fraudstream dashboards import
    """
    settings = logged_settings()
    from features.errors import ConfigError

    if not settings.dashboards_url.get_secret_value():
        raise ConfigError("FRAUD_DASHBOARDS_URL is empty: say where OpenSearch Dashboards is")
    typer.echo(store_dashboards(settings, settings.startup_wait_s))


def store_dashboards(settings: Settings, patience_s: float) -> str:
    """Import the dashboards; returns what was done, for people.

    Args:
        settings: where Dashboards is.
        patience_s: how long it may take to be ready; 0: where nothing answers at once, nothing is imported.

    Raises:
        DashboardsError: not every object was stored.
        ServerUnavailable: it does not get ready in time.
        ConfigError: the URL, the certificate or the user cannot be used.
    """
    from dashboards.importer import Dashboards
    from dashboards.saved_objects import saved_objects

    url = settings.dashboards_url.get_secret_value()
    if not url:
        return "dashboards: not imported, FRAUD_DASHBOARDS_URL is empty"
    server = Dashboards(
        url,
        username=settings.opensearch_username,
        password=settings.opensearch_password.get_secret_value(),
        ca_path=settings.opensearch_ssl_ca,
    )
    if not patience_s and not server.is_there():
        return "dashboards: not imported, nothing answers at FRAUD_DASHBOARDS_URL; later: fraudstream dashboards import"
    server.wait(patience_s or settings.startup_wait_s)
    objects = saved_objects(settings.index_prefix, settings.console_url)
    server.store(objects)
    return f"dashboards: {len(objects)} objects imported"
