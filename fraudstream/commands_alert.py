"""The `alert` role, and ways to try a routes file before it matters."""

# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it, so that --help answers at once
from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fraudstream.commands_roles import logged_settings, run

if TYPE_CHECKING:
    from streams.alert.plan import Channel, Plan, Route

_DRY_RUN_GROUP = "dry-run"


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command()(alert)


def alert(
    *,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Log what would be sent; under a consumer group and in a folder of its own"),
    ] = False,
    check: Annotated[bool, typer.Option("--check", help="Check the routes file, show what it says, and end")] = False,
    test: Annotated[bool, typer.Option("--test", help="Send a made-up alert to every channel, and end")] = False,
) -> None:
    """Tell people: the role that carries outcomes of `processed_transactions` to mail, chat, pagers and webhooks.

    Needs FRAUD_KAFKA_BOOTSTRAP and FRAUD_ALERTS. SIGTERM drains and ends it.

    Example: FRAUD_ALERTS=alerts.yaml fraudstream alert
    """
    from streams.alert.load import load_plan

    settings = logged_settings()
    plan = load_plan(Path(settings.alerts), os.environ)
    logged_settings(plan.secrets())
    if check:
        _show(plan)
        return
    if test:
        raise typer.Exit(_tested(plan))
    if dry_run or settings.alerts_dry_run:
        settings = settings.model_copy(
            update={
                "alerts_dry_run": True,
                "alerts_dir": str(Path(settings.alerts_dir) / _DRY_RUN_GROUP),
                "group_prefix": f"{settings.group_prefix}-{_DRY_RUN_GROUP}",
            }
        )
    run("alert", settings)


def _show(plan: Plan) -> None:
    for route in plan.routes:
        typer.echo(f"{route.name}: {_asked(route)} -> {', '.join(route.channels)}")
    for channel in plan.channels.values():
        typer.echo(f"{channel.name}: {_way(channel)}")


def _asked(route: Route) -> str:
    parts = [" or ".join(sorted(route.outcomes))]
    if route.rules:
        parts.append(f"by rule {' or '.join(sorted(route.rules))}")
    if route.currencies:
        parts.append(f"in {' or '.join(sorted(route.currencies))}")
    if route.min_score:
        parts.append(f"score from {route.min_score}")
    if route.min_amount:
        parts.append(f"amount from {route.min_amount}")
    return ", ".join(parts)


def _way(channel: Channel) -> str:
    parts = ["signed webhook" if channel.kind == "webhook" else "Apprise"]
    if channel.digest_ms:
        parts.append(f"a digest every {channel.digest_ms // 1000} s")
    if channel.quiet is not None:
        parts.append(f"quiet hours ({channel.quiet.zone})")
    return ", ".join(parts)


def _tested(plan: Plan) -> int:
    """Send to every channel; the exit code."""
    import asyncio

    from features.errors import FraudstreamError, ServerUnavailable
    from streams.alert.courier import Courier
    from streams.alert.message import sample
    from streams.alert.role import make_senders
    from streams.roles import now_ms

    failed = 0
    for name, sender in make_senders(plan, dry_run=False).items():
        try:
            asyncio.run(Courier(sender).carry(sample(name), now_ms()))
        except FraudstreamError as exc:
            failed += 1
            typer.echo(f"{name}: failed: {exc}", file=sys.stderr)
        else:
            typer.echo(f"{name}: delivered")
    return ServerUnavailable.exit_code if failed else 0
