"""What became of transactions: labels of the topic or of a file, and which transactions have an answer by now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.errors import DecodeError, HistoryError
from lifecycle.traffic import Traffic, newest_values
from scoring.label import Label, decode_label, standing

DAY_MS: Final = 86_400_000
_UNKNOWN: Final = -1


class Truth(msgspec.Struct, frozen=True):
    """Labels that stand.

    Attributes:
        answers: 1, 0, or None for an undecided or withdrawn one, by card id and transaction id.
        sources: of the labels that stand, how many came from where.
        left_out: records that are no labels, by reason.
    """

    answers: dict[tuple[str, str], int | None]
    sources: dict[str, int]
    left_out: dict[str, int]

    @property
    def known(self) -> int:
        """Transactions that were found to be fraud or not."""
        return sum(answer is not None for answer in self.answers.values())


def topic_truth(kafka: Mapping[str, str], topic: str) -> Truth:
    """Everything that the topic of labels says."""
    return _stands(newest_values(kafka, topic, None))


def file_truth(path: Path) -> Truth:
    """Labels from a file: JSON lines as in the topic, or columns card_id, transaction_id, is_fraud (Parquet, CSV).

    Raises:
        HistoryError: it cannot be read, or lacks a column.
    """
    try:
        if path.suffix not in {".parquet", ".csv"}:
            return _lines([line for line in path.read_bytes().splitlines() if line.strip()])
        frame = pl.read_csv(path) if path.suffix == ".csv" else pl.read_parquet(path)
        rows = frame.select("card_id", "transaction_id", pl.col("is_fraud").cast(pl.Int64)).rows()
    except (OSError, pl.exceptions.PolarsError) as exc:
        raise HistoryError(f"cannot read the labels in {path}: {str(exc).splitlines()[0]}") from exc
    answers: dict[tuple[str, str], int | None] = {
        (str(card), str(transaction)): int(fraud) for card, transaction, fraud in rows if fraud in {0, 1}
    }
    return Truth(answers, {"file": len(answers)}, {"neither 0 nor 1": len(rows) - len(answers)})


class _Line(msgspec.Struct):
    """A line of `fraudstream simulate --labels`."""

    card_id: str
    transaction_id: str
    is_fraud: int


def _lines(lines: list[bytes]) -> Truth:
    """JSON lines are labels, or say `is_fraud` themselves."""
    answers: dict[tuple[str, str], int | None] = {}
    labels = []
    for line in lines:
        try:
            plain = msgspec.json.decode(line, type=_Line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            labels.append(line)
        else:
            answers[plain.card_id, plain.transaction_id] = int(plain.is_fraud == 1)
    said = _stands(labels)
    return Truth({**answers, **said.answers}, {"file": len(answers), **said.sources}, said.left_out)


def _stands(values: Iterable[bytes]) -> Truth:
    labels: list[Label] = []
    left_out: Counter[str] = Counter()
    for value in values:
        try:
            labels.append(decode_label(value))
        except DecodeError as exc:
            left_out[exc.reason] += 1
    stands = standing(labels)
    sources: Counter[str] = Counter(label.source for label in stands.values())
    return Truth({key: label.is_fraud for key, label in stands.items()}, dict(sources), dict(left_out))


def matured(traffic: Traffic, truth: Truth, as_of_ms: int, maturity_days: float) -> NDArray[np.int64]:
    """What each transaction is known to be: 1 fraud, 0 ordinary, -1 not known yet; shape (n,).

    One without a label is ordinary once it is older than labels take to come; an undecided one stays unknown. Where
    there is no label at all, nothing is known: nobody seems to look, and silence is no answer.

    Args:
        traffic: n transactions.
        truth: labels.
        as_of_ms: the moment from which one looks back, epoch milliseconds.
        maturity_days: how long labels take to come.
    """
    old = traffic.event_ms <= as_of_ms - round(maturity_days * DAY_MS)
    answers = truth.answers
    if not truth.known:
        return np.full(len(traffic), _UNKNOWN, np.int64)
    known = np.where(old, 0, _UNKNOWN).astype(np.int64)
    for row, key in enumerate(traffic.keys):
        if key in answers:
            said = answers[key]
            known[row] = _UNKNOWN if said is None else said
    return known
