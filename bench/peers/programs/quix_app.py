"""The job as a Quix Streams application: a stateful `apply`, a card's history as one value of the RocksDB state.

Every setting is the default but the session timeout: checkpoints every 5 s, changelog topics on, at least once. There
is no call for several records at once, so each is predicted by itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from quixstreams import Application, State, message_context  # type: ignore[import-not-found]  # of its environment

from bench.peers.programs.job import (
    BROKER,
    FOLDER,
    GROUP,
    SESSION_TIMEOUT_S,
    SINK,
    SOURCE,
    Entry,
    Row,
    Scorer,
    decimals,
    insert,
    row_of,
)

scorer = Scorer()


def score(transaction: dict[str, Any], state: State) -> dict[str, Any]:
    """Answer a transaction; the state is that of its key, the card."""
    context = message_context()
    place = {"partition": context.partition, "offset": context.offset}
    (outcome,) = scorer.answers([(transaction, place, apply(transaction, state))])
    return outcome


def apply(transaction: dict[str, Any], state: State) -> Row | None:
    """Take a transaction into its card's history; returns its features, None of what is not scored."""
    row = None
    history: list[Entry] = [tuple(entry) for entry in state.get("history", [])]
    match transaction.get("type"):
        case "history":
            history = transaction.pop("history")
        case "reversal":
            history = [entry for entry in history if entry[1] != transaction["original_transaction_id"]]
        case _:
            row = row_of(insert(history, transaction), decimals(transaction))
    state.set("history", history)
    return row


def main() -> None:
    """Run until told to stop."""
    app = Application(
        BROKER, consumer_group=GROUP, auto_offset_reset="earliest", state_dir=Path(FOLDER) / GROUP, loglevel="WARNING",
        consumer_extra_config={"session.timeout.ms": SESSION_TIMEOUT_S * 1000, "heartbeat.interval.ms": 1000},
    )  # fmt: skip
    stream = app.dataframe(app.topic(SOURCE, value_deserializer="json"))
    stream.apply(score, stateful=True).to_topic(app.topic(SINK, value_serializer="json"))
    app.run()


if __name__ == "__main__":
    main()
