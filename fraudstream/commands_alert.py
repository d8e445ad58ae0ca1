"""The `alert` role, and ways to try a routes file before it matters."""

# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it, so that --help answers at once
from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from features.errors import ConfigError
from fraudstream.commands_roles import logged_settings, run

if TYPE_CHECKING:
    from streams.alert.plan import Channel, Plan, Route
    from streams.settings import Settings

_DRY_RUN_GROUP = "dry-run"


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    # A role by itself, and a group of what is done beside it.
    group = typer.Typer(invoke_without_command=True)
    group.callback()(alert)
    group.command()(resend)
    app.add_typer(group, name="alert")


def alert(
    context: typer.Context,
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
    if context.invoked_subcommand is not None:
        if dry_run or check or test:
            raise ConfigError(f"alert {context.invoked_subcommand}: its own options stand behind it")
        return
    settings, plan = _in_force()
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


def resend(
    *,
    channel: Annotated[list[str] | None, typer.Option(help="Only letters of this channel; may be repeated.")] = None,
    reason: Annotated[list[str] | None, typer.Option(help="Only of this reason; may be repeated.")] = None,
    to: Annotated[str, typer.Option(help="Send them to this channel, not each to its own.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count the letters, and send nothing.")] = False,
) -> None:
    """Send dead letters of the alert role again, under their own ids; what is not delivered stays one.

    Needs FRAUD_ALERTS and FRAUD_ALERTS_DIR. The role may run. Ends with 69 where a channel failed.

    Example: fraudstream alert resend --channel desk --reason gave_up
    """
    import asyncio

    from features.errors import ServerUnavailable
    from fraudstream.progress import progress
    from streams.alert.resend import Choice, listing
    from streams.alert.resend import resend as send_again
    from streams.alert.role import make_senders
    from streams.roles import now_ms

    settings, plan = _in_force()
    for name in (*(channel or ()), *([to] if to else [])):
        # A letter of a channel that is gone can go to another one.
        if name not in plan.channels and (name == to or not to):
            raise ConfigError(f"FRAUD_ALERTS: {settings.alerts} has no channel {name}")
    choice = Choice(frozenset(channel or ()), frozenset(reason or ()), to)
    folder = Path(settings.alerts_dir)
    if dry_run:
        for (name, why), count in sorted(listing(folder, choice).items()):
            typer.echo(f"{name}: {count:,} {why}")
        return
    with progress("resend") as show:
        resent = asyncio.run(send_again(folder, make_senders(plan, dry_run=False), choice, now_ms(), show))
    for (name, result), count in sorted(resent.counts.items()):
        problem = f" ({resent.problems[name]})" if result in {"refused", "away"} and name in resent.problems else ""
        typer.echo(f"{name}: {count:,} {result}{problem}")
    if resent.unreadable:
        typer.echo(f"{resent.unreadable:,} lines are no letters; they stay", err=True)
    if resent.problems:
        raise typer.Exit(ServerUnavailable.exit_code)


def _in_force() -> tuple[Settings, Plan]:
    from streams.alert.load import load_plan

    settings = logged_settings()
    plan = load_plan(Path(settings.alerts), os.environ)
    return logged_settings(plan.secrets()), plan


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
