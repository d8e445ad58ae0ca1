"""Proof that serving and training see the same features: a history through the online path, compared bit for bit."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.catalogue import FEATURE_NAMES, feature_matrix
from features.decode import Decoder
from features.store import OnlineStore
from streams.cards import CardState
from streams.intake import Incoming, Reach

_LARGEST_BATCH: Final = 2000
_PARTITION: Final = 0
_FIELDS: Final = (
    "transaction_id", "card_id", "amount", "currency", "event_time", "merchant_id", "merchant_category", "country",
)  # fmt: skip


class Difference(msgspec.Struct, frozen=True):
    """A feature that was served otherwise than it is in the table."""

    transaction_id: str
    feature: str
    served: float
    offline: float


class Parity(msgspec.Struct, frozen=True):
    """What a comparison found: events and features compared, and the first differences."""

    events: int
    values: int
    different: int
    examples: list[Difference]


async def compare(
    history: Path,
    table: Path,
    *,
    store: OnlineStore,
    cards: CardState,
    decoder: Decoder,
    seed: int,
    progress: Callable[[int, int | None], None],
) -> Parity:
    """Feed a history through decode, the store and the windows in batches of random size, and compare with its table.

    Args:
        history: labelled history (Parquet, file or folder), in order of application.
        table: its feature table, from `features.offline.build_table`.
        store: an online store under a key prefix of its own.
        cards: reads and commits through that store.
        decoder: as the score role's.
        seed: of the batch sizes.
        progress: takes events done and events in all.
    """
    offline = pl.read_parquet(table, columns=["transaction_id", *FEATURE_NAMES])
    place = dict(zip(offline["transaction_id"].to_list(), range(offline.height), strict=True))
    wanted = offline.select(FEATURE_NAMES).cast(pl.Float64).to_numpy()
    await store.claim(_PARTITION)
    done = different = 0
    examples: list[Difference] = []
    for batch in _batches(history, decoder, random.Random(seed)):  # noqa: S311 - sizes, not secrets
        applied, pending = await cards.apply(batch, {_PARTITION: Reach(batch[0].offset, batch[-1].offset)})
        exponents = np.array([item.transaction.exponent for item in batch], np.int64)
        served = feature_matrix(applied.aggregates, exponents)
        await cards.commit(pending)
        rows = np.array([place[item.transaction.transaction_id] for item in batch])
        unequal = np.argwhere(served.view(np.int64) != np.ascontiguousarray(wanted[rows]).view(np.int64))
        different += len(unequal)
        examples += [_difference(batch, served, wanted[rows], row, column) for row, column in unequal[:5].tolist()]
        done += len(batch)
        progress(done, offline.height)
    return Parity(done, done * len(FEATURE_NAMES), different, examples[:5])


def _difference(
    batch: list[Incoming], served: NDArray[np.float64], wanted: NDArray[np.float64], row: int, column: int
) -> Difference:
    identity = batch[row].transaction.transaction_id
    return Difference(identity, FEATURE_NAMES[column], float(served[row, column]), float(wanted[row, column]))


def _batches(history: Path, decoder: Decoder, rng: random.Random) -> Iterator[list[Incoming]]:
    """The history as the role would meet it: each row as a producer's JSON, decoded, in batches of any size."""
    files = sorted(history.glob("*.parquet")) if history.is_dir() else [history]
    offset = 0
    batch: list[Incoming] = []
    size = rng.randint(1, _LARGEST_BATCH)
    for file in files:
        frame = pl.read_parquet(file, columns=list(_FIELDS)).with_columns(
            pl.col("amount").cast(pl.String), pl.col("event_time").dt.epoch("ms")
        )
        for row in frame.iter_rows(named=True):
            transaction = decoder.decode(msgspec.json.encode(row))
            batch.append(Incoming(transaction, _PARTITION, offset, transaction.event_ms))
            offset += 1
            if len(batch) == size:
                yield batch
                batch, size = [], rng.randint(1, _LARGEST_BATCH)
    if batch:
        yield batch
