"""Rules: check them, and see what they would have done, before they decide anything."""

# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it, so that --help answers at once
from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console

from features.errors import ConfigError, HistoryError
from fraudstream.commands_model import build_table
from fraudstream.progress import progress

if TYPE_CHECKING:
    from scoring.model import Model
    from scoring.rules.backtest import Batch, Candidate
    from scoring.rules.history_rows import Wanted
    from streams.settings import Settings

ModelFolder = Annotated[Path | None, typer.Option(help="Model folder; without: FRAUD_MODEL.")]
Table = Annotated[
    Path | None, typer.Option("--features", help="Feature table of the history, if `fraudstream features` made one.")
]
Page = Annotated[Path | None, typer.Option("--html", help="File for the report with plots; replaced.")]
_NO_RULES: Final = "the model alone"
_WIDE: Final = 160


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    rules = typer.Typer(no_args_is_help=True, help="Rule files.")
    rules.command()(check)
    app.add_typer(rules, name="rules")
    app.command()(backtest)


# The name of a group with one command: without a callback typer would make the command of the group.
def check(path: Annotated[Path, typer.Argument(help="Rule file, or a folder of them.")]) -> None:
    """Check rule files: every problem with file, line and rule; ends with 65 if there is one.

    Example: fraudstream rules check rules
    """
    from scoring.rules.load import load_rules

    rules = load_rules(path)
    off = sum(not rule.enabled for rule in rules.rules)
    shadow = sum(rule.enabled and rule.shadow for rule in rules.rules)
    entries = sum(len(one.values) for one in rules.lists.values())
    typer.echo(
        f"{rules.version}: {len(rules.rules)} rules ({shadow} shadow, {off} off), {rules.mode}; "
        f"{len(rules.lists)} lists, {entries:,} entries in files; the order in which they decide:"
    )
    for rule in rules.evaluated:
        typer.echo(f"  {rule.priority:>6}  {rule.id}  {rule.outcome}{' (shadow)' if rule.shadow else ''}")


def backtest(
    rules: Annotated[Path, typer.Option(help="New rule file, or folder of them.")],
    history: Annotated[Path | None, typer.Option(help="Labelled history: a Parquet file or a folder of them.")] = None,
    against: Annotated[
        Path | None, typer.Option(help="Rules in force; without: FRAUD_RULES, or the model alone.")
    ] = None,
    model: ModelFolder = None,
    table: Table = None,
    html: Page = None,
    outcomes: Annotated[
        tuple[str, str] | None,
        typer.Option(
            help="Instead of a history: outcomes in OpenSearch, from the one event time on and before the other.",
            metavar="FROM TO",
        ),
    ] = None,
    *,
    labelled: Annotated[
        bool, typer.Option("--labelled", help="Of --outcomes, only those that somebody said to be fraud or not.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show what rules and thresholds would have done to a history, against those in force.

    Lists in Redis (FRAUD_REDIS_URL) are taken as they are now. Outcomes in OpenSearch (FRAUD_OPENSEARCH_URL) have the
    labels that were given since; one without counts as ordinary.

    Example: fraudstream backtest --rules rules-new --against rules --history history --html report.html
    """
    from scoring.model import Model
    from scoring.rules.backtest import run_backtest
    from scoring.rules.backtest_view import html as page
    from scoring.rules.backtest_view import render
    from scoring.rules.history_rows import Wanted
    from streams.settings import load_settings

    if (history is None) == (outcomes is None):
        raise ConfigError("give either --history or --outcomes")
    if labelled and outcomes is None:
        raise ConfigError("--labelled goes with --outcomes; every row of a history has a label")
    settings = load_settings()
    new = _candidate(str(rules), settings)
    old = _candidate(str(against) if against else settings.rules, settings)
    loaded = Model.load(model or Path(settings.model))
    wanted = Wanted(new.columns | old.columns, new.texts | old.texts)
    with ExitStack() as stack:
        if history is not None:
            batches = _of_history(stack, history, table, loaded, wanted, settings)
        else:
            assert outcomes is not None
            batches = _of_outcomes(stack, outcomes, wanted, settings, labelled=labelled)
        show = stack.enter_context(progress("backtest"))
        report = run_backtest(batches, new, old, loaded.thresholds, lambda rows: show(rows, None))
    if as_json:
        import msgspec

        typer.echo(msgspec.json.encode(report))
    else:
        wide_console().print(render(report))
    if html is not None:
        write_page(html, page(report))


def _of_history(
    stack: ExitStack, history: Path, table: Path | None, model: Model, wanted: Wanted, settings: Settings
) -> Iterator[Batch]:
    from scoring.rules.history_rows import history_batches

    features = stack.enter_context(feature_table(history, table))
    key = settings.pan_key.get_secret_value().encode() or None
    return history_batches(features, history, model, wanted, pan_key=key)


def _of_outcomes(
    stack: ExitStack, span: tuple[str, str], wanted: Wanted, settings: Settings, *, labelled: bool
) -> Iterator[Batch]:
    from features.times import parse_rfc3339
    from streams.index import opensearch_client
    from streams.past_outcomes import outcome_batches

    since_ms, until_ms = (parse_rfc3339(text) for text in span)
    if since_ms is None or until_ms is None:
        raise ConfigError("--outcomes: two times as in 2026-01-01T00:00:00Z are expected")
    client = opensearch_client(settings)
    stack.callback(client.close)
    return outcome_batches(client, settings.index_prefix, wanted, since_ms, until_ms, labelled=labelled)


@contextmanager
def feature_table(history: Path, table: Path | None) -> Iterator[Path]:
    """The feature table that is there, or one that is built and removed again."""
    if table is not None:
        yield table
        return
    with tempfile.TemporaryDirectory(prefix="fraudstream-") as folder:
        made = Path(folder) / "features.parquet"
        build_table(history, made)
        yield made


def wide_console() -> Console:
    """A console for broad tables: as wide as the terminal, and wide where there is none."""
    console = Console()
    return console if console.is_terminal else Console(width=_WIDE)


def write_page(file: Path, text: str) -> None:
    """Write a report; raises HistoryError where that cannot be done."""
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise HistoryError(f"cannot write {file}: {exc.strerror or exc}") from exc
    typer.echo(f"report in {file}", err=True)


def _candidate(path: str, settings: Settings) -> Candidate:
    from scoring.rules.backtest import Candidate
    from scoring.rules.load import load_rules

    if not path:
        return Candidate(_NO_RULES, None)
    rules = load_rules(Path(path))
    members = {}
    if rules.redis_lists:
        from fraudstream.commands_lists import members_now

        members = members_now(rules.redis_lists, settings)
    return Candidate(path, rules, members)
