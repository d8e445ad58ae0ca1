"""Everything that a console process works with, made from the settings."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from opensearchpy import OpenSearch

from console.carrier import Carrier
from console.desk import Desk
from console.library import Library
from console.notes import Notes
from console.outbox import Outbox
from console.sessions import Sessions
from console.users import UsersFile
from console.watch import ConsoleHealth
from features.redis_link import connect as connect_redis
from sinks.opensearch import connect as connect_opensearch
from sinks.publisher import Publisher
from sinks.topics import AUDIT
from streams.settings import Settings

_REDIS_S: Final = 3.0
_OPENSEARCH_S: Final = 8.0
_OPENSEARCH_CONNECTIONS: Final = 16


class Room:
    """One console process.

    Attributes:
        settings: as given.
        health: what it tells of itself.
        users, sessions: who is there.
        notes, library, outbox, desk: what they work with.

    Raises:
        ConfigError: a setting or the users file cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.networks = settings.console_networks()
        self.health = ConsoleHealth()
        self.users = UsersFile(Path(settings.console_users))
        self.users.check()
        self._redis = connect_redis(
            settings.redis_url.get_secret_value(), ca_path=settings.redis_ssl_ca, timeout_s=_REDIS_S
        )
        self._opensearch = _opensearch(settings)
        self.notes = Notes(self._redis, settings.key_prefix, settings.console_claim_s * 1000)
        self.sessions = Sessions(
            self._redis,
            settings.key_prefix,
            longest_ms=settings.console_session_s * 1000,
            idle_ms=settings.console_idle_s * 1000,
        )
        outages = self.health.outages
        self.library = Library(self._opensearch, settings.index_prefix, outages["opensearch"])
        self.outbox = Outbox(self.notes, Publisher(settings.kafka()), outages["kafka"], now_ms)
        self.desk = Desk(
            self.notes,
            self.library,
            self.outbox,
            topic=settings.topic,
            now_ms=now_ms,
            metrics=self.health.metrics,
        )
        self._carrier = Carrier(
            settings.kafka(),
            topic=settings.topic(AUDIT),
            group=settings.group("console"),
            client=self._opensearch,
            index_prefix=settings.index_prefix,
            outage=outages["opensearch"],
        )

    async def open(self) -> None:
        """Begin; servers that are away are waited for by whoever needs them."""
        self.outbox.start()
        self._carrier.start()
        self.health.start(self._look_at_redis, self.library.look)

    async def close(self) -> None:
        """End: what is not confirmed stays in Redis."""
        await self.health.stop()
        await self._carrier.stop()
        await self.outbox.stop()
        await self._redis.aclose()
        self._opensearch.close()

    async def _look_at_redis(self) -> None:
        size = await self.notes.outbox_size()
        self.outbox.waiting = size
        self.health.metrics.outbox.set(size)


def now_ms() -> int:
    """The clock of the console, epoch milliseconds."""
    return time.time_ns() // 1_000_000


def _opensearch(settings: Settings) -> OpenSearch:
    return connect_opensearch(
        settings.opensearch_url.get_secret_value(),
        username=settings.opensearch_username,
        password=settings.opensearch_password.get_secret_value(),
        ca_path=settings.opensearch_ssl_ca,
        timeout_s=_OPENSEARCH_S,
        connections=_OPENSEARCH_CONNECTIONS,
    )
