"""Why: what a model looks at in a history, and every contribution to one outcome."""

# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it, so that --help answers at once
from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import typer

from features.errors import ConfigError, HistoryError
from fraudstream.commands_rules import ModelFolder, Table, feature_table, wide_console, write_page
from fraudstream.progress import progress

if TYPE_CHECKING:
    from rich.console import RenderableType

    from scoring.explanation import Explanation
    from scoring.model import Model

T = TypeVar("T")

_STDIN: Final = Path("-")


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command()(explain)


def explain(
    *,
    history: Annotated[
        Path | None, typer.Option(help="History to explain the model on: a Parquet file or a folder of them.")
    ] = None,
    outcome: Annotated[
        Path | None, typer.Option(help="Or one outcome as JSON, from the topic or from OpenSearch; - is stdin.")
    ] = None,
    model: ModelFolder = None,
    table: Table = None,
    out: Annotated[Path | None, typer.Option(help="File for the report as HTML with plots; replaced.")] = None,
    rows: Annotated[
        int, typer.Option(min=100, max=1_000_000, help="Transactions whose contributions are computed, at most.")
    ] = 50_000,
    seed: Annotated[int, typer.Option(min=0, help="Of the sample: the same seed gives the same report.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Everything as JSON.")] = False,
) -> None:
    """Explain a model on a history, or one outcome: exact contributions, measured against approved transactions.

    Example: fraudstream explain --model model --history history --out report.html
    """
    if (history is None) == (outcome is None):
        raise ConfigError("give either --history or --outcome")
    if outcome is not None and table is not None:
        raise ConfigError("--features belongs to --history")
    loaded = _model(model)
    if history is not None:
        from scoring import explanation_view

        found = _of_history(history, table, loaded, rows, seed)
        _tell(found, explanation_view.render, explanation_view.html, out, as_json=as_json)
    elif outcome is not None:
        from scoring import explained_outcome

        one = explained_outcome.explain_outcome(_read(outcome), str(outcome), loaded)
        _tell(one, explained_outcome.render, explained_outcome.html, out, as_json=as_json)


def _tell(
    found: T, render: Callable[[T], RenderableType], html: Callable[[T], str], out: Path | None, *, as_json: bool
) -> None:
    import msgspec

    if as_json:
        typer.echo(msgspec.json.encode(found))
    else:
        wide_console().print(render(found))
    if out is not None:
        write_page(out, html(found))


def _model(folder: Path | None) -> Model:
    from scoring.model import Model
    from streams.settings import load_settings

    return Model.load(folder or Path(load_settings().model))


def _of_history(history: Path, table: Path | None, model: Model, rows: int, seed: int) -> Explanation:
    from scoring.explanation import WANTED, explain_history
    from scoring.rules.history_rows import history_batches
    from streams.settings import load_settings

    key = load_settings().pan_key.get_secret_value().encode() or None
    with feature_table(history, table) as features, progress("read") as read, progress("explain") as explained:
        batches = history_batches(features, history, model, WANTED, pan_key=key)
        return explain_history(
            batches, model, rows=rows, seed=seed, read=lambda done: read(done, None), explained=explained
        )


def _read(file: Path) -> bytes:
    try:
        return sys.stdin.buffer.read() if file == _STDIN else file.read_bytes()
    except OSError as exc:
        raise HistoryError(f"--outcome: cannot read {file}: {exc.strerror or exc}") from exc
