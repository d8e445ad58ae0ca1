"""Wire what runs beside a role from the settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from sinks.publisher import Publisher
from sinks.topics import DEAD_LETTERS, LABELS, PROCESSED, TRANSACTIONS
from streams.beside.dead_letters import DeadLetterService
from streams.beside.labels import LabelService
from streams.beside.metrics import DeadLetterMetrics, LabelMetrics
from streams.beside.samples import SampleService, Watched
from streams.beside.source import Service
from streams.index import opensearch_client
from streams.rejected import dead_letter_box
from streams.settings import Settings
from streams.watch.health import Health

LABELS_GROUP: Final = "index-labels"
DEAD_LETTERS_GROUP: Final = "index-dead-letters"
# What each consumer group reads, by the role that it stands for.
GROUPS: Final = {
    "score": TRANSACTIONS,
    "index": PROCESSED,
    "alert": PROCESSED,
    LABELS_GROUP: LABELS,
    DEAD_LETTERS_GROUP: DEAD_LETTERS,
}


def make_services(
    settings: Settings, health: Health, consumer: Mapping[str, str | int | bool], now_ms: Callable[[], int]
) -> list[Service]:
    """What runs beside the batches of the `index` role: labels, dead letters and samples.

    Args:
        settings: where everything is.
        health: of the role.
        consumer: librdkafka's settings of a role's consumer.
        now_ms: the clock, epoch milliseconds.
    """
    outage, prefix = health.outages["opensearch"], settings.index_prefix
    services: list[Service] = [
        LabelService(
            settings.topic(LABELS),
            _config(settings, LABELS_GROUP, consumer),
            opensearch_client(settings),
            prefix,
            dead_letter_box(Publisher(settings.kafka()), settings.topic(DEAD_LETTERS)),
            now_ms,
            metrics=LabelMetrics(health.registry),
            outage=outage,
        ),
        DeadLetterService(
            settings.topic(DEAD_LETTERS),
            _config(settings, DEAD_LETTERS_GROUP, consumer),
            opensearch_client(settings),
            prefix,
            metrics=DeadLetterMetrics(health.registry),
            outage=outage,
        ),
    ]
    if settings.sample_s:
        watched = [Watched(name, settings.group(name), settings.topic(topic)) for name, topic in GROUPS.items()]
        client = opensearch_client(settings)
        services.append(
            SampleService(settings.kafka(), watched, settings.sample_s, client, prefix, now_ms, outage=outage)
        )
    return services


def _config(settings: Settings, group: str, consumer: Mapping[str, str | int | bool]) -> dict[str, str | int | bool]:
    # Little comes this way: a batch of a thousand fetched ahead is plenty.
    return {
        **settings.kafka(), **consumer, "group.id": settings.group(group), "auto.offset.reset": "earliest",
        "queued.min.messages": 1_000, "queued.max.messages.kbytes": 8_192,
    }  # fmt: skip
