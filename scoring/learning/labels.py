"""Which transactions are known to be what, as of a date: a table's own labels, and those of label files.

A label counts where it was given by then; of several the newest stands. A transaction with none is ordinary once it is
older than labels take to come, and not known before. Whatever is not known is left out, and counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features import pan
from features.errors import HistoryError
from features.history_columns import times_ms
from features.mapping.spec import LABELLED_AT

OWN: Final = "history"
MATURED: Final = "no label in time"
SOURCES: Final = (OWN, MATURED, "analyst", "chargeback", "rule")
_RANK: Final = {"rule": 0, "analyst": 1, "chargeback": 2}
_ANSWERS: Final = {"fraud": 1, "valid": 0, "undecided": -1, "withdrawn": -2, "1": 1, "0": 0, "true": 1, "false": 0}
_UNDECIDED: Final = -1
_WITHDRAWN: Final = -2
_UNKNOWN: Final = -3
_DAY_MS: Final = 86_400_000
_CLOCKS_MS: Final = 300_000
"""How far a label's clock may be behind its transaction's."""
DEFAULT_DELAY_DAYS: Final = 30.0


@dataclass(frozen=True, slots=True)
class LabelOptions:
    """What is known of transactions, and from when on.

    Attributes:
        files: labels from `fraudstream history export` and chargeback files: Parquet, CSV or JSON lines with
            `transaction_id`, and `card_id`, `label` (fraud, valid, undecided, withdrawn; without the column: fraud),
            `source` (analyst, chargeback, rule; without: chargeback), `labelled_at`, `label_id`.
        as_of_ms: nothing later is looked at, neither transaction nor label; without: the table's newest time.
        maturity_days: how long labels take to come; without: 30 where there are files, else 0.
        pan_key: key of card ids that are card numbers.
    """

    files: tuple[Path, ...] = ()
    as_of_ms: int | None = None
    maturity_days: float | None = None
    pan_key: bytes | None = None

    @property
    def delay_ms(self) -> int:
        """How old a transaction without a label must be to count as ordinary."""
        days = self.maturity_days if self.maturity_days is not None else DEFAULT_DELAY_DAYS if self.files else 0.0
        return round(days * _DAY_MS)


@dataclass(frozen=True, slots=True)
class Resolved:
    """What is known of each row of a table.

    Attributes:
        keep: rows that are known and count; shape (n,).
        is_fraud: of them; shape (n,).
        known_ms: when the label was given, -1 where that is not said; shape (n,).
        source: place in `sources`; shape (n,).
        sources: names.
        counts: what is left out or odd, by reason.
        usable_until_ms: from here on nothing ordinary is known.
    """

    keep: NDArray[np.bool_]
    is_fraud: NDArray[np.bool_]
    known_ms: NDArray[np.int64]
    source: NDArray[np.int64]
    sources: tuple[str, ...]
    counts: dict[str, int]
    usable_until_ms: int


def resolve(frame: pl.LazyFrame, time_ms: NDArray[np.int64], options: LabelOptions, table: Path) -> Resolved:
    """Find out what is known of every row of a feature table.

    Args:
        frame: the table.
        time_ms: event times, shape (n,).
        options: see LabelOptions.
        table: for messages.

    Raises:
        HistoryError: labels cannot be read, or were given before their own transaction.
    """
    as_of_ms = options.as_of_ms if options.as_of_ms is not None else int(time_ms.max())
    counts: dict[str, int] = {}
    answer, known_ms = _own(frame, table, len(time_ms), as_of_ms, counts)
    source = np.where(answer >= 0, SOURCES.index(OWN), SOURCES.index(MATURED))
    if options.files:
        given = _joined(frame, _standing(options, as_of_ms, counts), counts)
        told = given["answer"].is_not_null().to_numpy()
        answer = np.where(told, given["answer"].fill_null(0).to_numpy(), answer)
        known_ms = np.where(told, given["at_ms"].fill_null(-1).to_numpy(), known_ms)
        source = np.where(told, given["source"].fill_null(0).to_numpy(), source)
    _refuse_early(known_ms, time_ms)
    young = time_ms > as_of_ms - options.delay_ms if options.delay_ms else np.zeros(len(time_ms), np.bool_)
    silent = (answer == _UNKNOWN) | (answer == _WITHDRAWN)
    if options.files or LABELLED_AT in frame.collect_schema():
        # Where labels have times, silence is an answer once it has lasted.
        source = np.where(silent, SOURCES.index(MATURED), source)
        answer = np.where(silent & ~young, 0, answer)
    later = time_ms > as_of_ms
    copies = _copies(frame)
    reasons = {
        "rows after --as-of": later,
        "copies of a transaction that is there already": copies,
        "transactions whose label is undecided": answer == _UNDECIDED,
        "transactions younger than labels take to come, with no label yet": young & (answer <= 0),
        "transactions without a label": answer < 0,
    }
    keep = np.ones(len(time_ms), np.bool_)
    for reason, left_out in reasons.items():
        if count := int(np.count_nonzero(left_out & keep)):
            counts[reason] = count
        keep &= ~left_out
    until = as_of_ms - options.delay_ms + 1 if options.delay_ms else as_of_ms + 1
    return Resolved(keep, answer == 1, known_ms, source, SOURCES, counts, until)


def _own(
    frame: pl.LazyFrame, table: Path, rows: int, as_of_ms: int, counts: dict[str, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The table's own labels and when they were given."""
    schema = frame.collect_schema()
    nothing = np.full(rows, -1)
    if "is_fraud" not in schema:
        return np.full(rows, _UNKNOWN), nothing
    label = frame.select(pl.col("is_fraud").cast(pl.Int64)).collect().to_series()
    if not label.is_in([0, 1]).fill_null(value=True).all():
        raise HistoryError(f"is_fraud in {table} must be 0 or 1")
    answer = label.fill_null(_UNKNOWN).to_numpy()
    if LABELLED_AT not in schema:
        return answer, nothing
    at = frame.select(pl.col(LABELLED_AT).cast(pl.Datetime("ms")).dt.epoch("ms")).collect().to_series()
    known_ms = at.fill_null(-1).to_numpy()
    late = known_ms > as_of_ms
    if late.any():
        counts["labels given after --as-of, not looked at"] = int(np.count_nonzero(late))
    return np.where(late, _UNKNOWN, answer), np.where(late, -1, known_ms)


