"""Topics as histories: transactions and labels as Parquet files that training reads, resumable, in bounded memory.

Each file holds a run of offsets of one partition, and its name says which: `<partition>-<first>-<next>.parquet`. A file
appears when it is complete. So an export that is run again goes on behind the last one, and what was exported before
is kept when the topic no longer holds it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import polars as pl
from confluent_kafka import Message

from features.decode import Decoder
from features.errors import DecodeError, HistoryError
from features.mapping.columns import decimal_texts
from scoring.label import decode_label
from streams.intake import Reader, offset_of
from streams.repair.topic_reader import BATCH, Span, TopicReader, reading

ROWS_PER_FILE: Final = 250_000
LABELS_FOLDER: Final = "labels"
_NOTE: Final = "export.json"
_FILE: Final = re.compile(r"(\d{5})-(\d{20})-(\d{20})\.parquet")
_TEXTS: Final = (
    "transaction_id", "card_id", "currency", "type", "original_transaction_id", "merchant_id", "merchant_category",
    "country", "channel", "device_id", "ip_address", "email", "card_last4",
)  # fmt: skip
_LABEL_TEXTS: Final = ("label_id", "transaction_id", "card_id", "label", "source", "labelled_at")
_NOTE_OF_TRUTH: Final = "strays, whose copies in their home partition count"

Row = dict[str, Any]
Read = Callable[[Message, int], Row | None]
Progress = Callable[[int, int | None], None]


class Note(msgspec.Struct, frozen=True):
    """What stands beside the files: which topic they are of."""

    topic: str
    partitions: int


class Exported(msgspec.Struct, frozen=True):
    """What an export did.

    Attributes:
        records: read now.
        rows: written now.
        left_out: records that are no row, by reason.
        before: rows that were there already.
    """

    records: int
    rows: int
    left_out: dict[str, int]
    before: int


class Export:
    """Writes one topic into a folder.

    Args:
        kafka: librdkafka settings that reach the brokers.
        topic: full name.
        out: the folder.
        frame: rows as columns.
        rows_per_file: in memory at once.
    """

    def __init__(
        self,
        kafka: Mapping[str, str],
        topic: str,
        out: Path,
        frame: Callable[[list[Row]], pl.DataFrame],
        rows_per_file: int = ROWS_PER_FILE,
    ) -> None:
        self._kafka, self._topic, self._out, self._frame = kafka, topic, out, frame
        self._size = rows_per_file

    def run(self, read: Callable[[int], Read], until_ms: int | None, progress: Progress) -> Exported:
        """Export up to the present end of the topic, partition by partition; blocks.

        Args:
            read: of the number of partitions, makes what turns a record into a row; it raises DecodeError for what is
                none, and gives None for a stray.
            until_ms: broker time before which records count; without: all.
            progress: takes records read and records in all.

        Raises:
            HistoryError: the folder belongs to another topic, or cannot be written.
        """
        with reading(self._kafka, self._topic) as reader:
            partitions = reader.partitions()
            if not partitions:
                raise HistoryError(f"there is no topic {self._topic}; `fraudstream setup` makes it")
            self._claim(partitions)
            spans = [self._span(reader, partition, until_ms) for partition in range(partitions)]
            total, left_out = sum(map(len, spans)), Counter[str]()
            made = read(partitions)
            before = sum(self._rows(file) for file in self._files())
            records = rows = 0
            for span in spans:
                for gathered, taken, first, following in self._runs(reader, span, made, left_out):
                    records += taken
                    rows += len(gathered)
                    self._write(gathered, span.partition, first, following)
                    progress(records, total)
        return Exported(records, rows, dict(left_out), before)

    def _runs(
        self, reader: TopicReader, span: Span, read: Read, left_out: Counter[str]
    ) -> Iterator[tuple[list[Row], int, int, int]]:
        """Rows of a run of offsets, the records it had, its first offset and the one after it."""
        rows: list[Row] = []
        first, taken = span.start, 0
        reader.begin([span])
        while not reader.done():
            for message in reader.take(min(BATCH, self._size)):
                taken += 1
                try:
                    row = read(message, span.partition)
                except DecodeError as exc:
                    left_out[f"records that are none ({exc.reason})"] += 1
                    continue
                if row is None:
                    left_out[_NOTE_OF_TRUTH] += 1
                else:
                    rows.append(row)
            if len(rows) >= self._size:
                following = reader.position(span.partition)
                yield rows, taken, first, following
                rows, taken, first = [], 0, following
        if span.end > first:
            yield rows, taken, first, span.end

    def _span(self, reader: TopicReader, partition: int, until_ms: int | None) -> Span:
        low, high = reader.bounds(partition)
        end = high if until_ms is None else reader.offset_at(partition, until_ms)
        done = max((int(m[3]) for m in self._matches() if int(m[1]) == partition), default=0)
        if done > high:
            raise HistoryError(
                f"{self._out} holds more of partition {partition} than {self._topic} has: the topic was made anew; "
                "export into another folder"
            )
        return Span(partition, max(low, done), end)

    def _claim(self, partitions: int) -> None:
        note = self._out / _NOTE
        try:
            self._out.mkdir(parents=True, exist_ok=True)
            if note.exists():
                found = msgspec.json.decode(note.read_bytes(), type=Note)
                if found.topic != self._topic:
                    raise HistoryError(f"{self._out} holds an export of {found.topic}, not of {self._topic}")
            note.write_bytes(msgspec.json.encode(Note(self._topic, partitions)))
            for unfinished in self._out.glob(".*.parquet.new"):
                unfinished.unlink()
        except OSError as exc:
            raise HistoryError(f"cannot write the export to {self._out}: {exc.strerror or exc}") from exc
        except msgspec.MsgspecError as exc:
            raise HistoryError(f"{note} is damaged; export into another folder") from exc

    def _matches(self) -> Iterable[re.Match[str]]:
        return [found for file in self._out.glob("*.parquet") if (found := _FILE.fullmatch(file.name))]

    def _files(self) -> Iterable[Path]:
        return [self._out / found[0] for found in self._matches()]

    @staticmethod
    def _rows(file: Path) -> int:
        rows: int = pl.scan_parquet(file).select(pl.len()).collect().item()
        return rows

    def _write(self, rows: list[Row], partition: int, first: int, following: int) -> None:
        """A run without a row is a file too: so it is not read again."""
        name = f"{partition:05d}-{first:020d}-{following:020d}.parquet"
        unfinished = self._out / f".{name}.new"
        try:
            self._frame(rows).write_parquet(unfinished, compression="zstd")
            unfinished.replace(self._out / name)
        except OSError as exc:
            raise HistoryError(f"cannot write the export to {self._out}: {exc.strerror or exc}") from exc


def transaction_rows(
    decoder: Decoder, *, topic: str, dead_letters: str, moved: bool
) -> Callable[[int], Callable[[Message, int], Row | None]]:
    """What turns records of `transactions` into rows: card numbers are tokens, values are the contract's.

    Args:
        decoder: knows the key of card numbers.
        topic: full name.
        dead_letters: full name of the topic of dead letters.
        moved: records count wherever they lie, as after a change of the number of partitions.
    """

    def prepared(partitions: int) -> Callable[[Message, int], Row | None]:
        reader = Reader(decoder, topic=topic, dead_letters=dead_letters, partitions=partitions)

        def row(message: Message, partition: int) -> Row | None:
            incoming = reader.decoded(message)
            if incoming.partition != partition and not moved:
                return None
            found = incoming.transaction
            return {
                **{name: getattr(found, name) for name in _TEXTS},
                "amount_minor": found.amount_minor,
                "exponent": found.exponent,
                "event_ms": found.event_ms,
                "timestamp_ms": incoming.broker_ms,
                "partition": partition,
                "offset": offset_of(message),
            }

        return row

    return prepared


def transaction_frame(rows: list[Row]) -> pl.DataFrame:
    """Rows of transactions as the columns of a history."""
    numbers = dict.fromkeys(("amount_minor", "exponent", "event_ms", "timestamp_ms", "partition", "offset"), pl.Int64)
    frame = pl.DataFrame(rows, schema={**dict.fromkeys(_TEXTS, pl.String), **numbers})
    minor, exponent = (frame[name].to_numpy().astype(np.int64) for name in ("amount_minor", "exponent"))
    return frame.with_columns(
        decimal_texts(minor, exponent).alias("amount"),
        pl.col("event_ms").cast(pl.Datetime("ms", "UTC")).alias("event_time"),
    ).drop("amount_minor", "exponent", "event_ms")


def label_row(message: Message, _partition: int) -> Row | None:
    """What turns a record of `fraud_labels` into a row: names and notes of analysts stay where they are."""
    label = decode_label(message.value())
    return {name: getattr(label, name) for name in _LABEL_TEXTS}


def label_frame(rows: list[Row]) -> pl.DataFrame:
    """Rows of labels as columns."""
    return pl.DataFrame(rows, schema=dict.fromkeys(_LABEL_TEXTS, pl.String))
