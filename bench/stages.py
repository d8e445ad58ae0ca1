"""CPU time of the steps that a batch takes inside the process, without Kafka and Redis."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import numpy as np
from prometheus_client import CollectorRegistry

from bench.cards import PARTITIONS, TTL_MS, Cards, Sent
from bench.spread import Spread, spread
from features.catalogue import feature_matrix
from features.decode import Decoder
from features.partition import home_partition
from features.store import Snapshot
from features.stored import Limits, apply_stored
from scoring.model import Model
from scoring.policy import Policy
from scoring.reasons import explain
from streams.columns import Roster, batch_columns
from streams.decisions import Decisions
from streams.intake import Incoming, Intake, Reach
from streams.watch.metrics import ScoreMetrics

STAGES: Final = (
    "decode", "home", "roster", "columns", "windows", "decide", "encode", "metrics",
)  # fmt: skip
PARTS: Final = ("features", "model", "reasons")
"""Parts of `decide`, timed apart on the same input."""
_SKEW_MS: Final = 300_000
_LIMITS: Final = Limits(retention_ms=TTL_MS, grace_ms=86_400_000, clock_skew_ms=_SKEW_MS, hot_card_records=4096)


def measure_stages(model: Path, cards: Cards, size: int, batches: int, repeats: int) -> dict[str, Spread]:
    """CPU microseconds per event of each stage.

    Args:
        model: its folder.
        cards: every batch finds the same histories: nothing is stored.
        size: events in a batch.
        batches: batches in a repeat.
        repeats: how often; one more goes before them and does not count.
    """
    bench = _Stages(Model.load(model), cards)
    found: dict[str, list[float]] = {name: [] for name in (*STAGES, *PARTS)}
    for repeat in range(repeats + 1):
        spent = dict.fromkeys(found, 0)
        records = cards.records(size * batches, f"s{size}-{repeat}-")
        for start in range(0, len(records), size):
            bench.run(records[start : start + size], start, spent)
        if repeat:
            for name, nanoseconds in spent.items():
                found[name].append(nanoseconds / 1000 / len(records))
    return {name: spread(values) for name, values in found.items()}


class _Stages:
    """A batch's way, step by step, each timed."""

    def __init__(self, model: Model, cards: Cards) -> None:
        self._model, self._cards = model, cards
        self._stored = dict(zip(cards.names, cards.histories(), strict=True))
        self._decoder, self._decisions = Decoder(None), Decisions(Policy(model), _LIMITS, "transactions")
        self._metrics = ScoreMetrics(CollectorRegistry())
        self._now_ms = int(time.time() * 1000)

    def run(self, records: list[Sent], offset: int, spent: dict[str, int]) -> None:
        """Take one batch of one partition from bytes to records to publish; add the CPU nanoseconds to `spent`."""
        lap = _Laps(spent).lap
        transactions = [self._decoder.decode(record.value) for record in records]
        lap("decode")
        for transaction in transactions:
            home_partition(transaction.home_id, PARTITIONS)
        lap("home")
        incoming = [Incoming(t, 0, offset + i, t.event_ms) for i, t in enumerate(transactions)]
        roster = Roster(incoming, {0: Reach(offset, offset + len(records) - 1)})
        lap("roster")
        snapshots = {0: Snapshot(offset - 1, [self._stored[card] for card in roster.cards[0]])}
        lap(None)
        columns = batch_columns(incoming, roster.rank, snapshots, _SKEW_MS)
        lap("columns")
        applied = apply_stored(snapshots[0].histories, columns, roster.delivery({}), _LIMITS).applied
        lap("windows")
        answers = self._decisions.answers(incoming, applied, self._now_ms)
        lap("decide")
        answers.records("processed")
        lap("encode")
        self._metrics.batch({}, answers.tally(), Intake(incoming, {}, 0, []))
        lap("metrics")
        exponents = np.array([t.exponent for t in transactions], np.int64)
        lap(None)
        x = feature_matrix(applied.aggregates, exponents)
        lap("features")
        probability = self._model.predict(x)
        lap("model")
        flagged = np.flatnonzero(probability >= self._model.thresholds.review)
        lap(None)
        if len(flagged):
            explain(self._model.contributions(x[flagged]), x[flagged])
        lap("reasons")


class _Laps:
    """Adds the CPU time since the last lap to the stage that it was spent in; None: to none."""

    def __init__(self, spent: dict[str, int]) -> None:
        self._spent = spent
        self._since = time.process_time_ns()

    def lap(self, name: str | None) -> None:
        now = time.process_time_ns()
        if name is not None:
            self._spent[name] += now - self._since
        self._since = time.process_time_ns()
