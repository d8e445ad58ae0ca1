"""Files of a foreign data set, CSV or Parquet, some rows at a time, in bounded memory."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

import polars as pl

from features.errors import HistoryError
from features.mapping.spec import CsvOf

_CSV: Final = (".csv", ".csv.gz", ".csv.zst", ".tsv", ".txt")
_PARQUET: Final = (".parquet", ".pq")
CHUNK_ROWS: Final = 200_000


def data_files(path: Path, pattern: str) -> tuple[Path, ...]:
    """The files of a data set, in order of their names.

    Raises:
        HistoryError: there is none, or CSV and Parquet stand together.
    """
    if not path.exists():
        raise HistoryError(f"{path} does not exist; give a CSV or Parquet file or a folder of them")
    if not path.is_dir():
        return (path,)
    kinds = (*_CSV, *_PARQUET)
    files = tuple(
        sorted(
            file
            for file in path.iterdir()
            if file.is_file() and file.name.lower().endswith(kinds) and fnmatchcase(file.name, pattern)
        )
    )
    if not files:
        raise HistoryError(f"{path} holds no CSV or Parquet file {pattern}")
    if len({is_csv(file) for file in files}) > 1:
        raise HistoryError(f"{path} holds CSV and Parquet files; say which with `files:` in the mapping")
    return files


def is_csv(file: Path) -> bool:
    """Whether a file is read as CSV; anything else is Parquet."""
    return file.name.lower().endswith(_CSV)


def header_of(file: Path, csv: CsvOf) -> list[str]:
    """The names of a file's columns.

    Raises:
        HistoryError: it cannot be read.
    """
    try:
        return _scan(file, csv).collect_schema().names()
    except (pl.exceptions.PolarsError, OSError) as exc:
        raise HistoryError(f"{file} cannot be read: {str(exc).splitlines()[0]}") from exc


def require(names: Sequence[str], header: Sequence[str], file: Path) -> None:
    """Raise HistoryError for the first column that a file has not."""
    for name in names:
        if name not in header:
            near = difflib.get_close_matches(name, header, 1)
            guess = f"; did you mean {near[0]}?" if near else ""
            raise HistoryError(f"{file} has no column {name}{guess} It has: {', '.join(header[:40])}")


def chunks(file: Path, columns: Sequence[str], csv: CsvOf, folder: Path) -> Iterator[pl.DataFrame]:
    """The wanted columns of a file, some rows at a time, in its order.

    A CSV file can only be read from its beginning. So it is written as Parquet first, in one pass, every column as
    text; what the texts mean is for the mapping to say.

    Args:
        file: CSV or Parquet.
        columns: at least one.
        csv: how CSV is written.
        folder: for the copy; on the disk of the result, not in memory.

    Raises:
        HistoryError: it cannot be read.
    """
    copy = folder / "copy.parquet"
    try:
        source = file
        if is_csv(file):
            query = _scan(file, csv).select(columns)
            query.sink_parquet(copy, compression="lz4", statistics=False, row_group_size=CHUNK_ROWS)
            source = copy
        scan = pl.scan_parquet(source, glob=False).select(columns)
        rows = pl.scan_parquet(source, glob=False).select(pl.len()).collect().item()
        for first in range(0, rows, CHUNK_ROWS):
            yield scan.slice(first, CHUNK_ROWS).collect()
    except (pl.exceptions.PolarsError, OSError) as exc:
        raise HistoryError(f"{file} cannot be read: {str(exc).splitlines()[0]}") from exc
    finally:
        copy.unlink(missing_ok=True)


def _scan(file: Path, csv: CsvOf) -> pl.LazyFrame:
    if not is_csv(file):
        return pl.scan_parquet(file, glob=False)
    return pl.scan_csv(
        file,
        glob=False,
        separator="\t" if file.name.lower().endswith(".tsv") else csv.separator,
        has_header=not csv.header,
        new_columns=list(csv.header) or None,
        infer_schema=False,
        null_values=list(csv.missing),
        encoding="utf8-lossy",
    )
