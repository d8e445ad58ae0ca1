"""Rebuild the feature store from the topic on an operator's word: nothing is scored and nothing published."""

from __future__ import annotations

from collections.abc import Callable, Collection

import msgspec
from confluent_kafka import Consumer, TopicPartition

from features.errors import ConfigError
from features.store import OnlineStore
from sinks.topics import mapped_errors
from streams.repair.homes import HomesNote
from streams.repair.rebuild import Rebuilder, Tally
from streams.repair.rehome import Rehomer
from streams.repair.topic_reader import ask_kafka, in_thread, reading
from streams.settings import Settings

_REQUEST_S = 30.0

Show = Callable[[int, int | None], None]


class Replayed(msgspec.Struct, frozen=True):
    """What a replay did.

    Attributes:
        tally: records and cards.
        partitions: that were rebuilt.
        moved: whether all partitions were read together, because cards had moved.
    """

    tally: Tally
    partitions: int
    moved: bool


class Replay:
    """Rebuilds partitions, or all of them.

    The partitions are claimed: a score role that runs meanwhile ends with exit code 75 and writes nothing.

    Args:
        settings: group and brokers.
        topic: the transactions.
        store: whose histories are forgotten and rebuilt.
        rebuilder: over the same store.
        rehomer: the same.
        note: of changes of the number of partitions.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        topic: str,
        store: OnlineStore,
        rebuilder: Rebuilder,
        rehomer: Rehomer,
        note: HomesNote,
    ) -> None:
        self._settings, self._topic, self._store = settings, topic, store
        self._rebuilder, self._rehomer, self._note = rebuilder, rehomer, note

    async def run(self, only: Collection[int], *, moved: bool, progress: Show) -> Replayed:
        """Forget histories and rebuild them up to what the score role has committed.

        Args:
            only: partitions to rebuild; none: all.
            moved: read all partitions together, as after a change of their number, also where nothing tells of one.
            progress: takes records read and records in all.

        Raises:
            ConfigError: cards have moved, so single partitions cannot be rebuilt; or there is no such partition.
        """
        committed = await in_thread(lambda: committed_offsets(self._settings, self._topic))
        if unknown := sorted(set(only) - committed.keys()):
            raise ConfigError(
                f"--partition {unknown[0]}: the topic {self._topic} has {len(committed)} (FRAUD_PARTITIONS)"
            )
        built_for = await self._store.built_for()
        changed = built_for not in {None, len(committed)} and built_for != 0
        unfinished = built_for == 0
        if moved or changed or unfinished or (await in_thread(self._note.read)).since:
            if only:
                raise ConfigError(
                    "--partition: the number of partitions changed not long ago, so that the records of a card lie in "
                    "several; rebuild all: fraudstream replay"
                )
            tally = await self._rehomer.run(committed, changed=changed, progress=progress)
            return Replayed(tally, len(committed), moved=True)
        wanted = {p: end for p, end in committed.items() if not only or p in only}
        return Replayed(await self._rebuild(wanted, progress), len(wanted), moved=False)

    async def _rebuild(self, wanted: dict[int, int], progress: Show) -> Tally:
        total = await in_thread(lambda: self._total(wanted))
        done, tally = 0, Tally()

        def count(offsets: int) -> None:
            nonlocal done
            done += offsets
            progress(done, total)

        for partition, end in wanted.items():
            part = await self._rebuilder.rebuild(partition, end, count)
            tally.add(part)
        return tally

    def _total(self, wanted: dict[int, int]) -> int:
        with reading(self._settings.kafka(), self._topic) as reader:
            return sum(len(self._rebuilder.reach(reader, p, end)) for p, end in wanted.items())


def committed_offsets(settings: Settings, topic: str) -> dict[int, int]:
    """Partition -> first offset still to be scored, 0 where none was; blocks."""
    with mapped_errors():
        consumer = Consumer(
            {**settings.kafka(), "group.id": settings.group("score"), "enable.auto.commit": False, "log_level": 0}
        )
    try:
        wanted = [TopicPartition(topic, partition) for partition in range(settings.partitions)]
        answer = ask_kafka(lambda: consumer.committed(wanted, timeout=_REQUEST_S))
        return {p.partition: max(p.offset, 0) for p in answer}
    finally:
        consumer.close()
