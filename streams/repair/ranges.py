"""Ranges of records as people name them: by times, or by offsets of one partition."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from features.errors import ConfigError
from features.times import parse_rfc3339
from streams.repair.topic_reader import Span, TopicReader


def spans_between(
    reader: TopicReader, first: str, last: str, *, only: Collection[int], committed: Mapping[int, int]
) -> list[Span]:
    """The records that were scored between two places; blocks.

    Args:
        reader: of the transactions.
        first: RFC 3339 time (the broker's) or an offset; the range begins there.
        last: likewise; the range ends before it.
        only: partitions; none: all.
        committed: partition -> first offset still to be scored.

    Raises:
        ConfigError: neither times nor offsets of one partition, or no range.
    """
    if unknown := sorted(set(only) - committed.keys()):
        raise ConfigError(f"--partition {unknown[0]}: the topic {reader.topic} has {len(committed)} (FRAUD_PARTITIONS)")
    partitions = sorted(only or committed)
    if first.isdecimal() and last.isdecimal():
        if len(partitions) != 1 or not only:
            raise ConfigError("--rescore with offsets needs one --partition: offsets are a partition's own")
        (partition,) = partitions
        low, high = reader.bounds(partition)
        _check_order(int(first), int(last))
        return [Span(partition, max(int(first), low), min(int(last), high, committed[partition]))]
    from_ms, to_ms = parse_rfc3339(first), parse_rfc3339(last)
    if from_ms is None or to_ms is None:
        raise ConfigError("--rescore takes two RFC 3339 times, such as 2024-03-01T00:00:00Z, or two offsets")
    _check_order(from_ms, to_ms)
    return [Span(p, reader.offset_at(p, from_ms), min(reader.offset_at(p, to_ms), committed[p])) for p in partitions]


def _check_order(first: int, last: int) -> None:
    if first >= last:
        raise ConfigError("--rescore FROM TO: FROM must come before TO")
