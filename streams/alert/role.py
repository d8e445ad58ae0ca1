"""The handler of the `alert` role: outcomes are matched with routes and put into the spool, and channels empty it.

Delivery: at least once. An alert is on disk before the offset of its outcome is committed, and leaves it when its
channel has taken it, or as a dead letter. Its id is that of the transaction, so a repeat is known.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import partial

import structlog
from confluent_kafka import Message as Record

from features.errors import DecodeError
from streams.alert.courier import DryRun, Sender
from streams.alert.desk import Desk
from streams.alert.message import Alert, Outcome, alert_of, decode_outcome
from streams.alert.plan import Channel, Plan, Route, Throttle
from streams.alert.spool import Offer, Spool
from streams.alert.watch import RoutesWatch
from streams.alert.webhook import WebhookChannel
from streams.alert.worker import ChannelWorker
from streams.headers import headers_of
from streams.role import Chunk, Turn
from streams.watch.metrics import AlertMetrics
from streams.watch.stages import log_batch

log = structlog.get_logger(__name__)


class AlertHandler:
    """See the module.

    Args:
        plan: the routes file.
        senders: by channel.
        desk: the spool.
        now_ms: the clock, epoch milliseconds.
        metrics: counters of this process.
        startup_wait_s: how long to wait for the folder; 0: for ever.
        most_wait_s: longest pause between attempts of a channel.
        watch: of the routes file; None: it does not change.
    """

    def __init__(
        self, plan: Plan, senders: Mapping[str, Sender], desk: Desk, now_ms: Callable[[], int], *,
        metrics: AlertMetrics, startup_wait_s: float, most_wait_s: float = 30.0, watch: RoutesWatch | None = None,
    ) -> None:  # fmt: skip
        self._plan, self._desk, self._now_ms = plan, desk, now_ms
        self._metrics, self._startup_wait_s, self._most_wait_s = metrics, startup_wait_s, most_wait_s
        self._watch = watch
        self._workers: dict[str, ChannelWorker] = {}
        self._employ(plan.channels, senders)
        # A batch is told by one plan from its first record to its last.
        self._changing = asyncio.Lock()

    def _employ(self, channels: Mapping[str, Channel], senders: Mapping[str, Sender]) -> list[ChannelWorker]:
        """A worker for each of these channels, to be started."""
        self._metrics.know(channels)
        made = {
            name: ChannelWorker(
                channel, senders[name], self._desk, self._now_ms, self._metrics, most_wait_s=self._most_wait_s
            )
            for name, channel in channels.items()
        }
        for name in channels:
            self._metrics.waits(name, partial(self._desk.waiting, name))
        self._workers |= made
        return list(made.values())

    async def start(self) -> None:
        """Take the folder, and go on with what waits in it.

        Raises:
            SpoolAway: the folder cannot be had within `startup_wait_s`.
            ConfigError: what lies in it cannot be used.
        """
        await self._desk.open(self._startup_wait_s)
        await self._bury_others(self._plan)
        for worker in self._workers.values():
            worker.start()
        if self._watch is not None:
            self._watch.start(self.adopt)

    async def adopt(self, plan: Plan, senders: Mapping[str, Sender]) -> bool:
        """Put other routes in force between two batches; whether they are other ones.

        What waits for a channel goes on as its new version says; channels that did not change are not touched.
        """
        async with self._changing:
            if plan == self._plan:
                return False
            channels = self._plan.channels
            left = [name for name, channel in channels.items() if plan.channels.get(name) != channel]
            for name in left:
                self._metrics.away(name, away=False)
            await asyncio.gather(*(self._workers.pop(name).stop() for name in left))
            await self._desk(partial(Spool.limit, plan=plan))
            await self._bury_others(plan)
            joined = {name: channel for name, channel in plan.channels.items() if channels.get(name) != channel}
            for worker in self._employ(joined, senders):
                worker.start()
            self._plan = plan
            return True

    async def _bury_others(self, plan: Plan) -> None:
        buried = await self._desk(partial(Spool.bury_others, channels=plan.channels.keys(), now_ms=self._now_ms()))
        if buried:
            log.error("alerts_without_channel", alerts=buried)

    async def assigned(self, positions: dict[int, int | None]) -> Mapping[int, int]:  # noqa: ARG002 - the protocol's signature
        """Nothing to do: the spool knows what was told already."""
        return {}

    async def process(self, chunks: Sequence[Chunk], turn: Turn) -> None:
        """Put what somebody must hear of into the spool; raises ConfigError where that is damaged."""
        if self._watch is not None:
            self._watch.check()
        async with self._changing:
            await self._process(chunks, turn)

    async def _process(self, chunks: Sequence[Chunk], turn: Turn) -> None:
        now_ms, stages = self._now_ms(), self._metrics.stages
        stages.begin(chunks, now_ms)
        offers: list[Offer] = []
        rejected: Counter[str] = Counter()
        stale = 0
        for record in self._looked_at(chunks):
            if self._plan.skip_older_ms and now_ms - record.timestamp()[1] > self._plan.skip_older_ms:
                stale += 1
                continue
            try:
                outcome = decode_outcome(record.value())
            except DecodeError as exc:
                rejected[exc.reason] += 1
                _log_rejected(record, exc)
            else:
                offers += offers_of(self._plan, outcome, _place(record), now_ms)
        stages.lap("decode")
        if offers:
            await turn()  # what another worker reads again must not be told here too
            results = await self._desk(partial(Spool.put, offers=offers, now_ms=now_ms))
            self._metrics.put(results)
            for name in {channel for channel, _ in results}:
                self._workers[name].wake()
        stages.lap("write")
        self._metrics.batch(stages.taken_s, rejected, stale)
        log_batch(log, stages.taken_s, chunks, alerts=len(offers), rejected=dict(rejected))

    def hurry(self) -> None:
        """Load the routes file anew."""
        if self._watch is not None:
            self._watch.hurry()

    async def stop(self) -> None:
        """Let attempts under way end, and give the folder back."""
        if self._watch is not None:
            await self._watch.stop()
        for worker in self._workers.values():
            worker.wake()
        for worker in self._workers.values():
            await worker.stop()
        await self._desk.close()

    def _looked_at(self, chunks: Sequence[Chunk]) -> Iterator[Record]:
        """The records whose header does not say already that no route asks for them."""
        wanted = {outcome.encode() for outcome in self._plan.outcomes}
        for chunk in chunks:
            for record in chunk.records:
                verdict = dict(headers_of(record) or ()).get("outcome")
                if verdict is None or verdict in wanted:
                    yield record


def offers_of(plan: Plan, outcome: Outcome, record: str, now_ms: int) -> list[Offer]:
    """The alerts of an outcome, one for each channel that a route leads it to."""
    offers: dict[str, Offer] = {}
    for route in plan.routes:
        if not _matches(route, outcome):
            continue
        alert: Alert | None = None
        for name in route.channels:
            if name not in offers:
                alert = alert or alert_of(outcome, route.name, record)
                offers[name] = _offer(plan.channels[name], route, alert, now_ms)
    return list(offers.values())


def make_senders(plan: Plan, *, dry_run: bool) -> dict[str, Sender]:
    """What delivers to each channel; of a dry run, what says in the log what it would deliver."""
    return {name: DryRun(name) if dry_run else _sender(channel) for name, channel in plan.channels.items()}


def _sender(channel: Channel) -> Sender:
    if channel.kind == "webhook":
        return WebhookChannel(channel.url, channel.keys, channel.timeout_s)
    from streams.alert.apprise_channel import AppriseChannel  # noqa: PLC0415 - heavy, and not needed by webhooks

    return AppriseChannel(channel.url, channel.timeout_s)


def _matches(route: Route, outcome: Outcome) -> bool:
    fraud = outcome.fraud
    return (
        fraud.outcome in route.outcomes
        and (not route.rules or fraud.rule in route.rules)
        and (not route.currencies or outcome.currency in route.currencies)
        and (not route.min_score or (fraud.score or 0) >= route.min_score)
        and (not route.min_amount or Decimal(bytes(outcome.amount).decode()) >= route.min_amount)
    )


def _offer(channel: Channel, route: Route, alert: Alert, now_ms: int) -> Offer:
    keys: list[tuple[str, Throttle]] = []
    if route.per_card is not None:
        keys.append((f"{channel.name} {route.name} card {alert.card_id}", route.per_card))
    if route.per_rule is not None:
        keys.append((f"{channel.name} {route.name} rule {alert.rule or ''}", route.per_rule))
    urgent = channel.is_urgent(alert.outcome)
    waits = bool(channel.digest_ms) or (channel.is_quiet(now_ms) and not urgent)
    return Offer(channel.name, alert, keys, waits=waits, urgent=urgent)


def _place(record: Record) -> str:
    return f"{record.topic()}:{record.partition()}:{record.offset()}"


def _log_rejected(record: Record, error: DecodeError) -> None:
    log.error(
        "outcome_rejected",
        reason=error.reason, detail=error.detail,
        topic=record.topic(), partition=record.partition(), offset=record.offset(),
    )  # fmt: skip
