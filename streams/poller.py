"""The thread that owns a librdkafka consumer: nothing else ever calls it.

librdkafka serves rebalances, deliveries and commit answers from `poll`; calls from another thread starve while the poll
loop runs. So the loop's side speaks to this thread through flags and a queue, and hears from it through `Listener`.

Records are taken from librdkafka when the agent asks for them, all that are there at that moment: what nobody waits for
stays in librdkafka's own queue, which is bounded, and becomes one large batch instead of many small ones.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from time import monotonic
from typing import Final

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from features.errors import ConfigError, StoreError
from sinks.kafka_problems import KafkaProblems
from sinks.kafka_refusals import refusal_of
from streams.listener import Listener
from streams.offsets import HEALS, NOT_OURS, committed_offsets
from streams.role import chunks_of
from streams.watch.lag import INTERVAL_MS, read_statistics

log = structlog.get_logger(__name__)

_POLL_S: Final = 0.01
_BUSY_WAIT_S: Final = 0.5
# Beyond so many records that nobody waits for, polls come less often.
_ENOUGH: Final = 2_000
_SELDOM_S: Final = 0.005
_END_TIMEOUT_S: Final = 1.0


class Poller(threading.Thread):
    """Polls one topic for a consumer group.

    Args:
        config: librdkafka settings, group id among them.
        topic: to subscribe to.
        listener: told of everything.
    """

    def __init__(self, config: Mapping[str, str | int | bool], topic: str, listener: Listener) -> None:
        super().__init__(name="kafka-poll", daemon=True)
        self._problems = KafkaProblems()
        self._consumer = Consumer(
            {
                **config,
                "enable.auto.commit": False,
                "on_commit": self._committed,
                "error_cb": self._problems,
                "log_level": 0,  # what librdkafka prints is told by error_cb, structured
                "statistics.interval.ms": INTERVAL_MS,
                "stats_cb": self._statistics,
            }
        )
        self._topic = topic
        self._listener = listener
        self._calls: deque[Callable[[], None]] = deque()
        self._done: dict[int, int] = {}
        self._acknowledged: dict[int, int] = {}
        self._flowing = False
        self._lock = threading.Lock()
        self._committing = False
        self._paused = False
        # Records that came with an answer to a commit, while nobody waited for any.
        self._gathered: list[Message] = []
        self._wanted, self._from_s = 0, 0.0
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self.commits_on_close = True

    # -- called from the event loop ---------------------------------------------------------------------------------

    def want(self, records: int, from_s: float = 0.0) -> None:
        """The agent waits for records, as many as there are up to this number at a moment of the monotonic clock."""
        self._from_s, self._wanted = from_s, records
        self._wake.set()

    def done(self, offsets: Mapping[int, int]) -> None:
        """Everything before these offsets is durable: commit them, and tell when they are."""
        with self._lock:
            self._done.update(offsets)
        self._wake.set()

    def resume(self) -> None:
        """Let the assigned partitions flow."""
        self._calls.append(self._resume)
        self._wake.set()

    def close(self, *, commit: bool, timeout_s: float) -> None:
        """Leave the group and end the thread; without `commit` nothing more is acknowledged."""
        self.commits_on_close = commit
        self._stopping.set()
        self._wake.set()
        if self.is_alive() and threading.current_thread() is not self:
            self.join(timeout_s)

    # -- the thread -------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Poll until closed."""
        try:
            self._consumer.subscribe(
                [self._topic], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost
            )
            while not self._stopping.is_set():
                self._step()
        except Exception as exc:  # noqa: BLE001 - whatever ends this thread must end the process
            self._listener.on_failure(_named(exc))
        finally:
            if self.commits_on_close:
                self._commit_now()
            self._consumer.close()

    def _step(self) -> None:
        while self._calls:
            self._calls.popleft()()
        self._start_commit()
        early_s = self._from_s - monotonic() if self._wanted else _POLL_S
        if early_s <= 0:
            self._hand_over(self._wanted)
        elif self._committing:
            # The answer is served by a poll, and comes within milliseconds.
            if len(self._gathered) > _ENOUGH:
                self._wake.wait(_SELDOM_S)
                self._wake.clear()
            self._gather(min(early_s, _POLL_S))
        elif self._wanted:
            self._wake.wait(early_s)
            self._wake.clear()
        else:
            woken = self._wake.wait(_BUSY_WAIT_S if self._flowing else _POLL_S)
            self._wake.clear()
            if not woken:
                # The agent is busy for long: stop the partitions and keep polling, so that the group keeps us.
                self._pause()
                self._gather(0)

    def _hand_over(self, wanted: int) -> None:
        """Give the agent all that is there, or wait a moment for the first record."""
        if self._paused:
            self._resume()
        if not self._gathered:
            self._gather(_POLL_S)
        if self._gathered:
            room = wanted - len(self._gathered)
            more = self._consumer.consume(room, 0) if room > 0 else []
            # Only now: a rebalance that is served meanwhile forgets what was gathered before it.
            messages, self._gathered = self._gathered + more, []
            # Before they are handed over: the agent may ask again at once.
            self._wanted = 0
            if not self._deliver(messages, wanted):
                self._wanted = wanted

    def _gather(self, wait_s: float) -> None:
        """Poll: serve what librdkafka has to tell, and keep the record that may come with it."""
        if (message := self._consumer.poll(wait_s)) is not None:
            self._gathered.append(message)

    def _deliver(self, messages: Iterable[Message], weight: int) -> bool:
        """Hand records over in chunks of about a weight; whether there was any."""
        runs: dict[int, list[Message]] = {}
        for message in messages:
            error = message.error()
            if error is not None:
                self._check(error)
                continue
            runs.setdefault(_known(message.partition()), []).append(message)
        if runs:
            self._listener.on_chunks(
                [chunk for p, records in runs.items() for chunk in chunks_of(self._topic, p, records, weight)]
            )
        return bool(runs)

    def _check(self, error: KafkaError) -> None:
        """A broker that is away heals; anything fatal does not."""
        if error.fatal() or not (error.retriable() or error.code() in HEALS):
            raise KafkaException(error)
        self._problems(error)

    def _pause(self) -> None:
        if self._flowing:
            self._consumer.pause(self._consumer.assignment())
            self._paused = True
            self._flowing = False

    def _resume(self) -> None:
        self._consumer.resume(self._consumer.assignment())
        self._paused = False
        self._flowing = True

    # -- offsets ----------------------------------------------------------------------------------------------------

    def _take_done(self) -> list[TopicPartition]:
        with self._lock:
            offsets, self._done = self._done, {}
        return [TopicPartition(self._topic, p, o) for p, o in offsets.items()]

    def _start_commit(self) -> None:
        """One commit is under way at a time; what becomes done meanwhile goes with the next."""
        if self._committing or not self._done:
            return
        self._committing = True
        self._consumer.commit(offsets=self._take_done(), asynchronous=True)

    def _committed(self, error: KafkaError | None, offsets: list[TopicPartition]) -> None:
        self._committing = False
        if error is None:
            self._acknowledged.update({o.partition: o.offset for o in offsets if o.partition in self._acknowledged})
        if error is None or error.code() in NOT_OURS:
            if not self._done:
                self._listener.on_settled()
            return
        log.warning("offset_commit_failed", problem=error.str())
        with self._lock:
            for offset in offsets:
                self._done.setdefault(offset.partition, offset.offset)

    def _commit_now(self) -> None:
        if offsets := self._take_done():
            try:
                self._consumer.commit(offsets=offsets, asynchronous=False)
            except KafkaException as exc:
                # The records come again, to us or to the next owner, and are answered the same.
                log.warning("offset_commit_failed", problem=exc.args[0].str())
        self._listener.on_settled()

    # -- progress ---------------------------------------------------------------------------------------------------

    def _statistics(self, raw: str) -> None:
        """What librdkafka knows anyway; only where nothing is fetched must the ends be asked for."""
        seen = read_statistics(raw)
        ends: dict[int, int] = {}
        if seen.is_connected and not self._flowing:
            with suppress(KafkaException):
                for p in self._acknowledged:
                    at = TopicPartition(self._topic, p)
                    ends[p] = self._consumer.get_watermark_offsets(at, timeout=_END_TIMEOUT_S)[1]
        progress = seen.progress(self._topic, self._acknowledged, ends)
        self._listener.on_progress(progress, connected=seen.is_connected)

    # -- rebalances -------------------------------------------------------------------------------------------------

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        committed = committed_offsets(consumer, partitions, self._check, self._stopping)
        for partition in partitions:
            partition.offset = committed[partition.partition]
        consumer.assign(partitions)
        consumer.pause(partitions)
        self._paused = self._flowing = False
        self._acknowledged = committed
        self._listener.on_assigned({p: offset if offset >= 0 else None for p, offset in committed.items()})

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._listener.on_revoked(frozenset(p.partition for p in partitions), lost=False)
        if not self._stopping.is_set() or self.commits_on_close:
            self._commit_now()
        self._acknowledged = {}
        self._gathered = []
        consumer.unassign()

    def _lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        with self._lock:
            self._done.clear()
        self._acknowledged = {}
        self._listener.on_settled()
        self._listener.on_revoked(frozenset(p.partition for p in partitions), lost=True)
        self._gathered = []
        consumer.unassign()


def _named(error: Exception) -> Exception:
    """A refusal of the brokers in our own words; anything else as it is."""
    if not isinstance(error, KafkaException):
        return error
    said = f"FRAUD_KAFKA_BOOTSTRAP: Kafka refused the consumer: {error.args[0].str()}"
    return refusal_of(error.args[0]) or ConfigError(said)


def _known(partition: int | None) -> int:
    if partition is None:
        raise StoreError("librdkafka delivered a record without a partition")
    return partition
