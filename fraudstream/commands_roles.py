"""The roles, the setup of what they need, and the settings in force."""

# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it, so that --help answers at once
from __future__ import annotations

import signal
import sys
from collections.abc import Iterable
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

if TYPE_CHECKING:
    from sinks.topics import TopicChange
    from streams.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (setup, score, index, config):
        app.command()(command)


def setup(
    *,
    grow: Annotated[
        bool,
        typer.Option(
            "--grow",
            help="Give topics that have fewer partitions than FRAUD_PARTITIONS more; then run: fraudstream replay",
        ),
    ] = False,
) -> None:
    """Make the topics, the index templates and the dashboards; called again, it changes nothing.

    Needs FRAUD_KAFKA_BOOTSTRAP and FRAUD_OPENSEARCH_URL; dashboards go to FRAUD_DASHBOARDS_URL where something answers.
    Before --grow, stop the score roles.

    Example: fraudstream setup
    """
    from console.audit_index import setup_audit_index
    from fraudstream.commands_indices import store_dashboards
    from sinks.index_template import setup_index
    from sinks.retention import ensure_policy
    from sinks.topics import ensure_topics
    from streams.index import opensearch_client

    settings = logged_settings()
    changes = ensure_topics(
        settings.kafka(),
        prefix=settings.topic_prefix,
        partitions=settings.partitions,
        replication_factor=settings.replication_factor,
        grace_ms=settings.grace_s * 1000,
        grow=grow,
    )
    for change in changes:
        typer.echo(f"topic {change.topic}: {_said(change, settings.partitions)}")
    if any(change.grown_from for change in changes):
        typer.echo("cards have moved: with the score roles stopped, run: fraudstream replay")
    client = opensearch_client(settings)
    try:
        setup_index(client, settings.index_prefix)
        setup_audit_index(client, settings.index_prefix)
        typer.echo(f"index templates {settings.index_prefix}processed_transactions and others: as it should be")
        if settings.retention_days:
            typer.echo(f"retention policy: {ensure_policy(client, settings.index_prefix, settings.retention_days)}")
    finally:
        client.close()
    typer.echo(store_dashboards(settings, 0))


def _said(change: TopicChange, partitions: int) -> str:
    if change.created:
        return "created"
    said = [f"{name}={value}" for name, value in change.configured.items()]
    if change.grown_from:
        said.append(f"grown from {change.grown_from} to {partitions} partitions")
    return ", ".join(said) or "as it should be"


def score() -> None:
    """Score transactions: the role that reads `transactions` and answers on `processed_transactions`.

    Needs FRAUD_KAFKA_BOOTSTRAP, FRAUD_REDIS_URL and FRAUD_MODEL. SIGTERM drains and ends it.

    Example: FRAUD_MODEL=model fraudstream score
    """
    from fraudstream.pulled import pull_if_remote

    settings = logged_settings()
    pull_if_remote(settings)
    run("score", settings)


def index() -> None:
    """Index outcomes: the role that carries `processed_transactions` to OpenSearch.

    Needs FRAUD_KAFKA_BOOTSTRAP and FRAUD_OPENSEARCH_URL. SIGTERM drains and ends it.

    Example: fraudstream index
    """
    run("index", logged_settings())


def config() -> None:
    """Print the settings in force as lines of a `.env` file, secrets masked.

    Example: FRAUD_PARTITIONS=8 fraudstream config
    """
    from fraudstream.in_force import lines
    from streams.settings import load_settings

    for line in lines(load_settings()):
        typer.echo(line)


def run(role: Literal["score", "index", "alert"], settings: Settings) -> NoReturn:
    """Run a role, and end as it does."""
    # Nothing is in hand before the role listens to signals itself.
    signal.signal(signal.SIGTERM, _stopped_early)
    # XGBoost takes scikit-learn along wherever it is installed, redis-py OpenTelemetry: much of a role's start, and no
    # role needs them.
    for module in ("sklearn", "opentelemetry"):
        sys.modules.setdefault(module, None)  # type: ignore[arg-type]  # what Python itself reads as "not there"
    from streams.app import run_role

    raise typer.Exit(run_role(role, settings))


def _stopped_early(_number: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(0)


def logged_settings(more_secrets: Iterable[str] = ()) -> Settings:
    """The settings in force, and logging set up as they say; `more_secrets` stand in no line either."""
    from pydantic import SecretStr

    from fraudstream.logs import configure_logging
    from streams.settings import load_settings

    settings = load_settings()
    # URLs hold passwords too: those are found by their form.
    secrets = [
        value.get_secret_value() for name, value in settings if isinstance(value, SecretStr) and "url" not in name
    ]
    configure_logging(settings.log_level, [*more_secrets, *(part for secret in secrets for part in secret.split(","))])
    return settings
