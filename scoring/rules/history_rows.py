"""Batches for a backtest from a feature table, and from the history that the table was made of.

The table has the features; texts that rules read beside them (merchant, country, ...) are in the history alone. Rows of
the table are in order of the stored card id, a card's in the history's order, so the history's rows, sorted by card,
stand beside them. That is done slice by slice on disk; memory holds one slice, or one chunk of whole cards.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from features import pan
from features.catalogue import FEATURE_NAMES
from features.errors import HistoryError
from features.history_file import Cards, History, find_cards, open_history
from features.money import EXPONENTS
from features.transaction import REVERSAL
from features.wire import MAX_TEXT
from scoring.model import Model
from scoring.rules.backtest import Batch, Columns
from scoring.rules.columns import day_of_week
from scoring.rules.entries import MASKED

CHUNK_ROWS: Final = 250_000
_DAY_MS: Final = 86_400_000
_IN_TABLE: Final = frozenset(("transaction_id", "card_id"))
_RANK: Final = "rank of the card"
_IDENTITY: Final = "hash of the id"
_DIGITS: Final = "digits of the card"
_SHORTEST_PAN: Final = 13


class Wanted(msgspec.Struct, frozen=True):
    """What of a transaction rules read.

    Attributes:
        columns: names of columns.
        texts: those of them that are texts.
    """

    columns: frozenset[str]
    texts: frozenset[str]

    @property
    def beside(self) -> tuple[str, ...]:
        """Texts that a feature table does not have."""
        more = {"currency"} if "amount_minor" in self.columns else set()
        return tuple(sorted((self.texts | more) - _IN_TABLE))


def history_batches(
    table: Path, history: Path, model: Model, wanted: Wanted, *, pan_key: bytes | None = None, rows: int = CHUNK_ROWS
) -> Iterator[Batch]:
    """Every authorization of a history, in chunks.

    Args:
        table: feature table of the history, from `fraudstream features`.
        history: a Parquet file or a folder of them; only opened where rules read what the table has not.
        model: gives the probabilities.
        wanted: what rules read.
        pan_key: key for card ids that are card numbers.
        rows: transactions in a batch; more where a single card has more.

    Raises:
        HistoryError: the table or the history cannot be read, or they do not belong together.
    """
    schema = _checked_schema(table)
    if not wanted.beside:
        total = _collected(pl.scan_parquet(table).select(pl.len()), table).item()
        for first in range(0, total, rows):
            yield _batch(_slice(table, schema, first, rows), model, wanted)
        return
    opened = open_history(history)
    with tempfile.TemporaryDirectory(prefix="fraudstream-backtest-") as folder:
        slices = _Slices(Path(folder), opened, wanted.beside, pan_key, rows)
        for first, count, frame in slices.chunks():
            found = _slice(table, schema, first, count)
            same = len(found) == len(frame) and (found["transaction_id"].hash() == frame[_IDENTITY]).all()
            if not same:
                raise HistoryError(f"{table} is not the feature table of {history}")
            yield _batch(found.hstack(frame.drop(_RANK, _IDENTITY)), model, wanted)


def _checked_schema(table: Path) -> Sequence[str]:
    try:
        schema = pl.scan_parquet(table).collect_schema()
    except (pl.exceptions.PolarsError, OSError) as exc:
        raise HistoryError(f"cannot read the feature table {table}: {str(exc).splitlines()[0]}") from exc
    needed = ("transaction_id", "card_id", "event_time", *FEATURE_NAMES)
    if missing := [name for name in needed if name not in schema]:
        raise HistoryError(f"the feature table {table} lacks {', '.join(missing)}; make it with: fraudstream features")
    return (*needed, *(name for name in ("is_fraud",) if name in schema))


def _slice(table: Path, columns: Sequence[str], first: int, count: int) -> pl.DataFrame:
    return _collected(pl.scan_parquet(table).select(columns).slice(first, count), table)


def _collected(query: pl.LazyFrame, file: Path) -> pl.DataFrame:
    try:
        return query.collect()
    except (pl.exceptions.PolarsError, OSError) as exc:
        raise HistoryError(f"{file} cannot be read as Parquet: {str(exc).splitlines()[0]}") from exc


def _batch(frame: pl.DataFrame, model: Model, wanted: Wanted) -> Batch:
    x = frame.select(pl.col(FEATURE_NAMES).cast(pl.Float64)).to_numpy()
    event_ms = frame["event_time"].cast(pl.Datetime("ms")).to_physical().to_numpy()
    made: Columns = {name: x[:, place] for place, name in enumerate(FEATURE_NAMES) if name in wanted.columns}
    made |= {name: frame[name] for name in (*wanted.texts, *wanted.beside)}
    amount = x[:, FEATURE_NAMES.index("amount")]
    if "event_ms" in wanted.columns:
        made["event_ms"] = event_ms
    if "day_of_week" in wanted.columns:
        made["day_of_week"] = day_of_week(event_ms)
    if "amount_minor" in wanted.columns:
        # The amount is its minor units through a float: exact again when it is rounded.
        made["amount_minor"] = np.rint(amount * _units(frame["currency"]))
    fraud = frame["is_fraud"].cast(pl.Boolean).to_numpy() if "is_fraud" in frame.columns else None
    return Batch(made, model.predict(x), amount, fraud, event_ms // _DAY_MS, frame["transaction_id"])


def _units(currency: pl.Series) -> NDArray[np.float64]:
    codes = currency.unique()
    units = [10.0 ** EXPONENTS[code] for code in codes]
    return currency.replace_strict(codes, units, return_dtype=pl.Float64).to_numpy()


class _Slices:
    """The history's authorizations in temporary files, each in order of the cards.

    Args:
        folder: for the files.
        history: opened.
        texts: columns to keep.
        pan_key: key for card ids that are card numbers.
        rows: in memory at once.
    """

    def __init__(
        self, folder: Path, history: History, texts: tuple[str, ...], pan_key: bytes | None, rows: int
    ) -> None:
        cards = find_cards(history, pan_key)
        self._counts = np.zeros(len(cards.ids), np.int64)
        self._rows = rows
        self._files: list[tuple[Path, NDArray[np.int64]]] = []
        masked = cards.spelled["digits"].null_count() < len(cards.spelled)
        for number, frame in enumerate(_parts(history, texts, 2 * rows)):
            ranked = _ranked(frame, cards, texts, pan_key, masked=masked).sort(_RANK, maintain_order=True)
            file = folder / f"{number:06d}.arrow"
            ranked.write_ipc(file)
            counts = np.bincount(ranked[_RANK].to_numpy(), minlength=len(self._counts))
            self._counts += counts
            self._files.append((file, np.concatenate(([0], np.cumsum(counts)))))

    def chunks(self) -> Iterator[tuple[int, int, pl.DataFrame]]:
        """Whole cards: the first row in the table, how many, and their rows."""
        ends = np.cumsum(self._counts)
        first = low = 0
        while low < len(ends):
            high = max(low + 1, int(np.searchsorted(ends, first + self._rows, side="right")))
            runs = [pl.scan_ipc(f).slice(at[low], at[high] - at[low]).collect() for f, at in self._files]
            frame = pl.concat(runs).sort(_RANK, maintain_order=True)
            if len(frame):
                yield first, len(frame), frame
            first, low = int(ends[high - 1]), high


def _parts(history: History, texts: tuple[str, ...], rows: int) -> Iterator[pl.DataFrame]:
    """The columns that are needed, some rows at a time; one that the history has not is NULL."""
    for file, total in zip(history.files, history.rows, strict=True):
        scan = pl.scan_parquet(file)
        there = scan.collect_schema()
        query = scan.select(
            pl.col("card_id", "transaction_id").cast(pl.String),
            (pl.col("type").cast(pl.String).fill_null("") if "type" in there else pl.lit("")).alias("type"),
            *(_text(name, there.get(name)) for name in texts if name != "card_last4"),
        )
        for first in range(0, total, rows):
            yield _collected(query.slice(first, rows), file)


def _text(name: str, dtype: pl.DataType | None) -> pl.Expr:
    """A field as the role would have it: of another type than text, or too long, it is left out."""
    if dtype not in {pl.String, pl.Categorical, pl.Enum}:
        return pl.lit(None, dtype=pl.String).alias(name)
    column = pl.col(name).cast(pl.String)
    return pl.when(column.str.len_chars() <= MAX_TEXT).then(column).alias(name)


def _ranked(
    frame: pl.DataFrame, cards: Cards, texts: tuple[str, ...], pan_key: bytes | None, *, masked: bool
) -> pl.DataFrame:
    known = cards.spelled.select("card_id", pl.col("rank").alias(_RANK), pl.col("digits").alias(_DIGITS))
    frame = frame.join(known, on="card_id", how="left", maintain_order="left").filter(pl.col("type") != REVERSAL)
    if frame[_RANK].null_count():
        raise HistoryError("the history has rows whose card_id is missing or unfit; `fraudstream features` names them")
    if masked:
        for name in ("transaction_id", *texts):
            if name not in {"currency", "card_last4"}:
                frame = frame.with_columns(_rewritten(frame, name, pan.mask_own, frame[_DIGITS]))
    for name in MASKED & set(texts):
        frame = frame.with_columns(_rewritten(frame, name, lambda text, _: pan.mask_others(text, pan_key)))
    if "card_last4" in texts:
        frame = frame.with_columns(pl.col(_DIGITS).str.tail(4).alias("card_last4"))
    return frame.select(_RANK, *texts, pl.col("transaction_id").hash().alias(_IDENTITY))


def _rewritten(
    frame: pl.DataFrame, name: str, mask: Callable[[str, str], str], digits: pl.Series | None = None
) -> pl.Series:
    """A column without card numbers: only texts with that many digits are looked at."""
    column = frame[name]
    may = (column.str.count_matches("[0-9]") >= _SHORTEST_PAN).fill_null(value=False)
    if digits is not None:
        may &= digits.is_not_null()
    at = may.arg_true()
    if not len(at):
        return column
    own = digits.gather(at).to_list() if digits is not None else [""] * len(at)
    return column.scatter(at, [mask(text, number) for text, number in zip(column.gather(at), own, strict=True)])
