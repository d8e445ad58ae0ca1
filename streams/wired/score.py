"""The `score` role, and the state that repairs share with it."""

from __future__ import annotations

import os
import socket
from typing import Final

import msgspec
import structlog
from redis.asyncio import Redis

from features.decode import Decoder
from features.native import missing
from features.outage import Outage
from features.redis_link import connect
from features.store import OnlineStore
from features.stored import Limits
from features.windows import WEEK_MS
from sinks.publisher import Publisher
from sinks.topics import DEAD_LETTERS, PROCESSED, TRANSACTIONS
from streams.cards import CardState
from streams.decisions import Decisions
from streams.intake import Reader
from streams.lists import ListBook, ListStore
from streams.policy.board import Board
from streams.policy.files import PolicyFiles
from streams.policy.reload import Reloader
from streams.repair.homes import HomesNote
from streams.repair.rebuild import Rebuilder, Source
from streams.repair.rehome import Rehomer
from streams.repair.rescore import Rescorer
from streams.role import Handler
from streams.roles import now_ms
from streams.score import ScoreHandler
from streams.scorer import Scorer
from streams.settings import Settings
from streams.watch.health import Health
from streams.watch.metrics import ScoreMetrics
from streams.watch.policy_metrics import PolicyMetrics

log = structlog.get_logger(__name__)

NATIVE: Final = ("features._decode", "features._quiet", "scoring._shap", "scoring._trees", "streams._outcome")
"""Native pieces that the role works with, where they were built."""
_REDIS_TIMEOUT_S: Final = 5.0
# How long Redis may take before a batch is scored without it, where no deadline is set and the policy is to degrade.
_PATIENCE_S: Final = 1.0


def limits_of(settings: Settings) -> Limits:
    """What the windows depend on."""
    grace_ms = settings.grace_s * 1000
    return Limits(
        retention_ms=WEEK_MS + grace_ms,
        grace_ms=grace_ms,
        clock_skew_ms=settings.clock_skew_s * 1000,
        hot_card_records=settings.hot_card_records,
    )


class State(msgspec.Struct, frozen=True):
    """The histories of the cards, and the ways to change them."""

    store: OnlineStore
    cards: CardState
    rebuilder: Rebuilder
    rehomer: Rehomer
    note: HomesNote


def source_of(settings: Settings) -> Source:
    """Where the records of the histories come from."""
    limits = limits_of(settings)
    return Source(
        settings.kafka(),
        topic=settings.topic(TRANSACTIONS),
        dead_letters=settings.topic(DEAD_LETTERS),
        partitions=settings.partitions,
        retention_ms=limits.retention_ms,
        clock_skew_ms=limits.clock_skew_ms,
    )


def make_state(settings: Settings, patience_s: float = 0, outage: Outage | None = None) -> State:
    """The online feature store and what applies records to it.

    Args:
        settings: where everything is.
        patience_s: how long a call to Redis may take before it counts as away; 0: it is waited for.
        outage: told when Redis goes away and comes back.
    """
    limits = limits_of(settings)
    timeout_s = min(patience_s or _REDIS_TIMEOUT_S, _REDIS_TIMEOUT_S)
    store = OnlineStore(
        redis_of(settings, timeout_s),
        key_prefix=settings.key_prefix,
        ttl_ms=limits.retention_ms,
        startup_wait_s=settings.startup_wait_s,
        patience_s=patience_s,
        outage=outage,
    )
    cards = CardState(store, limits)
    source = source_of(settings)
    note = HomesNote(
        source.kafka,
        group=settings.group("homes"),
        topic=source.topic,
        partitions=source.partitions,
        reach_ms=source.reach_ms,
    )
    reader = make_reader(settings)
    rebuilder = Rebuilder(source, reader=reader, cards=cards, store=store, note=note)
    rehomer = Rehomer(source, reader=reader, cards=cards, store=store, note=note)
    return State(store, cards, rebuilder, rehomer, note)


def redis_of(settings: Settings, timeout_s: float = _REDIS_TIMEOUT_S) -> Redis:
    """A client of `FRAUD_REDIS_URL`."""
    return connect(settings.redis_url.get_secret_value(), ca_path=settings.redis_ssl_ca, timeout_s=timeout_s)


def make_rescorer(settings: Settings, state: State) -> Rescorer:
    """Computes past outcomes again; `settings` and `state` with a key prefix of their own."""
    return Rescorer(
        source_of(settings),
        outcomes=settings.topic(PROCESSED),
        reader=make_reader(settings),
        store=state.store,
        cards=state.cards,
        decisions=Decisions(PolicyFiles(settings).load(), limits_of(settings), settings.topic(TRANSACTIONS)),
        hot_card_records=settings.hot_card_records,
    )


def make_reader(settings: Settings) -> Reader:
    """Decodes records and finds their home."""
    key = settings.pan_key.get_secret_value().encode()
    return Reader(
        Decoder(key or None, settings.old_pan_keys()),
        topic=settings.topic(TRANSACTIONS),
        dead_letters=settings.topic(DEAD_LETTERS),
        partitions=settings.partitions,
    )


def score_handler(settings: Settings, health: Health) -> Handler:
    """The handler; raises FraudstreamError where a setting, the model or the rules cannot be used."""
    if pieces := missing(NATIVE):
        log.warning(
            "native_pieces_missing", pieces=pieces, advice="answers are the same, slower; install with a C compiler"
        )
    degrades = settings.on_store_loss == "degrade"
    patience_s = settings.deadline_ms / 1000 or _PATIENCE_S
    state = make_state(settings, patience_s if degrades else 0, health.outages["redis"])
    files = PolicyFiles(settings)
    metrics = ScoreMetrics(health.registry, health.rebuilding)
    decisions = Decisions(files.load(), limits_of(settings), settings.topic(TRANSACTIONS), lap=metrics.stages.lap)
    scorer = Scorer(
        store=state.store,
        cards=CardState(state.store, limits_of(settings), metrics),
        rebuilder=state.rebuilder,
        decisions=decisions,
        sink=settings.topic(PROCESSED),
        degrades=degrades,
        now_ms=now_ms,
        metrics=metrics,
    )
    return ScoreHandler(
        reader=make_reader(settings),
        scorer=scorer,
        reloader=_reloader(settings, files, decisions, PolicyMetrics(health.registry, health.role)),
        publisher=Publisher(settings.kafka()),
        deadline_ms=settings.deadline_ms,
        metrics=metrics,
    )


def _reloader(settings: Settings, files: PolicyFiles, decisions: Decisions, metrics: PolicyMetrics) -> Reloader:
    client = redis_of(settings)
    return Reloader(
        files,
        decisions,
        book=ListBook(ListStore(client, settings.key_prefix)),
        board=Board(client, settings.key_prefix),
        worker=f"{socket.gethostname()}:{os.getpid()}",
        now_ms=now_ms,
        metrics=metrics,
    )