def _refuse_early(known_ms: NDArray[np.int64], time_ms: NDArray[np.int64]) -> None:
    early = (known_ms >= 0) & (known_ms < time_ms - _CLOCKS_MS)
    if early.any():
        raise HistoryError(
            f"{np.count_nonzero(early):,} labels were given before their own transaction; the times of labels and "
            "transactions are of different zones, or the column of the label's time is another's"
        )


def _copies(frame: pl.LazyFrame) -> NDArray[np.bool_]:
    """Rows whose card and transaction id have come before."""
    schema = frame.collect_schema()
    if "transaction_id" not in schema:
        rows: int = frame.select(pl.len()).collect().item()
        return np.zeros(rows, np.bool_)
    keys = frame.select(pl.struct("card_id", "transaction_id").hash().alias("key")).collect().to_series()
    return ~keys.is_first_distinct().to_numpy()


def _standing(options: LabelOptions, as_of_ms: int, counts: dict[str, int]) -> pl.DataFrame:
    """The label that stands for each transaction: `transaction_id`, `card_id`, `answer`, `source`, `at_ms`."""
    labels = pl.concat([_read(file, options) for one in options.files for file in _files(one)])
    repeated = labels.filter(pl.col("label_id").is_not_null() & ~pl.col("label_id").is_first_distinct())
    if len(repeated):
        counts["label records that came again"] = len(repeated)
        labels = labels.filter(pl.col("label_id").is_null() | pl.col("label_id").is_first_distinct())
    late = labels["at_ms"] > as_of_ms
    if late.any():
        counts["labels given after --as-of, not looked at"] = int(late.sum())
        labels = labels.filter(~late)
    ranked = labels.with_columns(pl.col("source").replace_strict(_RANK, return_dtype=pl.Int64).alias("rank"))
    return (
        ranked.sort("at_ms", "rank", "label_id", nulls_last=False)
        .unique(["transaction_id", "card_id"], keep="last", maintain_order=True)
        .with_columns(pl.col("source").replace_strict({n: i for i, n in enumerate(SOURCES)}, return_dtype=pl.Int64))
    )


def _files(path: Path) -> Sequence[Path]:
    if not path.exists():
        raise HistoryError(f"--labels: {path} does not exist")
    kinds = ("*.parquet", "*.csv", "*.jsonl", "*.ndjson")
    files = sorted(file for kind in kinds for file in path.glob(kind)) if path.is_dir() else [path]
    if not files:
        raise HistoryError(f"--labels: {path} holds no Parquet, CSV or JSON lines")
    return files


