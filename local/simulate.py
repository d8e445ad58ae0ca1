"""Live traffic at its own pace: every transaction is published at its event time."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import IO

import msgspec

from local.producer import Publisher, PublishingError
from local.traffic import Event

_LONGEST_PAUSE_S = 0.1


class Sent(msgspec.Struct):
    """What a simulation has published, all of it confirmed.

    Attributes:
        transactions: in all.
        frauds: those that belong to an attack.
        attacks: begun attacks.
        seconds: from the first to the last confirmation.
    """

    transactions: int = 0
    frauds: int = 0
    attacks: int = 0
    seconds: float = 0.0


def simulate(
    traffic: Iterable[Event],
    kafka: Mapping[str, str],
    topic: str,
    *,
    stop: threading.Event,
    most: int | None = None,
    until_ms: int | None = None,
    labels: Path | None = None,
    progress: Callable[[int], None] = lambda _sent: None,
) -> Sent:
    """Publish transactions when they are due, until one of the ends is reached.

    Args:
        traffic: in order of time.
        kafka: librdkafka's settings that reach the brokers.
        topic: full name; it must exist.
        stop: ends it when set.
        most: transactions at most.
        until_ms: the first event due at this moment or later is not published any more, epoch milliseconds.
        labels: file that takes a JSON line per fraudulent transaction, appended to.
        progress: called with the number of transactions handed over.

    Raises:
        PublishingError: Kafka or the file of labels does not take them.
    """
    publisher = Publisher(kafka, topic)
    sent, started_s = Sent(), time.monotonic()
    with ExitStack() as stack:
        truth = stack.enter_context(_opened(labels)) if labels is not None else None
        for event in traffic:
            if sent.transactions == most or (until_ms is not None and event.due_ms >= until_ms):
                break
            if not _wait(event.due_ms, stop, publisher):
                break
            publisher.publish(event.transaction["card_id"], msgspec.json.encode(event.transaction))
            _count(sent, event)
            if truth is not None and event.label.is_fraud:
                truth.write(_label_line(event))
            progress(sent.transactions)
        publisher.finish()
    sent.seconds = time.monotonic() - started_s
    return sent


@contextmanager
def stopped_by_signals(stop: threading.Event) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM set the event while the block runs, so that it can end in good order."""

    def ask(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait(due_ms: int, stop: threading.Event, publisher: Publisher) -> bool:
    """Wait until an event is due; False when asked to stop. Traffic that is behind is not waited for."""
    while (left_s := due_ms / 1000 - time.time()) > 0 and not stop.is_set():
        publisher.serve(min(left_s, _LONGEST_PAUSE_S))
        stop.wait(min(max(due_ms / 1000 - time.time(), 0), _LONGEST_PAUSE_S))
    return not stop.is_set()


def _count(sent: Sent, event: Event) -> None:
    sent.transactions += 1
    sent.frauds += event.label.is_fraud
    sent.attacks += event.label.attack_position == 1


def _label_line(event: Event) -> bytes:
    fields = {
        "transaction_id": event.transaction["transaction_id"],
        "card_id": event.transaction["card_id"],
        "is_fraud": 1,
        "attack_id": event.label.attack_id,
        "attack_position": event.label.attack_position,
    }
    return msgspec.json.encode(fields) + b"\n"


def _opened(labels: Path) -> IO[bytes]:
    try:
        return labels.open("ab")
    except OSError as error:
        raise PublishingError(f"cannot write the labels to {labels}: {error.strerror}") from error
