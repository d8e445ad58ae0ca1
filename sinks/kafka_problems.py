"""What librdkafka complains about, said once in a while: a broker that is away is reported many times a second."""

from __future__ import annotations

import time
from typing import Final

import structlog
from confluent_kafka import KafkaError

log = structlog.get_logger(__name__)

_EVERY_S: Final = 10.0


class KafkaProblems:
    """An `error_cb` that logs each kind of problem at most every ten seconds; safe in any thread."""

    def __init__(self) -> None:
        self._said_s: dict[int, float] = {}

    def __call__(self, error: KafkaError) -> None:
        """Log the problem, unless it was logged just now."""
        now_s = time.monotonic()
        if now_s - self._said_s.get(error.code(), float("-inf")) < _EVERY_S:
            return
        self._said_s[error.code()] = now_s
        log.warning("kafka_problem", variable="FRAUD_KAFKA_BOOTSTRAP", problem=error.str(), fatal=error.fatal())
