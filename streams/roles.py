"""Wire each role's handler from the settings."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec
from prometheus_client import CollectorRegistry

from features.decode import Decoder
from features.errors import ConfigError
from features.store import OnlineStore, connect
from features.windows import WEEK_MS
from scoring.model import Model
from sinks.deadletter import dead_letter
from sinks.publisher import Publisher, Record
from streams.cards import CardState
from streams.decisions import Decisions, Limits
from streams.index import IndexHandler, Rejected
from streams.intake import Reader, offset_of
from streams.metrics import ScoreMetrics
from streams.rebuild import Rebuilder
from streams.role import Handler
from streams.score import ScoreHandler
from streams.settings import Settings

Role = Literal["score", "index"]

TRANSACTIONS: Final = "transactions"
PROCESSED: Final = "processed_transactions"
DEAD_LETTERS: Final = "transactions.dlq"

SOURCES: Final[dict[Role, str]] = {"score": TRANSACTIONS, "index": PROCESSED}


def make_handler(role: Role, settings: Settings, registry: CollectorRegistry) -> Handler:
    """The handler of a role; raises FraudstreamError where a setting or the model cannot be used."""
    makers: dict[Role, Callable[[Settings, CollectorRegistry], Handler]] = {"score": _score, "index": _index}
    return makers[role](settings, registry)


def limits_of(settings: Settings) -> Limits:
    """What the windows depend on."""
    grace_ms = settings.grace_s * 1000
    return Limits(retention_ms=WEEK_MS + grace_ms, grace_ms=grace_ms, clock_skew_ms=settings.clock_skew_s * 1000)


class State(msgspec.Struct, frozen=True):
    """The histories of the cards, and the ways to change them."""

    store: OnlineStore
    cards: CardState
    rebuilder: Rebuilder


def make_state(settings: Settings) -> State:
    """The online feature store and what applies records to it."""
    limits = limits_of(settings)
    store = OnlineStore(
        connect(settings.redis_url.get_secret_value(), ca_path=settings.redis_ssl_ca),
        key_prefix=settings.key_prefix,
        ttl_ms=limits.retention_ms,
        startup_wait_s=settings.startup_wait_s,
    )
    cards = CardState(store, limits)
    rebuilder = Rebuilder(
        settings.kafka(),
        topic=settings.topic(TRANSACTIONS),
        reader=make_reader(settings),
        cards=cards,
        store=store,
        retention_ms=limits.retention_ms,
    )
    return State(store, cards, rebuilder)


def make_reader(settings: Settings) -> Reader:
    """Decodes records and finds their home."""
    key = settings.pan_key.get_secret_value().encode()
    return Reader(
        Decoder(key or None),
        topic=settings.topic(TRANSACTIONS),
        dead_letters=settings.topic(DEAD_LETTERS),
        partitions=settings.partitions,
    )


def _score(settings: Settings, registry: CollectorRegistry) -> Handler:
    if settings.rules:
        raise ConfigError("FRAUD_RULES is set, but this version decides by the model alone; unset it")
    source = settings.topic(TRANSACTIONS)
    state = make_state(settings)
    return ScoreHandler(
        reader=make_reader(settings),
        store=state.store,
        cards=state.cards,
        rebuilder=state.rebuilder,
        decisions=Decisions(Model.load(Path(settings.model)), limits_of(settings), source),
        publisher=Publisher(settings.kafka()),
        sink=settings.topic(PROCESSED),
        now_ms=_now_ms,
        metrics=ScoreMetrics(registry),
    )


def _index(settings: Settings, _registry: CollectorRegistry) -> Handler:
    publisher = Publisher(settings.kafka())
    topic = settings.topic(DEAD_LETTERS)

    async def on_rejected(items: Sequence[Rejected]) -> None:
        publisher.start()
        await publisher.publish([_rejected(topic, item) for item in items])

    return IndexHandler(settings, on_rejected, _now_ms)


def _rejected(topic: str, item: Rejected) -> Record:
    record = item.record
    value = dead_letter(
        item.reason,
        item.detail,
        topic=record.topic() or "",
        partition=record.partition() or 0,
        offset=offset_of(record),
        timestamp_ms=record.timestamp()[1],
        key=record.key(),
        value=record.value(),
    )
    return Record(topic, None, value, [("reason", item.reason.encode())])


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
