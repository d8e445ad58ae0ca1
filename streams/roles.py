"""The roles: what each of them reads, and how its handler is made."""

from __future__ import annotations

import time
from importlib.metadata import version
from typing import Final, Literal

from sinks.topics import PROCESSED, TRANSACTIONS
from streams.role import Handler
from streams.settings import Settings
from streams.watch.health import Health
from streams.watch.metrics import BuildInfo

Role = Literal["score", "index", "alert"]

SOURCES: Final[dict[Role, str]] = {"score": TRANSACTIONS, "index": PROCESSED, "alert": PROCESSED}


def make_handler(role: Role, settings: Settings, health: Health) -> Handler:
    """The handler of a role; raises FraudstreamError where a setting or the model cannot be used."""
    # Half of a role's start is imports, so each takes its own alone.
    if role == "score":
        from streams.wired.score import score_handler  # noqa: PLC0415 - as above

        return score_handler(settings, health)
    BuildInfo(health.registry).set(role=role, version=version("fraudstream"))
    if role == "index":
        from streams.wired.index import index_handler  # noqa: PLC0415 - as above

        return index_handler(settings, health)
    from streams.wired.alert import alert_handler  # noqa: PLC0415 - as above

    return alert_handler(settings, health)


def now_ms() -> int:
    """The clock of the roles, epoch milliseconds."""
    return time.time_ns() // 1_000_000
