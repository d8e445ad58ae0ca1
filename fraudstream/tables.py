"""What training and evaluation start from: a history of ours or a foreign set, as a feature table."""

# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it, so that --help answers at once
from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from features.errors import ConfigError
from fraudstream.progress import progress

if TYPE_CHECKING:
    from features.mapping.convert import Converted
    from features.offline import TableSummary
    from scoring.learning.labels import LabelOptions

MappingFile = Annotated[
    Path | None, typer.Option("--mapping", help="Column mapping (YAML) of a foreign data set; then CSV is read too.")
]
LabelFiles = Annotated[
    list[Path] | None,
    typer.Option("--labels", help="Labels: what `history export` wrote, chargeback files; may be repeated."),
]
AsOf = Annotated[
    str | None, typer.Option(help="Nothing later is known: neither transactions nor labels (RFC 3339 or a day).")
]
MaturityDays = Annotated[
    float | None,
    typer.Option(
        min=0, help="A transaction without a label is ordinary once it is so old; without: 30 with --labels, else 0."
    ),
]
ByTime = Annotated[
    bool, typer.Option("--by-time", help="The history is in no order: take each card's rows by their event times.")
]
Groups = Annotated[
    list[str] | None,
    typer.Option("--group", help="Column of the history that the report compares false positives by; may be repeated."),
]

_SEGMENTS = ("country",)


class Prepared(msgspec.Struct, frozen=True):
    """A feature table and how it came to be.

    Attributes:
        table: the file.
        summary: of the table.
        converted: what the mapping made of the data set; None without one.
        seconds: what took how long.
        split: the split that the mapping names, as on the command line.
        groups: columns that the mapping declares as groups.
        missing: share of the transactions without an optional field, by its name.
    """

    table: Path
    summary: TableSummary
    converted: Converted | None
    seconds: dict[str, float]
    split: str | None
    groups: tuple[str, ...]
    missing: dict[str, float]

    @property
    def counts(self) -> dict[str, int]:
        """Rows that were left out or changed, and those that are worth a word, by reason."""
        summary, converted = self.summary, self.converted
        found = {} if converted is None else {**converted.left_out, **converted.changed}
        if converted is not None:
            found |= {f"input {name}: missing values": count for name, count in converted.missing.items()}
        found["reversals, which have no features of their own"] = summary.reversals
        found["rows later than the grace, whose features may miss something"] = summary.beyond_grace
        return {reason: count for reason, count in found.items() if count}


def prepare(
    history: Path, folder: Path, mapping: Path | None, groups: Sequence[str] = (), *, by_time: bool = False
) -> Prepared:
    """Make the feature table of a history in a folder of its own.

    Args:
        history: ours, or with a mapping a foreign set.
        folder: for the table and whatever is made on the way.
        mapping: its mapping file.
        groups: columns that reports divide by.
        by_time: take each card's rows by their event times; a foreign set's always are.
    """
    began_s = time.monotonic()
    converted: Converted | None = None
    split: str | None = None
    own: tuple[str, ...] = ()
    seconds: dict[str, float] = {}
    if mapping is not None:
        from features.mapping.convert import convert
        from features.mapping.spec import SplitOf, load_mapping

        read = load_mapping(mapping)
        with progress("read") as show:
            converted = convert(history, read, folder / "history", show)
        history, by_time = folder / "history", True
        if read.split is not None:
            split = "column" if isinstance(read.split, SplitOf) else str(read.split)
        own = read.groups
        seconds["reading the data set"] = time.monotonic() - began_s
    began_s = time.monotonic()
    table = folder / "features.parquet"
    summary = build_table(history, table, by_time=by_time, groups=tuple(dict.fromkeys((*groups, *_SEGMENTS))))
    seconds["features"] = time.monotonic() - began_s
    if not by_time and summary.beyond_grace * 100 > summary.rows_out:
        typer.echo(
            f"{summary.beyond_grace:,} rows come later than the grace allows: if the history is in no order, give "
            "--by-time",
            err=True,
        )
    return Prepared(table, summary, converted, seconds, split, own, _missing(history))


def _missing(history: Path) -> dict[str, float]:
    """Share of the rows without an optional field."""
    import polars as pl

    from features.wire import OPTIONAL

    frame = pl.scan_parquet(history / "*.parquet" if history.is_dir() else history)
    there = frame.collect_schema()
    shares = frame.select(
        (pl.col(name).is_null().mean() if name in there else pl.lit(1.0)).alias(name) for name in OPTIONAL
    )
    return {name: float(share) for name, share in shares.collect().row(0, named=True).items()}


def build_table(history: Path, out: Path, *, by_time: bool = False, groups: Sequence[str] = ()) -> TableSummary:
    """Build the feature table of a history as the settings say, showing how far it is."""
    from features import offline
    from streams.settings import load_settings

    settings = load_settings()
    with progress("features") as show:
        return offline.build_table(
            history,
            out,
            grace_ms=settings.grace_s * 1000,
            clock_skew_ms=settings.clock_skew_s * 1000,
            pan_key=settings.pan_key.get_secret_value().encode() or None,
            progress=show,
            by_time=by_time,
            groups=groups,
        )


def label_options(files: Sequence[Path] | None, as_of: str | None, maturity_days: float | None) -> LabelOptions:
    """What counts as known, from the options of a command.

    Raises:
        ConfigError: the date is none.
    """
    from features.times import parse_rfc3339
    from scoring.learning.labels import LabelOptions
    from streams.settings import load_settings

    as_of_ms = None
    if as_of is not None:
        as_of_ms = parse_rfc3339(as_of if len(as_of) > len("2020-01-01") else f"{as_of}T00:00:00Z")
        if as_of_ms is None:
            raise ConfigError(f"--as-of: {as_of!r} is no time such as 2026-01-31 or 2026-01-31T12:00:00Z")
    key = load_settings().pan_key.get_secret_value().encode() or None
    return LabelOptions(tuple(files or ()), as_of_ms, maturity_days, key)
