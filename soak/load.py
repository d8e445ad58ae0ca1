"""A steady load whose event times run faster than the clock, so that a week passes within minutes."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Final

import msgspec

from features.windows import WEEK_MS
from local.errors import LocalStackError
from local.producer import Publisher
from local.traffic import Traffic

DAY_MS: Final = 86_400_000
RETENTION_MS: Final = WEEK_MS + DAY_MS
# As dense as in the reference history: 3.6 transactions per card and day.
_PER_CARD: Final = 3.6 * RETENTION_MS / DAY_MS
_BEHIND_MS: Final = DAY_MS
_STEP_S: Final = 0.02


class Plan(msgspec.Struct, frozen=True):
    """What a run sends.

    Attributes:
        seconds: how long.
        rate: transactions per second.
        windows: how often a whole retention (a week and the day of grace) passes in that time.
    """

    seconds: float
    rate: float
    windows: float

    @property
    def speed(self) -> float:
        """Seconds of event time per second."""
        return self.windows * RETENTION_MS / 1000 / self.seconds

    @property
    def cards(self) -> int:
        """Cards, so many that each is used as often per day as in the reference history."""
        return max(round(self.rate * self.seconds / self.windows / _PER_CARD), 1)

    def start_ms(self, now_ms: int) -> int:
        """First event time: the last one lies a day before the end of the run."""
        return now_ms - int(self.windows * RETENTION_MS) - _BEHIND_MS


class Load(threading.Thread):
    """Publishes a plan's transactions at their pace.

    Args:
        plan: what to send.
        kafka: librdkafka settings that reach the brokers.
        topic: full name.
        now_ms: the clock, epoch milliseconds.

    Attributes:
        sent: transactions handed over so far.
        problem: why it ended early, None where it did not.
    """

    def __init__(self, plan: Plan, kafka: Mapping[str, str], topic: str, now_ms: int) -> None:
        super().__init__(name="load", daemon=True)
        self._plan, self._kafka, self._topic = plan, kafka, topic
        self._traffic = Traffic(plan.cards, 11, plan.start_ms(now_ms), plan.rate / plan.speed)
        self._stop_asked = threading.Event()
        self.sent = 0
        self.problem: LocalStackError | None = None

    def run(self) -> None:
        """Send until the plan is done; everything is confirmed then."""
        try:
            self._send()
        except LocalStackError as error:
            self.problem = error

    def stop(self) -> None:
        """End early, with everything confirmed."""
        self._stop_asked.set()
        self.join()

    def _send(self) -> None:
        publisher = Publisher(self._kafka, self._topic)
        events = iter(self._traffic)
        began_s = time.monotonic()
        while (elapsed_s := time.monotonic() - began_s) < self._plan.seconds and not self._stop_asked.is_set():
            while self.sent < elapsed_s * self._plan.rate:
                transaction = next(events).transaction
                publisher.publish(transaction["card_id"], msgspec.json.encode(transaction))
                self.sent += 1
            publisher.serve(0)
            self._stop_asked.wait(_STEP_S)
        publisher.finish()
