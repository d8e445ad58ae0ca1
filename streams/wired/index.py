"""The `index` role."""

from __future__ import annotations

from sinks.publisher import Publisher
from sinks.topics import DEAD_LETTERS
from streams.index import IndexHandler
from streams.rejected import dead_letter_box
from streams.role import Handler
from streams.roles import now_ms
from streams.settings import Settings
from streams.watch.health import Health
from streams.watch.metrics import IndexMetrics


def index_handler(settings: Settings, health: Health) -> Handler:
    """The handler; raises ConfigError where a setting cannot be used."""
    on_rejected = dead_letter_box(Publisher(settings.kafka()), settings.topic(DEAD_LETTERS))
    return IndexHandler(
        settings, on_rejected, now_ms, metrics=IndexMetrics(health.registry), outage=health.outages["opensearch"]
    )
