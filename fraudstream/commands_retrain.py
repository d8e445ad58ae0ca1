"""Train the next model when it is due: `fraudstream retrain`."""

# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it, so that --help answers at once
from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from features.errors import HistoryError, ModelError
from fraudstream.commands_model import build_table, without_extra
from fraudstream.commands_promotion import find_gates
from fraudstream.commands_registry import (
    FRAUD,
    AsJson,
    Name,
    gate_table,
    now_ms,
    open_registry,
    ruleset_version,
)
from fraudstream.commands_roles import logged_settings
from fraudstream.commands_rules import wide_console
from fraudstream.commands_watch import AsOf, Labels, Outcomes, Rows
from fraudstream.progress import progress

if TYPE_CHECKING:
    from lifecycle.drift import Drift
    from lifecycle.plan import Plan
    from lifecycle.registry import Registry, Version
    from lifecycle.traffic import Traffic
    from lifecycle.truth import Truth


class Retrained(msgspec.Struct, frozen=True):
    """What became of it.

    Attributes:
        reasons: why a new model was due; empty where none was.
        number: of the new model in the registry; None where none was made.
        model: its version.
        promoted: whether it decides now.
        notes: what else was found.
    """

    reasons: list[str]
    number: int | None
    model: str
    promoted: bool
    notes: list[str]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(retrain)


def retrain(
    history: Annotated[
        Path | None, typer.Option(help="Labelled history from before; without: live traffic alone.")
    ] = None,
    outcomes: Outcomes = "topic",
    labels: Labels = "topic",
    rows: Rows = 500_000,
    look_rows: Annotated[int, typer.Option(min=1, help="The newest of them, in which drift is looked for.")] = 50_000,
    as_of: AsOf = "newest",
    name: Name = FRAUD,
    *,
    if_needed: Annotated[bool, typer.Option("--if-needed", help="Only where a rule says so.")] = False,
    promote: Annotated[bool, typer.Option("--promote", help="Promote it, if it passes the gates.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train a model on a history and on live traffic up to now, and leave it in the registry as the challenger.

    Live transactions come with the features that were served, and with labels that are known by now.

    Example: fraudstream retrain --if-needed --history history
    """
    try:
        from scoring import training as _training  # noqa: F401 - to say early that an extra is missing
    except ModuleNotFoundError as error:
        raise without_extra(error) from error
    from lifecycle.looking import read_traffic, read_truth
    from lifecycle.plan import load_plan

    settings = logged_settings()
    plan, registry = load_plan(settings.lifecycle), open_registry(settings, name)
    traffic, truth = read_traffic(settings, outcomes, rows), read_truth(settings, labels)
    due, notes = _due(registry, plan, (traffic, truth, as_of), look_rows)
    if if_needed and not due:
        _tell(Retrained([], None, "", promoted=False, notes=notes), as_json=as_json)
        return
    made, more = _train(registry, plan, history, (traffic, truth, as_of), ruleset_version(settings))
    promoted = False
    if promote:
        from lifecycle.promotion import promote as decide

        gates = find_gates(settings, registry, made, None)
        if not as_json:
            wide_console().print(gate_table(gates))
        promoted = decide(registry, made, gates, now_ms=now_ms()).accepted
    _tell(Retrained(due or ["asked for"], made.number, made.model, promoted, notes + more), as_json=as_json)


def _due(
    registry: Registry, plan: Plan, live: tuple[Traffic, Truth, str], look_rows: int
) -> tuple[list[str], list[str]]:
    """Why a new model is due, and what could not be told."""
    from lifecycle.looking import look, new_labels
    from lifecycle.registry import CHAMPION
    from lifecycle.retraining import Facts, reasons
    from lifecycle.traffic import newest

    traffic, truth, as_of = live
    champion, drift, labels = registry.holder(CHAMPION), None, 0
    notes: list[str] = []
    if champion is not None:
        folder = registry.fetch(champion)
        try:
            drift = _look(look(folder, plan, newest(traffic, look_rows), truth, as_of), notes)
            labels = new_labels(truth, traffic, folder)
        except (HistoryError, ModelError) as exc:
            notes.append(f"drift was not measured: {exc}")
    registered_ms = None if champion is None else champion.created_ms
    return reasons(plan.retrain, Facts(registered_ms, drift, labels, now_ms())), notes


def _look(found: Drift, notes: list[str]) -> Drift:
    notes += [f"{alarm.kind} of {alarm.subject}: {alarm.told}" for alarm in found.alarms]
    return found


def _train(
    registry: Registry, plan: Plan, history: Path | None, live: tuple[Traffic, Truth, str], ruleset: str
) -> tuple[Version, list[str]]:
    """Train, register, call it the challenger; what was left out in words."""
    from lifecycle.gates import measured_on
    from lifecycle.live_table import join_tables
    from lifecycle.looking import moment_of
    from lifecycle.registry import CHALLENGER, CHAMPION
    from lifecycle.truth import matured
    from scoring import training
    from scoring.model import Model

    traffic, truth, as_of = live
    rules = plan.retrain
    known = matured(traffic, truth, moment_of(as_of, traffic), rules.maturity_days)
    with tempfile.TemporaryDirectory(prefix="fraudstream-") as folder:
        table, out = Path(folder) / "table.parquet", Path(folder) / "model"
        base = None
        if history is not None:
            base = Path(folder) / "history.parquet"
            build_table(history, base)
        joined = join_tables(base, traffic, known, table)
        split = training.SplitOptions(*rules.shares(joined.days), rules.gap_days)
        with progress("train") as show:
            training.train(table, out, seed=rules.seed, split=split, progress=show)
        extra: dict[str, str] = {}
        champion = registry.holder(CHAMPION)
        if champion is not None:
            models = {"new": Model.load(out), "old": Model.load(registry.fetch(champion))}
            figures, _ = measured_on(table, models)
            extra = {"against": champion.model, "against_metrics": msgspec.json.encode(figures["old"]).decode()}
        made = registry.register(out, ruleset=ruleset, extra=extra)
    registry.call(CHALLENGER, made)
    told = [f"{joined.history:,} rows of the history, {joined.live:,} live transactions"]
    counts = {"without a known answer": joined.unknown, "without all features": joined.incomplete,
              "that the history has already": joined.repeated}  # fmt: skip
    told += [f"left out: {count:,} live transactions {why}" for why, count in counts.items() if count]
    return registry.find(str(made.number)), told


def _tell(done: Retrained, *, as_json: bool) -> None:
    if as_json:
        typer.echo(msgspec.json.encode(done))
        return
    for line in done.notes:
        typer.echo(f"  {line}")
    if done.number is None:
        typer.echo("no rule asks for a new model")
        return
    decides = "it decides now" if done.promoted else "it decides nothing yet: fraudstream model compare, then promote"
    typer.echo(f"because of {'; '.join(done.reasons)}:")
    typer.echo(f"model {done.number} ({done.model}) is the challenger; {decides}")
