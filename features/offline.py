"""The offline feature table: a history in, the catalogue's features out, by the very code that serves them online.

    history ──> checked columns ──> sorted by card, slice by slice ──> whole cards ──> `apply_batch` ──> table
               (history_file.py)    (memory, then temporary files)     (chunks)

Cards are independent of each other, so memory holds the slices that fit into a bound, one slice or one chunk more, and
the list of cards, however long the history is. The table's rows are ordered by card id, each card's in the order of the
history.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import polars as pl

from features.apply import Applied, apply_batch
from features.catalogue import FEATURES, inputs_of
from features.errors import HistoryError
from features.history import Entries, Histories, Int64
from features.history_file import LABELS, PASSED_ON, Cards, find_cards, open_history, read_checked
from features.log import MAX_CARDS
from features.table_file import write_table
from features.tiles import no_tiles
from features.walk import Batch
from features.windows import WEEK_MS
from features.words import WORD

DAY_MS: Final = 86_400_000
CHUNK_ROWS: Final = 500_000
CLOCK_SKEW_MS: Final = 300_000
HELD_BYTES: Final = 512 << 20

# Rows applied at once: few enough that their columns stay in the processor's cache. 500,000 take half as long again.
_PART_ROWS: Final = 131_072
_KEPT_BYTES: Final = 32_000_000
_BATCH_ROWS: Final = 16_384  # a run is read in whole record batches
_NOT_APPLIED: Final = frozenset(("transaction_id", *LABELS))
_BY_CARD: Final = ("rank",)
_BY_TIME: Final = ("rank", "event_ms")
_ODD_CONSTANT: Final = np.uint64(0x9E3779B97F4A7C15)

Progress = Callable[[int, int], None]


class TableSummary(msgspec.Struct, frozen=True):
    """What went in and what came out.

    Attributes:
        rows_in: rows of the history.
        rows_out: rows of the table: every authorization, copies included.
        reversals: rows that were reversals.
        copies: authorizations that repeat one still in the history.
        late: authorizations applied behind a newer one of their card, copies not counted.
        beyond_grace: rows that online would be flagged `beyond_grace`: late, or copies of ones further back, by more.
        cards: distinct cards.
    """

    rows_in: int
    rows_out: int
    reversals: int
    copies: int
    late: int
    beyond_grace: int
    cards: int


def build_table(
    history: Path,
    out: Path,
    *,
    grace_ms: int = DAY_MS,
    clock_skew_ms: int = CLOCK_SKEW_MS,
    pan_key: bytes | None = None,
    chunk_rows: int = CHUNK_ROWS,
    progress: Progress | None = None,
    by_time: bool = False,
    groups: Sequence[str] = (),
    held_bytes: int = HELD_BYTES,
) -> TableSummary:
    """Write the feature table of a history.

    The table holds `transaction_id`, `card_id`, `event_time` (UTC, ms), every feature in the order of the catalogue,
    and `is_fraud`, `attack_id`, `attack_position` where the history has them. A copy has its first's features; a
    reversal has no row. Cards are in order of their stored id (code points), a card's rows in the history's order.

    Args:
        history: a Parquet file or a folder of them.
        out: the Parquet file to write; it appears when it is complete.
        grace_ms: how late an authorization may be and still be exact.
        clock_skew_ms: how far an event's time may lie after `timestamp_ms`, where the history has that column.
        pan_key: key for card ids that are card numbers.
        chunk_rows: rows that are read at once, of the history and of temporary files; more where a single card has
            more.
        progress: called with the work done and the whole work, in rows; every row is read once and computed once.
        by_time: each card's rows are taken in order of their event times instead of the history's, of equal times in
            the history's: for sets that are in no order or in another.
        groups: columns of the history that the table has too, as `g:<name>`.
        held_bytes: of checked rows, how many bytes wait in memory; what is more waits in temporary files.

    Raises:
        HistoryError: the history cannot be read or a row is not a transaction, or the table cannot be written.
    """
    opened = open_history(history, groups)
    if any(out.resolve() == file.resolve() for file in opened.files):
        raise HistoryError(f"{out} is part of the history; write the table somewhere else")
    cards = find_cards(opened, pan_key)
    work = _Work(2 * sum(opened.rows), progress)
    _keep_freed_memory()
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as temporary:
            folder = Path(temporary)
            slices = _Slices(folder, cards.counts, chunk_rows, _BY_TIME if by_time else _BY_CARD, held_bytes)
            for frame in read_checked(opened, cards, chunk_rows, clock_skew_ms):
                slices.add(frame)
                work.step(len(frame))
            total = np.zeros(len(TableSummary.__struct_fields__), np.int64)

            def tables() -> Iterator[pl.DataFrame]:
                for frame in slices.parts():
                    applied = _apply(frame, WEEK_MS + grace_ms, clock_skew_ms)
                    yield _table(frame, applied, cards)
                    total[:] += _counted(frame, applied, grace_ms)
                    work.step(len(frame))

            write_table(tables(), folder / "table")
            (folder / "table").replace(out)
    except OSError as exc:
        raise HistoryError(f"cannot write the table to {out}: {exc.strerror or exc}") from exc
    return TableSummary(*total.tolist())


def table_of(frame: pl.DataFrame, cards: Cards, grace_ms: int, clock_skew_ms: int) -> pl.DataFrame:
    """The table's rows of whole cards.

    Args:
        frame: checked rows in order of the cards, each card's in order.
        cards: that they are ranked by.
        grace_ms: how late an authorization may be and still be exact.
        clock_skew_ms: how far an event's time may lie after its record's.
    """
    return _table(frame, _apply(frame, WEEK_MS + grace_ms, clock_skew_ms), cards)


def _keep_freed_memory() -> None:
    """Let memory that columns gave back be there for the next ones.

    The C library of Linux hands blocks to the system at once if they are larger than any that was freed before (up to
    32 MiB); having their pages back takes a part as long as its windows. On other systems this does nothing.
    """
    np.empty(_KEPT_BYTES, np.uint8)


class _Work:
    """Reports progress."""

    def __init__(self, rows: int, progress: Progress | None) -> None:
        self._done, self._rows, self._progress = 0, rows, progress

    def step(self, rows: int) -> None:
        self._done += rows
        if self._progress is not None:
            self._progress(self._done, self._rows)


def _part_bounds(counts: Int64, part_rows: int) -> Int64:
    """First card of every part, and the number of cards at the end; at most `MAX_CARDS` cards in a part."""
    # A card weighs at least so much that a part is full before it holds too many cards.
    weight = np.maximum(counts, -(-part_rows // MAX_CARDS))
    part = (np.cumsum(weight) - weight) // part_rows
    return np.concatenate(([0], np.flatnonzero(np.diff(part)) + 1, [len(counts)]))


class _Slices:
    """Checked rows, each slice in order of the cards, so that a part is a run of every slice."""

    def __init__(self, folder: Path, counts: Int64, chunk_rows: int, order: Sequence[str], held_bytes: int) -> None:
        part_rows = min(chunk_rows, _PART_ROWS)
        self._bounds, self._parts_read = _part_bounds(counts, part_rows), chunk_rows // part_rows
        self._folder, self._order, self._room_bytes = folder, order, held_bytes
        self._slices: list[tuple[pl.LazyFrame, list[int]]] = []

    def add(self, frame: pl.DataFrame) -> None:
        frame = frame.sort("rank", maintain_order=True)
        at = np.searchsorted(frame["rank"].to_numpy(), self._bounds).tolist()
        size = int(frame.estimated_size())
        if held := size <= self._room_bytes:
            self._room_bytes -= size
        else:
            file = self._folder / f"slice-{len(self._slices):06d}.arrow"
            frame.write_ipc(file, record_batch_size=_BATCH_ROWS)
        self._slices.append((frame.lazy() if held else pl.scan_ipc(file), at))

    def parts(self) -> Iterator[pl.DataFrame]:
        """Whole cards, one after the other, each card's rows in order."""
        for first in range(0, len(self._bounds) - 1, self._parts_read):
            # What lies in files is read some parts at a time.
            bounds = slice(first, first + self._parts_read + 1)
            runs = [_run(rows, at[bounds]) for rows, at in self._slices]
            for part in range(len(self._bounds[bounds]) - 1):
                own = [rows.slice(at[part], at[part + 1] - at[part]) for rows, at in runs]
                yield pl.concat(own).sort(self._order, maintain_order=True)


