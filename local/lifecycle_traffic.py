"""The traffic of `make lifecycle`: days of a generated history as live transactions, and its labels as they arrive."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import polars as pl

from local.demo_watch import Answer
from local.generator import START_MS
from local.producer import Publisher
from local.regime import GAP_MS

DAY_MS = 86_400_000
_TRUTH = ("is_fraud", "attack_id", "attack_position")
_FLAGGED = frozenset({"review", "block"})


@dataclass(frozen=True, slots=True)
class Caught:
    """What became of the attacks of some days.

    Attributes:
        attacks: whose first two transactions lie in these days.
        by_second: of them, how many had one of the two reviewed or blocked.
        new_attacks: of the attacks, how many are of the new kind.
        new_by_second: likewise, of those.
        flagged_ordinary: share of the ordinary transactions reviewed or blocked.
    """

    attacks: int
    by_second: int
    new_attacks: int
    new_by_second: int
    flagged_ordinary: float

    @property
    def share(self) -> float:
        """Share of the attacks caught by their second transaction."""
        return self.by_second / self.attacks


class History:
    """A generated history, day by day.

    Args:
        folder: as `fraudstream generate` wrote it.
    """

    def __init__(self, folder: Path) -> None:
        moment = pl.col("event_time").dt.epoch("ms").alias("_ms")
        self._rows = pl.read_parquet(folder / "*.parquet").with_columns(moment).sort("_ms")

    def days(self, first: float, stop: float) -> pl.DataFrame:
        """Transactions from a day on and before another, in order of time."""
        return self._rows.filter((pl.col("_ms") >= _ms(first)) & (pl.col("_ms") < _ms(stop)))

    def keep(self, first: float, stop: float, folder: Path) -> None:
        """Write some days as a history of their own."""
        folder.mkdir(parents=True, exist_ok=True)
        self.days(first, stop).drop("_ms").write_parquet(folder / "history-00000.parquet")

    def caught(self, first: float, stop: float, answers: Mapping[str, Answer]) -> Caught:
        """What the outcomes caught of the attacks of some days."""
        rows = self.days(first, stop)
        flagged = [answers[one].fraud.outcome in _FLAGGED for one in rows["transaction_id"].to_list()]
        rows = rows.with_columns(pl.Series("flagged", flagged))
        begun = rows.filter(pl.col("attack_position") <= 2).group_by("attack_id")
        gap_ms = pl.col("_ms").max() - pl.col("_ms").min()
        whole = begun.agg(pl.len(), pl.col("flagged").any(), gap_ms.alias("gap_ms")).filter(pl.col("len") == 2)
        new = whole.filter(pl.col("gap_ms") >= GAP_MS[0])  # those of the reference follow each other faster
        ordinary = rows.filter(pl.col("is_fraud") == 0)["flagged"]
        return Caught(
            len(whole), int(whole["flagged"].sum()), len(new), int(new["flagged"].sum()), sum(ordinary) / len(ordinary)
        )


def publish(rows: pl.DataFrame, publisher: Publisher, progress: Callable[[int], None]) -> None:
    """Publish transactions as fast as Kafka takes them, in order of their event time."""
    fields = rows.drop("_ms", *_TRUTH).with_columns(
        pl.col("amount").cast(pl.String), pl.col("event_time").dt.epoch("ms")
    )
    for number, row in enumerate(fields.iter_rows(named=True), start=1):
        publisher.publish(row["card_id"], msgspec.json.encode(row))
        if number % 1000 == 0:
            progress(number)
    publisher.finish()


def publish_labels(rows: pl.DataFrame, publisher: Publisher, delay_ms: int) -> int:
    """Publish a chargeback for every fraudulent transaction; returns how many."""
    frauds = rows.filter(pl.col("is_fraud") == 1)
    count = 0
    for transaction, card, moment in frauds.select("transaction_id", "card_id", "_ms").iter_rows():
        label = {
            "label_id": f"chargeback-{transaction}",
            "transaction_id": transaction,
            "card_id": card,
            "label": "fraud",
            "source": "chargeback",
            "labelled_at": _stamp(moment + delay_ms),
            "event_time": _stamp(moment),
        }
        publisher.publish(card, msgspec.json.encode(label))
        count += 1
    publisher.finish()
    return count


def _ms(day: float) -> int:
    return START_MS + round(day * DAY_MS)


def _stamp(moment_ms: int) -> str:
    moment = datetime.fromtimestamp(moment_ms // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment_ms % 1000:03d}Z"
