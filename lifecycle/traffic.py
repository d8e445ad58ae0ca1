"""Outcomes as columns: a bounded sample of `processed_transactions`, or files of outcomes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.catalogue import FEATURE_NAMES, FEATURE_SET
from features.errors import ConfigError, HistoryError
from features.times import parse_rfc3339
from scoring.decision import VERDICTS
from streams.repair.topic_reader import Span, reading

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FIELDS: Final = ("merchant_id", "merchant_category", "country", "channel", "device_id", "ip_address", "email")
"""Optional fields of a transaction."""
_LEVELS: Final[dict[str, int]] = {verdict: level for level, verdict in enumerate(VERDICTS)}


class _Shadow(msgspec.Struct):
    model: str | None = None
    probability: float | None = None
    outcome: str | None = None


class _Fraud(msgspec.Struct):
    outcome: str
    model: str
    feature_set: str
    probability: float | None = None
    features: dict[str, float | None] | None = None
    shadow: _Shadow | None = None
    degraded: str | None = None
    duplicate: bool | None = None
    clock_skew_ms: int | None = None


class _Outcome(msgspec.Struct):
    transaction_id: str
    card_id: str
    amount_minor: int
    currency: str
    event_time: str
    fraud: _Fraud
    type: str = "authorization"
    merchant_id: str | None = None
    merchant_category: str | None = None
    country: str | None = None
    channel: str | None = None
    device_id: str | None = None
    ip_address: str | None = None
    email: str | None = None


class Traffic(msgspec.Struct, frozen=True):
    """n scored transactions, in order of their event time.

    Attributes:
        keys: card id and transaction id of each.
        event_ms: effective times, shape (n,).
        amount_minor: shape (n,).
        currency: of each.
        x: features, shape (n, features), NaN where one is missing.
        model: that decided, of each.
        probability: that it gave, shape (n,).
        verdict: places in VERDICTS, shape (n,).
        shadow_model: the other model that was asked, of each; empty where none was.
        shadow_probability: what it said, shape (n,); NaN where none was asked.
        shadow_verdict: likewise; -1 where none was asked.
        missing: share of the transactions without each optional field.
        degraded: share of them that was scored without history.
        left_out: records that are none of these, by reason.
    """

    keys: list[tuple[str, str]]
    event_ms: Ints
    amount_minor: Ints
    currency: list[str]
    x: Floats
    model: list[str]
    probability: Floats
    verdict: Ints
    shadow_model: list[str]
    shadow_probability: Floats
    shadow_verdict: Ints
    missing: dict[str, float]
    degraded: float
    left_out: dict[str, int]

    def __len__(self) -> int:
        return len(self.keys)


def topic_traffic(kafka: Mapping[str, str], topic: str, rows: int) -> Traffic:
    """The newest outcomes of a topic.

    Args:
        kafka: librdkafka settings that reach the brokers.
        topic: full name of `processed_transactions`.
        rows: how many at most, over all partitions.
    """
    return traffic_of(_decoded(newest_values(kafka, topic, rows)))


def newest_values(kafka: Mapping[str, str], topic: str, rows: int | None) -> Iterator[bytes]:
    """Values of the newest records of a topic.

    Args:
        kafka: librdkafka settings that reach the brokers.
        topic: full name.
        rows: how many at most, over all partitions; None: all of them.

    Raises:
        ConfigError: there is no such topic.
    """
    with reading(kafka, topic) as reader:
        partitions = reader.partitions()
        if not partitions:
            raise ConfigError(f"FRAUD_KAFKA_BOOTSTRAP: there is no topic {topic}; run: fraudstream setup")
        spans = []
        for partition in range(partitions):
            low, high = reader.bounds(partition)
            spans.append(Span(partition, low if rows is None else max(low, high - rows // partitions), high))
        reader.begin(spans)
        while not reader.done():
            yield from (message.value() or b"" for message in reader.take())


def file_traffic(path: Path) -> Traffic:
    """Outcomes from a file: JSON lines as in the topic, or Parquet with the outcome's fields as columns.

    Raises:
        HistoryError: it cannot be read.
    """
    try:
        if path.suffix == ".parquet" or path.is_dir():
            frame = pl.read_parquet(path)
            lines: Iterable[bytes] = (msgspec.json.encode(row, enc_hook=str) for row in frame.iter_rows(named=True))
        else:
            lines = (line for line in path.read_bytes().splitlines() if line.strip())
        return traffic_of(_decoded(lines))
    except (OSError, pl.exceptions.PolarsError) as exc:
        raise HistoryError(f"cannot read the outcomes in {path}: {str(exc).splitlines()[0]}") from exc


def _decoded(values: Iterable[bytes]) -> Iterator[_Outcome | None]:
    decode = msgspec.json.Decoder(_Outcome).decode
    for value in values:
        try:
            yield decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError):
            yield None


def traffic_of(outcomes: Iterable[_Outcome | None]) -> Traffic:
    """Outcomes as columns; of copies the first counts, and everything that is left out is counted."""
    kept: dict[tuple[str, str], tuple[int, _Outcome]] = {}
    left_out: Counter[str] = Counter()
    for one in outcomes:
        if (reason := _unfit(one)) is not None:
            left_out[reason] += 1
            continue
        assert one is not None
        key, event_ms = (one.card_id, one.transaction_id), parse_rfc3339(one.event_time)
        if key in kept:
            left_out["copies"] += 1
        elif event_ms is None:
            left_out["no outcomes"] += 1
        else:
            kept[key] = (event_ms - (one.fraud.clock_skew_ms or 0), one)
    ordered = sorted(kept.items(), key=lambda item: item[1][0])
    return _columns([key for key, _ in ordered], [one for _, one in ordered], dict(left_out))


def newest(traffic: Traffic, rows: int) -> Traffic:
    """The last so many transactions; shares are those of the whole."""
    if len(traffic) <= rows:
        return traffic
    kept = {
        field: getattr(traffic, field)[-rows:]
        for field in traffic.__struct_fields__
        if field not in {"missing", "degraded", "left_out"}
    }
    return msgspec.structs.replace(traffic, **kept)


def _unfit(one: _Outcome | None) -> str | None:
    """Why an outcome is not looked at."""
    if one is None:
        return "no outcomes"
    if one.type != "authorization" or one.fraud.probability is None or one.fraud.features is None:
        return "reversals"
    if one.fraud.feature_set != FEATURE_SET:
        return "other feature set"
    return "no outcomes" if one.fraud.outcome not in _LEVELS else None


def _columns(keys: list[tuple[str, str]], found: list[tuple[int, _Outcome]], left_out: dict[str, int]) -> Traffic:
    outcomes = [one for _, one in found]
    shadows = [one.fraud.shadow or _Shadow() for one in outcomes]
    asked = [shadow.probability is not None and shadow.outcome in _LEVELS for shadow in shadows]
    rows = [[_number((one.fraud.features or {}).get(name)) for name in FEATURE_NAMES] for one in outcomes]
    count = max(len(outcomes), 1)
    return Traffic(
        keys=keys,
        event_ms=np.array([event_ms for event_ms, _ in found], np.int64),
        amount_minor=np.array([one.amount_minor for one in outcomes], np.int64),
        currency=[one.currency for one in outcomes],
        x=np.array(rows, np.float64).reshape(len(outcomes), len(FEATURE_NAMES)),
        model=[one.fraud.model for one in outcomes],
        probability=np.array([one.fraud.probability for one in outcomes], np.float64),
        verdict=np.array([_LEVELS[one.fraud.outcome] for one in outcomes], np.int64),
        shadow_model=[(s.model or "") if known else "" for s, known in zip(shadows, asked, strict=True)],
        shadow_probability=np.array([_number(s.probability) for s in shadows], np.float64),
        shadow_verdict=np.array(
            [_LEVELS[str(s.outcome)] if known else -1 for s, known in zip(shadows, asked, strict=True)], np.int64
        ),
        missing={name: sum(getattr(one, name) is None for one in outcomes) / count for name in FIELDS},
        degraded=sum(one.fraud.degraded is not None for one in outcomes) / count,
        left_out=left_out,
    )


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