def _read(file: Path, options: LabelOptions) -> pl.DataFrame:
    try:
        if file.suffix == ".csv":
            found = pl.read_csv(file, infer_schema=False)
        elif file.suffix in {".jsonl", ".ndjson"}:
            found = pl.read_ndjson(file)
        else:
            found = pl.read_parquet(file)
    except (pl.exceptions.PolarsError, OSError) as exc:
        raise HistoryError(f"--labels: {file} cannot be read: {str(exc).splitlines()[0]}") from exc
    if "transaction_id" not in found.columns:
        raise HistoryError(f"--labels: {file} has no column transaction_id; it has: {', '.join(found.columns)}")
    if LABELLED_AT not in found.columns and (options.as_of_ms is not None or "label" in found.columns):
        raise HistoryError(
            f"--labels: {file} has no column {LABELLED_AT}; without it nobody can tell what was known at a date"
        )
    texts = {
        name: found[name].cast(pl.String) if name in found.columns else _repeated(default, len(found))
        for name, default in (
            ("transaction_id", None), ("card_id", None), ("label", "fraud"), ("source", "chargeback"),
            ("label_id", None),
        )
    }  # fmt: skip
    answer = texts["label"].str.to_lowercase().replace_strict(_ANSWERS, default=None, return_dtype=pl.Int64)
    _refuse(answer.is_null(), file, "label must be fraud, valid, undecided or withdrawn")
    _refuse(~texts["source"].is_in(list(_RANK)), file, "source must be analyst, chargeback or rule")
    _refuse(texts["transaction_id"].is_null(), file, "transaction_id is missing")
    at_ms = np.full(len(found), -1)
    if LABELLED_AT in found.columns:
        given = found[LABELLED_AT]
        _refuse(given.is_null(), file, f"{LABELLED_AT} is missing")
        at_ms = times_ms(given)
        _refuse(pl.Series(at_ms < 0), file, f"{LABELLED_AT} must be RFC 3339 or epoch milliseconds")
    return pl.DataFrame(
        {
            "transaction_id": texts["transaction_id"],
            "card_id": _stored(texts["card_id"], options.pan_key),
            "answer": answer,
            "source": texts["source"],
            "at_ms": at_ms,
            "label_id": texts["label_id"],
        }
    )


def _repeated(value: str | None, count: int) -> pl.Series:
    return pl.repeat(value, count, dtype=pl.String, eager=True)


def _refuse(wrong: pl.Series, file: Path, reason: str) -> None:
    if wrong.any():
        raise HistoryError(f"--labels: {file}, row {int(wrong.arg_max() or 0) + 1}: {reason}")


def _stored(card: pl.Series, key: bytes | None) -> pl.Series:
    """Card ids as tables have them: tokens where they are card numbers."""
    known = card.unique().drop_nulls()
    stored = []
    for text in known:
        digits = pan.pan_digits(text)
        if digits is None:
            stored.append(text)
        elif key:
            stored.append(pan.token(key, digits))
        else:
            raise HistoryError("--labels: card_id holds card numbers; set FRAUD_PAN_KEY to a key of at least 32 bytes")
    return card.replace_strict(known, pl.Series(stored, dtype=pl.String), default=None, return_dtype=pl.String)


def _joined(frame: pl.LazyFrame, labels: pl.DataFrame, counts: dict[str, int]) -> pl.DataFrame:
    """What labels say of each row of the table; null where they are silent."""
    keys = frame.select("transaction_id", "card_id").collect()
    plain = labels.filter(pl.col("card_id").is_null()).drop("card_id")
    exact = labels.filter(pl.col("card_id").is_not_null())
    if len(plain):
        cards = keys.join(plain.select("transaction_id"), on="transaction_id", how="semi").unique()
        if cards["transaction_id"].is_duplicated().any():
            raise HistoryError(
                "--labels: labels without card_id name transaction ids that several cards have; add the column card_id"
            )
    columns = ["transaction_id", "answer", "source", "at_ms"]
    by_card = keys.join(exact, on=["transaction_id", "card_id"], how="left", maintain_order="left")
    by_id = keys.join(plain.select(columns), on="transaction_id", how="left", maintain_order="left")
    there = by_card["answer"].is_not_null()
    unknown = len(exact.join(keys, on=["transaction_id", "card_id"], how="anti"))
    unknown += len(plain.join(keys, on="transaction_id", how="anti"))
    if unknown:
        counts["labels of transactions that are not in the history"] = unknown
    return pl.DataFrame({name: by_card[name].zip_with(there, by_id[name]) for name in columns[1:]})
