"""Models with names: register, list, show, roll back, pull."""

# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it, so that --help answers at once
from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
import typer
from rich import box
from rich.table import Table

from features.errors import ModelError
from fraudstream.commands_roles import logged_settings
from fraudstream.commands_rules import wide_console

if TYPE_CHECKING:
    from lifecycle.gates import Gate
    from lifecycle.registry import Registry
    from streams.settings import Settings

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Which = Annotated[str, typer.Argument(help="Alias, number, or version as in outcomes.")]
Name = Annotated[str, typer.Option("--name", help="Of the registered model.")]
FRAUD: Final = "fraud"
_SHOWN: Final = ("average_precision", "recall_at_0.003", "recall_2_at_0.003", "value_detection_rate", "card_precision")


def open_registry(settings: Settings, name: str = FRAUD) -> Registry:
    """The registry that the settings name."""
    from lifecycle.registry import Registry

    return Registry(settings.registry.get_secret_value(), Path(settings.registry_dir), name)


def register(
    folder: Annotated[Path, typer.Argument(help="Model folder, as `fraudstream train` writes it.")],
    alias: Annotated[
        list[str] | None, typer.Option("--as", help="Alias that it holds from now on; only the first champion so.")
    ] = None,
    name: Name = FRAUD,
    *,
    as_json: AsJson = False,
) -> None:
    """Take a model into the registry, with its figures, files and origin.

    Example: fraudstream model register model --as champion
    """
    from lifecycle.registry import CHAMPION

    settings = logged_settings()
    registry = open_registry(settings, name)
    aliases = alias or []
    if CHAMPION in aliases and registry.holder(CHAMPION) is not None:
        raise ModelError("there is a champion already; register without --as, then: fraudstream model promote")
    made = registry.register(folder, ruleset=ruleset_version(settings))
    for one in aliases:
        registry.call(one, made)
    if as_json:
        typer.echo(msgspec.json.encode(registry.find(str(made.number))))
        return
    held = f", {', '.join(aliases)}" if aliases else ""
    typer.echo(f"{name} {made.number}: {made.model}{held}")


def ruleset_version(settings: Settings) -> str:
    """Version of the rules in force; `none` where there are none."""
    from scoring.policy import NO_RULES
    from scoring.rules.load import load_rules

    return load_rules(Path(settings.rules)).version if settings.rules else NO_RULES


def list_models(name: Name = FRAUD, *, as_json: AsJson = False) -> None:
    """List the models of the registry, the newest first.

    Example: fraudstream model list
    """
    registry = open_registry(logged_settings(), name)
    versions = registry.versions()
    if as_json:
        typer.echo(msgspec.json.encode(versions))
        return
    if not versions:
        typer.echo("no model is registered; take one in with: fraudstream model register FOLDER")
        return
    table = plain_table(f"Models named {name}", ("", "model", "held as", "registered", *_SHOWN, "decided"))
    for one in versions:
        figures = registry.metrics(one)
        shown = (f"{figures[key]:.3f}" if key in figures else "-" for key in _SHOWN)
        decided = one.tags.get("decision", "-") + (" (forced)" if one.tags.get("forced") else "")
        table.add_row(str(one.number), one.model, ", ".join(one.aliases), _at(one.created_ms), *shown, decided)
    wide_console().print(table)


def show(which: Which, name: Name = FRAUD, *, as_json: AsJson = False) -> None:
    """Show everything that is known of a model: origin, figures, gates.

    Example: fraudstream model show champion
    """
    registry = open_registry(logged_settings(), name)
    one = registry.find(which)
    figures = registry.metrics(one)
    if as_json:
        typer.echo(msgspec.json.encode({**msgspec.to_builtins(one), "metrics": figures}))
        return
    table = plain_table(f"{name} {one.number}: {one.model}", ("", ""))
    table.add_row("held as", ", ".join(one.aliases) or "-")
    table.add_row("registered", _at(one.created_ms))
    table.add_row("folder", str(registry.fetch(one)))
    for key, value in sorted(one.tags.items()):
        if key != "gates":
            table.add_row(key, value)
    for key, figure in sorted(figures.items()):
        table.add_row(key, f"{figure:.4f}")
    wide_console().print(table)
    if "gates" in one.tags:
        from lifecycle.gates import Gate

        wide_console().print(gate_table(msgspec.json.decode(one.tags["gates"], type=list[Gate])))


def rollback(
    reason: Annotated[str, typer.Option(help="Why; recorded.")] = "",
    name: Name = FRAUD,
    *,
    as_json: AsJson = False,
) -> None:
    """Let the champion before decide again; running workers take it within seconds.

    Example: fraudstream model rollback --reason "too many false alarms in Italy"
    """
    from lifecycle.promotion import roll_back

    now, before = roll_back(open_registry(logged_settings(), name), now_ms=now_ms(), reason=reason)
    if as_json:
        typer.echo(msgspec.json.encode({"champion": now.number, "model": now.model, "before": before.number}))
    else:
        typer.echo(f"{name} {now.number} ({now.model}) is the champion again, not {before.number} ({before.model})")


def pull(
    name: Name = FRAUD,
    every: Annotated[
        float | None, typer.Option(min=1, help="Seconds from one look to the next; without: once.")
    ] = None,
) -> None:
    """Take the models that aliases mean from the registry to this machine: for workers beside a registry on a server.

    Example: fraudstream model pull --every 10
    """
    import structlog

    from features.errors import ServerUnavailable

    settings = logged_settings()
    while True:
        try:
            moved = open_registry(settings, name).pull()
        except ServerUnavailable as exc:
            if every is None:
                raise
            structlog.get_logger(__name__).warning("registry_away", problem=str(exc), variable="FRAUD_REGISTRY")
            moved = {}
        for alias, version in moved.items():
            typer.echo(f"{name}@{alias}: {version.number} ({version.model})")
        if every is None:
            return
        time.sleep(every)


def gate_table(gates: list[Gate]) -> Table:
    """Gates for people."""
    table = plain_table("Gates", ("", "gate", "found"))
    for gate in gates:
        table.add_row("[green]passed[/green]" if gate.passed else "[red]failed[/red]", gate.name, gate.told)
    return table


def now_ms() -> int:
    """The clock of the commands, epoch milliseconds."""
    return time.time_ns() // 1_000_000


def _at(moment_ms: int) -> str:
    from features.times import format_rfc3339

    return format_rfc3339(moment_ms)[:16].replace("T", " ")


def plain_table(title: str, heads: tuple[str, ...]) -> Table:
    """A table without frames; what does not fit is folded."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE, pad_edge=False)
    for head in heads:
        table.add_column(head, overflow="fold")
    return table