def _run(rows: pl.LazyFrame, at: list[int]) -> tuple[pl.DataFrame, list[int]]:
    """Rows from the first to the last position, and the positions in them."""
    return rows.slice(at[0], at[-1] - at[0]).collect(), [place - at[0] for place in at]


def _apply(frame: pl.DataFrame, retention_ms: int, clock_skew_ms: int) -> Applied:
    """Apply all records of some cards to empty histories."""
    column = {name: frame[name].to_numpy(writable=True) for name in frame.columns if _is_applied(name)}
    rank = column["rank"].astype(np.int64)
    card = rank - rank[0]
    offset = np.arange(len(frame))
    entries = Entries(
        time_ms=column["time_ms"],
        amount_minor=np.where(column["reversal"], offset, column["amount_minor"]),
        reversal=column["reversal"],
        clamped=column["clamped"],
        # Ids are unique per card only; with the card mixed in, namesakes on other cards are no reason to look closer.
        identity=column["identity"] ^ (card.astype(np.uint64) * _ODD_CONSTANT),
        country=column["country"].astype(np.int64),
        mcc=column["mcc"].astype(np.int64),
    )
    nothing = np.zeros(int(card[-1]) + 1, np.int64)
    nobody = Histories(np.empty((0, 3), WORD), nothing, nothing, nothing, no_tiles(len(nothing)))
    batch = Batch(entries, card, column["event_ms"], offset, redelivered=np.zeros(len(frame), np.bool_))
    applied, _ = apply_batch(nobody, batch, {}, retention_ms=retention_ms, clock_skew_ms=clock_skew_ms)
    return applied


