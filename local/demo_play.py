"""What goes in: the scenario at a visible pace, records that are no transactions, and a burst at full speed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Final

import msgspec

from local.producer import Publisher
from local.traffic import ScenarioEvent, Traffic

CARD_NUMBER: Final = "4111 1111 1111 1111"
"""The card schemes' own test number: somebody forgot to tokenise it."""
CARD_NUMBER_ID: Final = "demo-card-number"

_GOOD: Final = {
    "transaction_id": "demo-hostile",
    "card_id": "demo-hostile-card",
    "amount": "12.50",
    "currency": "USD",
    "event_time": "2026-01-01T00:00:00Z",
}


def _but(**fields: object) -> bytes:
    return msgspec.json.encode({**_GOOD, **fields})


HOSTILE: Final[tuple[tuple[str, bytes | None], ...]] = (
    ("not_json", b'{"transaction_id": "demo-hostile", "card_id'),
    ("not_json", b"\xff\xfe not even text"),
    ("not_json", b"[" * 100_000),
    ("not_object", b'["a", "list"]'),
    ("empty", None),
    ("missing_field", msgspec.json.encode({name: value for name, value in _GOOD.items() if name != "amount"})),
    ("bad_type", _but(card_id=["a", "list"])),
    ("bad_amount", _but(amount="-12.50")),
    ("bad_currency", _but(currency="DOGE")),
    ("bad_time", _but(event_time="yesterday")),
    ("too_large", _but(email="x" * 2_000_000)),
)
"""Records that must become dead letters, each with its reason."""


class Sent:
    """What was handed to Kafka.

    Attributes:
        at_s: when each transaction was, by its id (seconds of the monotonic clock).
        hostile: how many records that are no transactions.
    """

    def __init__(self) -> None:
        self.at_s: dict[str, float] = {}
        self.hostile = 0

    @property
    def total(self) -> int:
        """Records of every kind."""
        return len(self.at_s) + self.hostile


def play(
    events: list[ScenarioEvent], publisher: Publisher, sent: Sent, *, seconds: float, progress: Callable[[int], None]
) -> None:
    """Publish the scenario evenly over some seconds, hostile records between its transactions.

    Args:
        events: in order of event time.
        publisher: of `transactions`.
        sent: what is published is noted there.
        seconds: how long it takes.
        progress: called with the number of transactions published.
    """
    begun_s, pace_s = time.monotonic(), seconds / len(events)
    every = len(events) // (len(HOSTILE) + 1)
    for number, planned in enumerate(events):
        due_s = begun_s + number * pace_s
        while (left_s := due_s - time.monotonic()) > 0:
            time.sleep(left_s)
        transaction = planned.event.transaction
        sent.at_s[transaction["transaction_id"]] = time.monotonic()
        publisher.publish(transaction["card_id"], msgspec.json.encode(transaction))
        if number and number % every == 0 and sent.hostile < len(HOSTILE):
            publisher.publish(None, HOSTILE[sent.hostile][1])
            sent.hostile += 1
        progress(number + 1)
    publisher.finish()


def publish_card_number(publisher: Publisher, sent: Sent, event_time: str) -> None:
    """Publish a good transaction whose card id is a card number."""
    sent.at_s[CARD_NUMBER_ID] = time.monotonic()
    card = {"transaction_id": CARD_NUMBER_ID, "card_id": CARD_NUMBER, "event_time": event_time}
    publisher.publish(CARD_NUMBER, _but(**card))


def burst(count: int, start_ms: int, span_ms: int, cards: int) -> list[tuple[str, str, bytes]]:
    """Transactions to publish at once: id, key and value of each."""
    traffic = Traffic(cards, seed=2, start_ms=start_ms, rate=count * 1000 / span_ms)
    return [
        (event.transaction["transaction_id"], event.transaction["card_id"], msgspec.json.encode(event.transaction))
        for event in islice(traffic, count)
    ]


def publish_burst(records: Iterable[tuple[str, str, bytes]], publisher: Publisher, sent: Sent) -> None:
    """Publish records as fast as Kafka takes them."""
    for transaction_id, key, value in records:
        sent.at_s[transaction_id] = time.monotonic()
        publisher.publish(key, value)
    publisher.finish()
