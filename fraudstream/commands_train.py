"""Training and evaluation: the work of a data scientist, no server needed."""

# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it, so that --help answers at once
from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from features.errors import ConfigError
from fraudstream.commands_model import History, without_extra
from fraudstream.progress import Show, progress
from fraudstream.tables import (
    AsOf,
    ByTime,
    Groups,
    LabelFiles,
    MappingFile,
    MaturityDays,
    label_options,
    prepare,
)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (train, evaluate):
        app.command()(command)


def train(
    history: History,
    out: Annotated[Path, typer.Option(help="Model folder; a model in it is replaced.")],
    mapping: MappingFile = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="Split fixed beforehand: 0.8 (the first 80 % of the rows train), DAY..DAY (train before, test from), "
            "DAY..DAY..DAY (test before), column (as the mapping says). Without: the mapping's, or by time with gaps."
        ),
    ] = None,
    labels: LabelFiles = None,
    as_of: AsOf = None,
    maturity_days: MaturityDays = None,
    review_fpr: Annotated[
        float, typer.Option(help="Share of ordinary transactions that may be reviewed or blocked.")
    ] = 0.003,
    block_fpr: Annotated[float, typer.Option(help="Share of them that may be blocked.")] = 0.0005,
    gap_days: Annotated[
        float, typer.Option(min=0, help="Days left out between training, validation and test: how late labels come.")
    ] = 7.0,
    search: Annotated[int, typer.Option(min=0, help="Trials of a search for parameters; 0: none.")] = 0,
    search_minutes: Annotated[float, typer.Option(min=0.01, help="No further trial begins after so long.")] = 30.0,
    search_store: Annotated[
        Path | None,
        typer.Option(help="SQLite file of the trials: interrupted, a search goes on. Without: beside --out."),
    ] = None,
    folds: Annotated[int, typer.Option(min=0, help="Folds of a cross-validation over time; 0: none.")] = 0,
    calibration: Annotated[str, typer.Option(help="beta, isotonic or none.")] = "beta",
    monotone: Annotated[
        list[str] | None,
        typer.Option(help="COLUMN=+1 or COLUMN=-1: the probability only rises or falls with it; may be repeated."),
    ] = None,
    trust_input: Annotated[
        list[str] | None, typer.Option(help="Input of the mapping that tells the label by itself, and may.")
    ] = None,
    rules: Annotated[Path | None, typer.Option(help="Rule files that the report holds the model against.")] = None,
    group: Groups = None,
    seed: Annotated[int, typer.Option(min=0, help="The same history and seed give the same bytes.")] = 1,
    *,
    refit: Annotated[
        bool, typer.Option("--refit", help="Grow the trees anew on training and validation part, once all is chosen.")
    ] = False,
    by_time: ByTime = False,
) -> None:
    """Train a model on a labelled history and report what it catches on its last weeks, unseen.

    Beside the model: report.html with plots, report.json, model-card.md.

    Example: fraudstream train --history history --out model
    """
    try:
        from scoring import training
    except ModuleNotFoundError as error:
        raise without_extra(error) from error
    from scoring.learning.calibrate import METHODS, method_of
    from scoring.report import render
    from scoring.rules.columns import TEXTS
    from scoring.rules.load import load_rules

    method = method_of(calibration)
    if method is None:
        raise ConfigError(f"--calibration must be one of {', '.join(METHODS)}")
    known = label_options(labels, as_of, maturity_days)
    ways = _constraints(monotone or ())
    rule_set = load_rules(rules) if rules is not None else None
    texts = sorted(frozenset(rule_set.columns) & frozenset(TEXTS)) if rule_set is not None else []
    store = search_store or out.parent / f"{out.name}-search.sqlite3"
    with tempfile.TemporaryDirectory(prefix="fraudstream-") as folder, ExitStack() as stack:
        made = prepare(history, Path(folder), mapping, (*(group or ()), *texts), by_time=by_time)
        options = training.TrainOptions(
            labels=known,
            calibration=method,
            search=training.SearchOptions(search, search_minutes, store if search else None),
            folds=folds,
            monotone=ways,
            trusted=tuple(trust_input or ()),
            refit=refit,
            reports=True,
            rules=rule_set,
            groups=tuple(dict.fromkeys((*(group or ()), *made.groups))),
            counts=made.counts,
            seconds=made.seconds,
            source=mapping.name if mapping is not None else None,
            missing_fields=made.missing,
            searching=_later(stack, "search"),
        )
        manifest = training.train(
            made.table,
            out,
            seed=seed,
            review_fpr=review_fpr,
            block_fpr=block_fpr,
            split=training.SplitOptions(gap_days=gap_days, fixed=split if split is not None else made.split),
            progress=_later(stack, "train"),
            options=options,
        )
    console = Console()
    console.print(render(manifest.metrics))
    _tell(console, out)
    typer.echo(f"model {manifest.version} in {out}")


def _later(stack: ExitStack, title: str) -> Callable[[int, int], None]:
    """A progress that shows itself when there is something to show, and the one before has ended."""
    shown: list[Show] = []

    def show(done: int, total: int) -> None:
        if not shown:
            stack.close()
            shown.append(stack.enter_context(progress(title)))
        shown[0](done, total)

    return show


def _constraints(given: Sequence[str]) -> dict[str, int]:
    """COLUMN=+1 or COLUMN=-1, as a mapping."""
    ways = {}
    for one in given:
        name, sign, way = one.partition("=")
        if not sign or way not in {"+1", "1", "-1"}:
            raise ConfigError(f"--monotone: {one!r} is not COLUMN=+1 or COLUMN=-1")
        ways[name] = int(way)
    return ways


def _tell(console: Console, out: Path) -> None:
    """What the report says first, and where it is."""
    import msgspec

    from scoring.learning.details import PAGE_FILE, REPORT_FILE, Details
    from scoring.learning.shown import baselines

    details = msgspec.json.decode((out / REPORT_FILE).read_bytes(), type=Details)
    console.print(baselines(details))
    for text in details.notes:
        typer.echo(f"note: {text}")
    for reason, count in details.counts.items():
        typer.echo(f"left out or changed: {count:,} {reason}")
    if details.offline_only:
        typer.echo("for offline use only: the model takes inputs that no transaction carries")
    typer.echo(f"report: {out / PAGE_FILE}")


def evaluate(
    model: Annotated[Path, typer.Option(help="Model folder.")],
    history: History,
    mapping: MappingFile = None,
    labels: LabelFiles = None,
    as_of: AsOf = None,
    maturity_days: MaturityDays = None,
    *,
    by_time: ByTime = False,
) -> None:
    """Report what a model catches in a labelled history.

    On the history that it was trained on, the part that it has not seen counts; any other counts as a whole.

    Example: fraudstream evaluate --model model --history history
    """
    try:
        from scoring import evaluation
    except ModuleNotFoundError as error:
        raise without_extra(error) from error
    from scoring.learning.offline_model import OfflineModel
    from scoring.report import render

    loaded = OfflineModel.load(model)
    known = label_options(labels, as_of, maturity_days)
    with tempfile.TemporaryDirectory(prefix="fraudstream-") as folder:
        made = prepare(history, Path(folder), mapping, by_time=by_time)
        report = evaluation.evaluate(loaded, made.table, known)
    Console().print(render(report))
    for reason, count in made.counts.items():
        typer.echo(f"left out or changed: {count:,} {reason}")
