"""Two models side by side, and the gates before one of them decides."""

# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it, so that --help answers at once
from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
import typer

from fraudstream.commands_registry import (
    FRAUD,
    AsJson,
    Name,
    gate_table,
    list_models,
    now_ms,
    open_registry,
    plain_table,
    pull,
    register,
    rollback,
    show,
)
from fraudstream.commands_roles import logged_settings
from fraudstream.commands_rules import wide_console, write_page

if TYPE_CHECKING:
    from lifecycle.gates import Gate
    from lifecycle.registry import Registry, Version
    from streams.settings import Settings

_PATIENCE_S: Final = 3.0
Features = Annotated[
    Path | None, typer.Option("--features", help="Labelled feature table: both models are measured on its last part.")
]


def register_commands(app: typer.Typer) -> None:
    """Add the commands of models with names."""
    model = typer.Typer(no_args_is_help=True, help="Registered models.")
    for command in (register, show, compare, promote, rollback, pull):
        model.command()(command)
    model.command("list")(list_models)
    app.add_typer(model, name="model")


def compare(
    champion: Annotated[str, typer.Argument(help="Model in force.")] = "champion",
    challenger: Annotated[str, typer.Argument(help="Other model.")] = "challenger",
    features: Features = None,
    outcomes: Annotated[
        str | None, typer.Option(help="Outcomes that both answered: `topic`, or a file (JSON lines, Parquet).")
    ] = None,
    labels: Annotated[str, typer.Option(help="What became of them: `topic`, `none`, or a file.")] = "topic",
    rows: Annotated[int, typer.Option(min=1, help="Newest outcomes of the topic to read.")] = 100_000,
    as_of: Annotated[
        str, typer.Option(help="Moment to look back from, RFC 3339; newest: the newest outcome's.")
    ] = "newest",
    maturity_days: Annotated[
        float | None, typer.Option(min=0, help="Days that labels take to come; without: of the plan.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap.")] = 1,
    html: Annotated[Path | None, typer.Option(help="File for the report; replaced.")] = None,
    name: Name = FRAUD,
    *,
    as_json: AsJson = False,
) -> None:
    """Compare two models: by their registered figures, on a labelled table, or on live traffic that both answered.

    Example: fraudstream model compare champion challenger --outcomes topic --labels topic --html shadow.html
    """
    settings = logged_settings()
    registry = open_registry(settings, name)
    sides = [registry.find(which) for which in (champion, challenger)]
    if outcomes is None:
        _compare_figures(registry, sides, features, as_json=as_json)
        return
    from lifecycle.looking import moment_of, read_traffic, read_truth
    from lifecycle.plan import load_plan
    from lifecycle.shadow import compare as compare_live
    from lifecycle.shadow_view import html as page
    from lifecycle.shadow_view import render
    from lifecycle.truth import matured

    plan = load_plan(settings.lifecycle)
    traffic, truth = read_traffic(settings, outcomes, rows), read_truth(settings, labels)
    days = plan.retrain.maturity_days if maturity_days is None else maturity_days
    known = matured(traffic, truth, moment_of(as_of, traffic), days)
    found = compare_live(traffic, known, sides[0].model, sides[1].model, seed=seed)
    if as_json:
        typer.echo(msgspec.json.encode(found))
    else:
        wide_console().print(render(found))
    if html is not None:
        write_page(html, page(found))


def _compare_figures(registry: Registry, sides: list[Version], features: Path | None, *, as_json: bool) -> None:
    if features is None:
        figures = [registry.metrics(one) for one in sides]
        told = "as registered: each on the test part of its own history"
    else:
        from lifecycle.gates import measured_on
        from scoring.model import Model

        models = {str(one.number): Model.load(registry.fetch(one)) for one in sides}
        by_number, told = measured_on(features, models)
        figures = [by_number[str(one.number)] for one in sides]
    if as_json:
        typer.echo(msgspec.json.encode({"measured": told, **{s.model: f for s, f in zip(sides, figures, strict=True)}}))
        return
    table = plain_table(told, ("", *(f"{one.number} {one.model}" for one in sides), "difference"))
    for key in sorted(figures[0].keys() | figures[1].keys()):
        one, two = (side.get(key) for side in figures)
        gone = "-" if one is None or two is None else f"{two - one:+.4f}"
        table.add_row(key, *("-" if figure is None else f"{figure:.4f}" for figure in (one, two)), gone)
    wide_console().print(table)


