"""Meet Kafka before a role starts: it answers, and the topics are there with the partitions the contract wants."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from tenacity import (
    AsyncRetrying,
    retry_if_exception_type,
    stop_after_delay,
    stop_never,
    wait_exponential_jitter,
)

from features.errors import ConfigError, ServerUnavailable
from features.outage import Outage
from sinks.kafka_refusals import Refusals
from streams.settings import Settings

_REQUEST_S = 5.0


class _NotYet(Exception):  # noqa: N818 - a state that may heal; mapped before it leaves this module
    """Kafka does not answer, or a topic is not there."""


async def wait_for_topics(
    settings: Settings, names: Sequence[str], others: Sequence[str] = (), *, outage: Outage | None = None
) -> None:
    """Wait until Kafka answers and has the topics (full names).

    Args:
        settings: the brokers, the partitions and how long to wait.
        names: topics whose partitions are cards' homes: they must have `FRAUD_PARTITIONS` of them.
        others: topics that must only be there.
        outage: of Kafka, told of every attempt; topics that are missing count as such.

    Raises:
        ServerUnavailable: not within `FRAUD_STARTUP_WAIT_S`.
        ConfigError: a topic has another number of partitions than `FRAUD_PARTITIONS`, or Kafka refuses the login or
            the certificate.
    """
    away = outage or Outage("kafka", "FRAUD_KAFKA_BOOTSTRAP")
    refusals = Refusals()
    # Problems are said by the retries below; librdkafka's own lines would repeat them.
    try:
        config: dict[str, Any] = {**settings.kafka(), "log_level": 0, "error_cb": refusals}
        admin = AdminClient(config)
    except KafkaException as exc:
        raise ConfigError(f"FRAUD_KAFKA_*: these settings cannot be used together: {exc.args[0].str()}") from None
    request_s = min(_REQUEST_S, settings.startup_wait_s or _REQUEST_S)
    retrying = AsyncRetrying(
        retry=retry_if_exception_type(_NotYet),
        wait=wait_exponential_jitter(multiplier=0.2, max=5.0, jitter=0.2),
        stop=stop_after_delay(settings.startup_wait_s) if settings.startup_wait_s else stop_never,
        before_sleep=lambda state: away.failed(str(state.outcome.exception() if state.outcome else "")),
        reraise=True,
    )
    try:
        counts: dict[str, int] = await retrying(
            asyncio.to_thread, _partition_counts, admin, [*names, *others], request_s, refusals
        )
    except _NotYet as exc:
        raise ServerUnavailable(f"{exc} (waited {settings.startup_wait_s:g} s)") from None
    away.answered()
    for name in names:
        if (count := counts[name]) != settings.partitions:
            raise ConfigError(
                f"FRAUD_PARTITIONS is {settings.partitions} but topic {name} has {count} partitions; a card's home "
                f"would change: set FRAUD_PARTITIONS={count}, or (only to more) run: fraudstream setup --grow. Where "
                "it was given more meanwhile, stop the score roles, set the variable and run: fraudstream replay"
            )


def _partition_counts(admin: AdminClient, names: Sequence[str], request_s: float, refusals: Refusals) -> dict[str, int]:
    try:
        topics = admin.list_topics(timeout=request_s).topics
    except KafkaException as exc:
        refusals.check(admin)
        raise _NotYet(f"Kafka does not answer; check FRAUD_KAFKA_BOOTSTRAP ({exc.args[0].str()})") from None
    for name in names:
        if name not in topics:
            raise _NotYet(f"topic {name} does not exist; run `fraudstream setup` (FRAUD_TOPIC_PREFIX)")
    return {name: len(topics[name].partitions) for name in names}
