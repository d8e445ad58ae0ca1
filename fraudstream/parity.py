"""Online equals offline, bit for bit: one history through the feature store in Redis and through the table builder."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.catalogue import FEATURE_NAMES, feature_matrix
from features.decode import Decoder
from features.offline import build_table
from features.partition import home_partition
from local.generator import generate
from streams.intake import Incoming
from streams.roles import make_state
from streams.settings import Settings

_FIELDS: Final = ("transaction_id", "card_id", "currency", "merchant_id", "merchant_category", "country")
_PART: Final = 100_000


class Parity(msgspec.Struct, frozen=True):
    """What the comparison found.

    Attributes:
        transactions: compared.
        values: feature values compared.
        different: values whose bits differ, by feature; empty: none.
        example: a transaction with such a value.
    """

    transactions: int
    values: int
    different: dict[str, int]
    example: str | None


async def compare(
    settings: Settings,
    *,
    transactions: int,
    cards: int,
    seed: int,
    batch: int,
    progress: Callable[[int, int], None],
) -> Parity:
    """Generate a history, serve it online, build its table offline, compare every feature.

    The records are JSON and are decoded, applied and committed in batches by the code of the `score` role, in a Redis
    key space of their own, which is removed afterwards.

    Args:
        settings: where Redis is, and what the windows depend on.
        transactions: of the history.
        cards: of the history.
        seed: of the history.
        batch: records applied together.
        progress: called with the transactions served so far and all of them.

    Raises:
        ServerUnavailable: Redis does not answer.
    """
    with tempfile.TemporaryDirectory(prefix="fraudstream-") as folder:
        history, table = Path(folder) / "history", Path(folder) / "table.parquet"
        generate(transactions, cards, seed, history)
        online = np.empty((transactions, len(FEATURE_NAMES)))
        done = 0
        own = settings.model_copy(update={"key_prefix": f"{settings.key_prefix}parity-{uuid.uuid4().hex[:8]}:"})
        state = make_state(own)
        await state.store.start()
        try:
            for partition in range(own.partitions):
                await state.store.claim(partition)
            for incoming, last in _batches(history, own, batch):
                applied, pending = await state.cards.apply(incoming, last)
                exponents = np.array([item.transaction.exponent for item in incoming], np.int64)
                online[done : done + len(incoming)] = feature_matrix(applied.aggregates, exponents)
                await state.cards.commit(applied, pending)
                done += len(incoming)
                progress(done, transactions)
        finally:
            for partition in range(own.partitions):
                await state.store.forget(partition)
            await state.store.stop()
        build_table(history, table, grace_ms=own.grace_s * 1000, clock_skew_ms=own.clock_skew_s * 1000)
        return _compared(online, history, table)


def _batches(history: Path, settings: Settings, batch: int) -> Iterator[tuple[list[Incoming], dict[int, int]]]:
    """The history as decoded records of its home partitions, and the last offsets of each batch."""
    decoder = Decoder(settings.pan_key.get_secret_value().encode() or None)
    offsets = dict.fromkeys(range(settings.partitions), -1)
    incoming: list[Incoming] = []
    last: dict[int, int] = {}
    for line in _records(history):
        transaction = decoder.decode(line)
        partition = home_partition(transaction.home_id, settings.partitions)
        offsets[partition] = last[partition] = offsets[partition] + 1
        incoming.append(Incoming(transaction, partition, offsets[partition], transaction.event_ms))
        if len(incoming) == batch:
            yield incoming, last
            incoming, last = [], {}
    if incoming:
        yield incoming, last


def _records(history: Path) -> Iterator[bytes]:
    """JSON records as a payment service publishes them, in the history's order."""
    frame = pl.scan_parquet(history).select(
        *_FIELDS,
        pl.col("amount").cast(pl.String),
        pl.col("event_time").dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ"),
    )
    for start in range(0, frame.select(pl.len()).collect().item(), _PART):
        part = frame.slice(start, _PART).collect()
        yield from part.write_ndjson().encode().splitlines()


def _compared(online: NDArray[np.float64], history: Path, table: Path) -> Parity:
    ids = pl.read_parquet(history, columns=["transaction_id"])
    offline = ids.join(pl.read_parquet(table), on="transaction_id", how="left", maintain_order="left")
    different, example = {}, None
    for number, name in enumerate(FEATURE_NAMES):
        expected = offline[name].cast(pl.Float64).to_numpy()
        wrong = np.flatnonzero(expected.view(np.int64) != np.ascontiguousarray(online[:, number]).view(np.int64))
        if len(wrong):
            different[name] = len(wrong)
            example = example or str(ids["transaction_id"][int(wrong[0])])
    return Parity(len(ids), online.size, different, example)
