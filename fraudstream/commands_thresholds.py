"""Thresholds by expected cost: `fraudstream thresholds`."""

# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it, so that --help answers at once
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
import typer

from features.errors import ConfigError, ModelError
from fraudstream.commands_model import History, without_extra
from fraudstream.commands_rules import ModelFolder, Page, Table, feature_table, wide_console, write_page

if TYPE_CHECKING:
    from scoring.manifest import Costs, Manifest

_HEADER: Final = "# Written by `fraudstream thresholds`; what each number means: docs/rules.md, thresholds.\n"


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(thresholds)


def thresholds(
    history: History,
    review_cost: Annotated[float, typer.Option(min=0.01, help="Price of one review, major units.")],
    decline_cost: Annotated[float, typer.Option(min=0.01, help="Price of one wrongly declined customer.")],
    reviews_per_day: Annotated[
        float | None, typer.Option(min=0, help="Reviews that can be made a day; without: any number.")
    ] = None,
    recovered: Annotated[
        float, typer.Option(min=0.01, max=1, help="Share of a fraudulent amount that a review saves.")
    ] = 1.0,
    model: ModelFolder = None,
    table: Table = None,
    html: Page = None,
    *,
    write_model: Annotated[bool, typer.Option("--write-model", help="Write them into the model's manifest.")] = False,
    write_rules: Annotated[
        Path | None, typer.Option(help="Write them into this file of a rule set, which holds nothing else.")
    ] = None,
) -> None:
    """Find thresholds that depend on the amount, from what reviews and mistakes cost, and show the trade-off.

    Without a --write option nothing is changed.

    Example: fraudstream thresholds --history history --review-cost 4 --decline-cost 60 --reviews-per-day 200
    """
    try:
        from scoring import tradeoff
        from scoring.dataset import load_dataset
    except ModuleNotFoundError as error:
        raise without_extra(error) from error
    from scoring.manifest import Costs
    from scoring.model import Model
    from streams.settings import load_settings

    folder = model or Path(load_settings().model)
    loaded = Model.load(folder)
    prices = Costs(review=review_cost, decline=decline_cost, recovered=recovered)
    with feature_table(history, table) as features:
        data = load_dataset(features)
    choose, judge = tradeoff.parts(data, loaded.predict(data.features), loaded.manifest)
    found = tradeoff.tradeoff(choose, judge, prices, reviews_per_day, loaded.thresholds)
    wide_console().print(tradeoff.render(found))
    typer.echo(
        f"a place in the review queue is worth {found.costs.queue:,.2f}; "
        f"the model expects {found.expected_frauds:,.0f} frauds here, there are {found.frauds:,}"
    )
    if html is not None:
        write_page(html, tradeoff.html(found))
    if write_model:
        typer.echo(f"model {_into_model(folder, loaded.manifest, found.costs)} in {folder}")
    if write_rules is not None:
        typer.echo(f"rule set {_into_rules(write_rules, found.costs)} in {write_rules}")


def _into_model(folder: Path, manifest: Manifest, costs: Costs) -> str:
    from scoring.manifest import MANIFEST_FILE

    limits = msgspec.structs.replace(manifest.thresholds, costs=costs)
    changed = msgspec.structs.replace(manifest, thresholds=limits)
    unfinished = folder / f".{MANIFEST_FILE}.new"
    try:
        unfinished.write_bytes(changed.encode())
        unfinished.replace(folder / MANIFEST_FILE)
    except OSError as exc:
        raise ModelError(f"cannot write the model to {folder}: {exc.strerror or exc}") from exc
    return changed.version


def _into_rules(file: Path, costs: Costs) -> str:
    from scoring.rules.load import load_rules

    if file.exists() and load_rules(file).rules:
        raise ConfigError(f"--write-rules: {file} holds rules; name a file of its own, in the same folder")
    lines = [f"    {name}: {getattr(costs, name)!r}" for name in ("review", "decline", "queue", "recovered")]
    text = "\n".join((f"{_HEADER}thresholds:", "  costs:", *lines, ""))
    unfinished = file.with_name(f".{file.name}.new")
    try:
        unfinished.write_text(text, encoding="utf-8")
        version = load_rules(unfinished).version
        unfinished.replace(file)
    except OSError as exc:
        raise ConfigError(f"--write-rules: cannot write {file}: {exc.strerror or exc}") from exc
    return version