def _is_applied(name: str) -> bool:
    return name not in _NOT_APPLIED and not name.startswith(PASSED_ON)


def _table(frame: pl.DataFrame, applied: Applied, cards: Cards) -> pl.DataFrame:
    """The table's rows of one chunk."""
    asked = frame.filter(~frame["reversal"]) if frame["reversal"].any() else frame
    inputs = inputs_of(applied.aggregates, asked["exponent"].to_numpy().astype(np.int64))
    columns = {
        "transaction_id": asked["transaction_id"],
        "card_id": cards.ids.gather(asked["rank"]),
        "event_time": asked["event_ms"].cast(pl.Datetime("ms", "UTC")),
    }
    columns |= {feature.name: pl.Series(feature.formula(inputs)) for feature in FEATURES}
    return pl.DataFrame(columns | {name: asked[name] for name in asked.columns if _is_told(name)})


def _is_told(name: str) -> bool:
    """Whether a column of the history is one of the table as it is."""
    return name in LABELS or name.startswith(PASSED_ON)


def _counted(frame: pl.DataFrame, applied: Applied, grace_ms: int) -> Int64:
    """The summary of one chunk as an array."""
    asked = applied.authorization
    late_by_ms, copy = applied.aggregates.late_by_ms, applied.duplicate[asked]
    flagged = np.maximum(late_by_ms, applied.behind_ms[asked]) > grace_ms
    return np.array(
        [
            len(frame), asked.sum(), (~asked).sum(), copy.sum(), ((late_by_ms > 0) & ~copy).sum(), flagged.sum(),
            np.count_nonzero(np.diff(frame["rank"].to_numpy())) + 1,
        ]
    )  # fmt: skip
