"""A history file as checked columns: the transaction's fields by the contract's rules, cards known by number.

A history is one Parquet file or a folder of them, read in order of their names. Its rows are in the order in which
they would stand in the topic.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import polars as pl

from features import pan
from features.errors import HistoryError
from features.history import Int64, country_code, mcc_code
from features.history_columns import codes, fit_ids
from features.history_part import Part, amounts, labels, masked, reversals, times
from features.mapping.spec import GROUP, INPUT, LABELLED_AT, SPLIT

LABELS: Final = ("is_fraud", "attack_id", "attack_position", LABELLED_AT, SPLIT)
PASSED_ON: Final = (INPUT, GROUP)
"""Prefixes of columns that a table has as the history has them: further inputs, and what reports divide by."""
_REQUIRED: Final = ("transaction_id", "card_id", "amount", "currency", "event_time")
_OPTIONAL: Final = ("type", "original_transaction_id", "timestamp_ms", "merchant_category", "country")
_TIMES: Final = ("event_time", "timestamp_ms")
_TEXTS: Final = (*(name for name in (*_REQUIRED, *_OPTIONAL) if name not in {"amount", *_TIMES}),)
# Anything that could be the digits of a card number with separators; `pan_digits` has the last word.
_MAYBE_PAN: Final = r"^[^0-9A-Za-z]*(?:[0-9][^0-9A-Za-z]*){13,19}$"


class History(msgspec.Struct, frozen=True):
    """An opened history: its files, the rows of each, and the columns that are read with their types.

    Attributes:
        passed_on: columns of the table -> columns of the history, beside labels.
    """

    files: tuple[Path, ...]
    rows: tuple[int, ...]
    schema: Mapping[str, pl.DataType]
    passed_on: Mapping[str, str] = {}


class Cards(msgspec.Struct, frozen=True):
    """The cards of a history, ranked by their stored id.

    Attributes:
        spelled: one row per spelling that can be a card id: `card_id` as in the file, `rank`, `digits` where it is a
            card number.
        ids: stored ids by rank.
        counts: rows of each card, by rank.
    """

    spelled: pl.DataFrame
    ids: pl.Series
    counts: Int64


def open_history(path: Path, groups: Sequence[str] = ()) -> History:
    """Find a history's files and check that their columns can be read.

    Args:
        path: a Parquet file or a folder of them.
        groups: columns to pass on as they are, where the history has them, under `g:<name>`.

    Raises:
        HistoryError: there is no file, one is no Parquet file, a column is missing or of an unfit type, or no row.
    """
    if not path.exists():
        raise HistoryError(f"{path} does not exist; give a Parquet file or a folder of them")
    files = tuple(sorted(path.glob("*.parquet"))) if path.is_dir() else (path,)
    if not files:
        raise HistoryError(f"{path} holds no file *.parquet")
    schemas = [_schema(file, groups) for file in files]
    for file, schema in zip(files, schemas, strict=True):
        if schema != schemas[0]:
            raise HistoryError(f"{file} has other columns or column types than {files[0].name}")
    rows = tuple(_collect(pl.scan_parquet(file).select(pl.len()), file).item() for file in files)
    if not sum(rows):
        raise HistoryError(f"{path} holds no transaction")
    passed = {name: name for name in schemas[0] if name.startswith(PASSED_ON)}
    passed |= {GROUP + name: name for name in groups if name in schemas[0] and GROUP + name not in passed}
    return History(files, rows, schemas[0], passed)


def _collect(query: pl.LazyFrame, file: Path) -> pl.DataFrame:
    try:
        return query.collect()
    except (pl.exceptions.PolarsError, OSError) as exc:
        raise HistoryError(f"{file} cannot be read as Parquet: {str(exc).splitlines()[0]}") from exc


def _schema(file: Path, groups: Sequence[str]) -> dict[str, pl.DataType]:
    try:
        found = pl.read_parquet_schema(file)
    except (pl.exceptions.PolarsError, OSError) as exc:
        raise HistoryError(f"{file} cannot be read as Parquet: {str(exc).splitlines()[0]}") from exc
    if missing := [name for name in _REQUIRED if name not in found]:
        raise HistoryError(f"{file} has no column {', '.join(missing)}")
    passed = [name for name in found if name.startswith(PASSED_ON) or name in groups]
    wanted = dict.fromkeys((*_REQUIRED, *_OPTIONAL, *LABELS, *passed))
    schema: dict[str, pl.DataType] = {name: found[name] for name in wanted if name in found}
    for name, dtype in schema.items():
        if not _fits(name, dtype):
            raise HistoryError(f"{file}: column {name} cannot be of type {dtype}")
    return schema


def _fits(name: str, dtype: pl.DataType) -> bool:
    if name in _TEXTS:
        return dtype in (pl.String, pl.Categorical, pl.Enum)
    if name in _TIMES:
        return dtype.is_integer() or isinstance(dtype, pl.Datetime) or (dtype == pl.String and name == "event_time")
    if name == "amount":
        return dtype.is_numeric() or dtype == pl.String
    if name == "is_fraud":
        return dtype.is_integer() or dtype == pl.Boolean
    return True


def find_cards(history: History, pan_key: bytes | None) -> Cards:
    """Every card of a history, its stored id and its number of rows.

    Raises:
        HistoryError: a card id is a card number and there is no key to tokenise it, or a file cannot be read.
    """
    column = pl.col("card_id").cast(pl.String)
    files = pl.concat([pl.scan_parquet(file).select(column) for file in history.files])
    return _cards(_collect(files.group_by("card_id").len().filter(column.is_not_null()), history.files[0]), pan_key)


def _cards(spelled: pl.DataFrame, pan_key: bytes | None) -> Cards:
    """Cards of the spellings and their numbers of rows."""
    spelled = spelled.filter(fit_ids(spelled["card_id"]))
    digits = _card_numbers(spelled["card_id"])
    if not pan_key and digits.null_count() < len(digits):
        raise HistoryError(
            "column card_id holds card numbers; set FRAUD_PAN_KEY to a key of at least 32 bytes (where they are "
            "nobody's: simulated_cards: true in the mapping)"
        )
    tokens = [pan.token(pan_key, own) if pan_key and own else None for own in digits]
    stored = pl.Series(tokens, dtype=pl.String).alias("stored").zip_with(digits.is_not_null(), spelled["card_id"])
    spelled = spelled.with_columns(stored.alias("stored"), digits.alias("digits"))
    cards = spelled.group_by("stored").agg(pl.col("len").sum()).sort("stored").with_row_index("rank")
    return Cards(
        spelled.join(cards.select("stored", "rank"), on="stored").select("card_id", "rank", "digits"),
        cards["stored"],
        cards["len"].cast(pl.Int64).to_numpy(),
    )


def _card_numbers(ids: pl.Series) -> pl.Series:
    """The digits of ids that are card numbers, null elsewhere."""
    maybe = ids.str.contains(_MAYBE_PAN).arg_true()
    digits = pl.Series("digits", [None], dtype=pl.String).extend_constant(None, len(ids) - 1) if len(ids) else ids
    return digits.scatter(maybe, [pan.pan_digits(text) for text in ids.gather(maybe)]) if len(maybe) else digits


def read_checked(history: History, cards: Cards, chunk_rows: int, clock_skew_ms: int) -> Iterator[pl.DataFrame]:
    """The history in its order, some rows at a time.

    Yields:
        Frames with the columns `rank` (of the card), `transaction_id`, `identity` (hash of the id; of a reversal: of
        its original's), `event_ms`, `time_ms` (effective), `clamped`, `amount_minor`, `exponent`, `reversal`,
        `country` and `mcc` (codes), and the labels that the history has.

    Raises:
        HistoryError: the first row with a value that the contract refuses.
    """
    for file, rows in zip(history.files, history.rows, strict=True):
        for first in range(0, rows, chunk_rows):
            # A column after the other: row groups side by side, or both, cost a third more where there is one core.
            query = pl.scan_parquet(file, parallel="columns").select(*history.schema).slice(first, chunk_rows)
            frame = _collect(query.with_columns(pl.col(n).cast(pl.String) for n in _TEXTS if n in history.schema), file)
            yield _checked(Part(file, first, frame), cards, clock_skew_ms, history.passed_on)


def checked_frame(rows: pl.DataFrame, pan_key: bytes | None, clock_skew_ms: int) -> tuple[pl.DataFrame, Cards]:
    """Rows that are in memory already, as `read_checked` gives them, in order of their cards, and these cards.

    Raises:
        HistoryError: the first row with a value that the contract refuses.
    """
    texts = [name for name in _TEXTS if name in rows.columns]
    frame = rows.with_columns(pl.col(name).cast(pl.String) for name in texts)
    cards = _cards(frame.group_by("card_id").len().filter(pl.col("card_id").is_not_null()), pan_key)
    passed = {name: name for name in frame.columns if name.startswith(PASSED_ON)}
    checked = _checked(Part(Path("the rows"), 0, frame), cards, clock_skew_ms, passed)
    return checked.sort("rank", maintain_order=True), cards


def _checked(part: Part, cards: Cards, clock_skew_ms: int, passed_on: Mapping[str, str]) -> pl.DataFrame:
    frame = part.frame
    for name in _REQUIRED:
        if frame[name].null_count():
            part.refuse(frame[name].is_null().to_numpy(), name, "is missing")
    numbers = cards.spelled["digits"].null_count() < len(cards.spelled)
    spelled = cards.spelled if numbers else cards.spelled.drop("digits")
    card = frame.select("card_id").join(spelled, on="card_id", how="left", maintain_order="left")
    unfit = "must have 1 to 128 characters, none a control character"
    part.refuse(card["rank"].is_null().to_numpy(), "card_id", unfit)
    part.refuse(~fit_ids(frame["transaction_id"]), "transaction_id", unfit)
    reversal = reversals(part)
    if numbers:
        frame = masked(frame, card["digits"])
    event_ms, time_ms = times(part, clock_skew_ms)
    amount_minor, exponent = amounts(part)
    nothing = pl.Series([None], dtype=pl.String).extend_constant(None, len(frame) - 1)
    own = frame["transaction_id"]
    return pl.DataFrame(
        {
            "rank": card["rank"],
            "transaction_id": own,
            "identity": (frame["original_transaction_id"].zip_with(reversal, own) if reversal.any() else own).hash(),
            "event_ms": event_ms,
            "time_ms": time_ms,
            "clamped": time_ms != event_ms,
            "amount_minor": amount_minor,
            "exponent": exponent.astype(np.int8),
            "reversal": reversal,
            "country": codes(frame["country"] if "country" in frame.columns else nothing, country_code),
            "mcc": codes(frame["merchant_category"] if "merchant_category" in frame.columns else nothing, mcc_code),
            **labels(part, LABELS, reversal),
            **{name: part.frame[own] for name, own in passed_on.items()},
        }
    )
