"""The job as a Bytewax dataflow: state by card, the history in process memory, predictions by the batch.

The state is a `StatefulBatchLogic`: `stateful_map` is the shorter way, but copies every history in depth, entry by
entry, for each snapshot, also where none is saved; that costs a seventh of the time.

Batches are the connector's: up to 1,000 records a partition, and a flush of the producer after each. Without recovery
partitions a restart reads the topic from its beginning; with them (`-r`, `-s`) the state is saved to SQLite once a
snapshot interval, and a restart goes on from the last of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import bytewax.operators as op  # type: ignore[import-not-found]  # all of its environment
import orjson  # type: ignore[import-not-found]
from bytewax.connectors.kafka import KafkaSinkMessage, KafkaSourceMessage  # type: ignore[import-not-found]
from bytewax.connectors.kafka import operators as kop
from bytewax.dataflow import Dataflow  # type: ignore[import-not-found]
from bytewax.operators import StatefulBatchLogic

from bench.peers.programs.job import BROKER, SINK, SOURCE, Entry, Row, Scorer, decimals, insert, row_of

Parsed = tuple[dict[str, Any], dict[str, int]]
Applied = tuple[dict[str, Any], dict[str, int], Row | None]

scorer = Scorer()


def parse(message: KafkaSourceMessage[bytes, bytes]) -> tuple[str, Parsed]:
    """A record as its card, and what it says and where it lay."""
    transaction = orjson.loads(message.value)
    return transaction["card_id"], (transaction, {"partition": message.partition, "offset": message.offset})


class Windows(StatefulBatchLogic[Parsed, Applied, list[Entry]]):  # type: ignore[misc]  # its types are not here
    """A card's history."""

    def __init__(self, saved: list[Entry] | None) -> None:
        self._history: list[Entry] = saved or []

    def on_batch(self, values: list[Parsed]) -> tuple[Iterable[Applied], bool]:
        """Take transactions into the history."""
        return [(transaction, place, self._apply(transaction)) for transaction, place in values], self.RETAIN

    def snapshot(self) -> list[Entry]:
        """What is saved; entries never change."""
        return self._history.copy()

    def _apply(self, transaction: dict[str, Any]) -> Row | None:
        """A transaction's features, None of what is not scored."""
        match transaction.get("type"):
            case "history":
                self._history = [tuple(entry) for entry in transaction.pop("history")]
            case "reversal":
                original = transaction["original_transaction_id"]
                self._history = [entry for entry in self._history if entry[1] != original]
            case _:
                return row_of(insert(self._history, transaction), decimals(transaction))
        return None


def score(batch: list[tuple[str, Applied]]) -> list[KafkaSinkMessage[bytes, bytes]]:
    """Answer a batch of transactions."""
    outcomes = scorer.answers(applied for _, applied in batch)
    return [
        KafkaSinkMessage(card.encode(), orjson.dumps(outcome))
        for (card, _), outcome in zip(batch, outcomes, strict=True)
    ]


flow = Dataflow("fraud")
records = kop.input("transactions", flow, brokers=[BROKER], topics=[SOURCE])
windows = op.stateful_batch("windows", op.map("parse", records.oks, parse), Windows)
kop.output("outcomes", op.flat_map_batch("score", windows, score), brokers=[BROKER], topic=SINK)
