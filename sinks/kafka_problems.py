"""What librdkafka complains about, said once in a while: a broker that is away is reported many times a second."""

from __future__ import annotations

import time
from typing import Final

import structlog
from confluent_kafka import KafkaError

log = structlog.get_logger(__name__)

_FIRST_S: Final = 10.0
_LONGEST_S: Final = 600.0


class KafkaProblems:
    """An `error_cb` that logs each kind of problem now and then; safe in any thread.

    After a line of one kind the next one comes 10 seconds later at the earliest, then 20, up to ten minutes; a kind
    that was not seen for that long begins anew.
    """

    def __init__(self) -> None:
        self._said_s: dict[int, float] = {}
        self._pause_s: dict[int, float] = {}

    def __call__(self, error: KafkaError) -> None:
        """Log the problem, unless it was logged just now."""
        now_s, code = time.monotonic(), error.code()
        quiet_s, pause_s = now_s - self._said_s.get(code, float("-inf")), self._pause_s.get(code, _FIRST_S)
        if quiet_s < pause_s:
            return
        self._said_s[code] = now_s
        self._pause_s[code] = _FIRST_S if quiet_s > 2 * pause_s else min(2 * pause_s, _LONGEST_S)
        log.warning("kafka_problem", variable="FRAUD_KAFKA_BOOTSTRAP", problem=error.str(), fatal=error.fatal())