def promote(
    which: Annotated[str, typer.Argument(help="Alias, number, or version as in outcomes.")] = "challenger",
    features: Features = None,
    force: Annotated[str, typer.Option(help="Reason to promote it although a gate is not passed; recorded.")] = "",
    name: Name = FRAUD,
    *,
    as_json: AsJson = False,
) -> None:
    """Let a model decide, if it passes the gates of FRAUD_LIFECYCLE; running workers take it within seconds.

    The gate of feature parity needs FRAUD_REDIS_URL. Ends with 1 where a gate is not passed.

    Example: fraudstream model promote challenger --features features.parquet
    """
    from lifecycle.promotion import promote as decide

    settings = logged_settings()
    registry = open_registry(settings, name)
    version = registry.find(which)
    gates = find_gates(settings, registry, version, features)
    if not as_json:
        wide_console().print(gate_table(gates))
    decision = decide(registry, version, gates, now_ms=now_ms(), force=force.strip())
    if as_json:
        typer.echo(msgspec.json.encode(decision))
        return
    forced = f", by force: {decision.forced}" if decision.forced else ""
    before = "none" if decision.replaced is None else str(decision.replaced)
    typer.echo(f"{name} {version.number} ({version.model}) is the champion now, before: {before}{forced}")


def find_gates(settings: Settings, registry: Registry, version: Version, features: Path | None) -> list[Gate]:
    """Measure everything that the plan asks of a model."""
    from features.errors import ServerUnavailable
    from fraudstream.commands_state import prove_parity
    from lifecycle.gates import Gate, cost_gate, measured_on, metric_gates, parity_gate, sample_rows
    from lifecycle.plan import load_plan
    from lifecycle.registry import CHAMPION
    from scoring.model import Model

    plan = load_plan(settings.lifecycle).gates
    folder = registry.fetch(version)
    new = Model.load(folder)
    champion = registry.holder(CHAMPION)
    old = None if champion is None else Model.load(registry.fetch(champion))
    if features is not None:
        figures, told = measured_on(features, {"new": new, **({} if old is None else {"old": old})})
        measured, before = figures["new"], figures.get("old")
    else:
        measured, before, told = _registered_figures(registry, version, champion)
    gates = metric_gates(plan, measured, before, told)
    if plan.parity_transactions:
        cards = max(1, plan.parity_transactions // 200)
        try:
            found = prove_parity(settings, plan.parity_transactions, cards, seed=1, patience_s=_PATIENCE_S)
            gates.append(parity_gate(found))
        except ServerUnavailable as exc:
            gates.append(Gate("feature parity", passed=False, told=f"not proven: FRAUD_REDIS_URL: {exc}"))
    gates.append(cost_gate(plan, new, old, sample_rows(folder, seed=1), time.perf_counter))
    return gates


def _registered_figures(
    registry: Registry, version: Version, champion: Version | None
) -> tuple[dict[str, float], dict[str, float] | None, str]:
    """Figures of both on the challenger's test part, as `retrain` recorded them; else what each was registered with."""
    measured = registry.metrics(version)
    if champion is None:
        return measured, None, ""
    if version.tags.get("against") == champion.model:
        before = msgspec.json.decode(version.tags["against_metrics"], type=dict[str, float])
        return measured, before, "on the same rows, the test part of the new model"
    return measured, registry.metrics(champion), "each on the test part of its own history; --features measures both"
