"""How far a consumer is, from the statistics that librdkafka keeps anyway: no request for it in the hot path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

INTERVAL_MS: Final = 5_000
"""How often librdkafka gives its statistics."""


class Progress(msgspec.Struct, frozen=True):
    """Where a partition stands, as offsets of the next record.

    Attributes:
        committed: to be read after a restart; where nothing was committed yet, the first that the topic holds.
        position: to be handed to the role next.
        end: to be written by a producer next.
    """

    committed: int
    position: int
    end: int

    @property
    def lag(self) -> int:
        """Records that are not acknowledged yet."""
        return max(self.end - self.committed, 0)


class _Partition(msgspec.Struct):
    lo_offset: int = -1
    hi_offset: int = -1
    app_offset: int = -1


class _Topic(msgspec.Struct):
    partitions: dict[str, _Partition] = {}


class _Broker(msgspec.Struct):
    state: str = ""


class Statistics(msgspec.Struct):
    """The part of librdkafka's statistics that is asked for here."""

    brokers: dict[str, _Broker] = {}
    topics: dict[str, _Topic] = {}

    @property
    def is_connected(self) -> bool:
        """Whether a broker answers."""
        return any(broker.state == "UP" for broker in self.brokers.values())

    def progress(self, topic: str, committed: Mapping[int, int], ends: Mapping[int, int]) -> dict[int, Progress]:
        """Where each partition of a topic stands.

        Args:
            topic: its full name.
            committed: partition -> committed offset, below 0 where there is none; partitions that are missing here
                are another's.
            ends: partition -> end of the log where it was asked for, because nothing is fetched now.
        """
        known = self.topics.get(topic, _Topic()).partitions
        found: dict[int, Progress] = {}
        for partition, offset in committed.items():
            seen = known.get(str(partition), _Partition())
            end = max(ends.get(partition, -1), seen.hi_offset)
            if end >= 0:
                done = offset if offset >= 0 else max(seen.lo_offset, 0)
                found[partition] = Progress(done, max(seen.app_offset, done), end)
        return found


_decoder: Final = msgspec.json.Decoder(Statistics)


def read_statistics(raw: str) -> Statistics:
    """What librdkafka hands to its `stats_cb`."""
    return _decoder.decode(raw)
