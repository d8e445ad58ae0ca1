"""A card's history: one packed value, its entries in order of application.

Layout, little-endian 64-bit words (`docs/redis-layout.md` draws it):

    header   version:8 | settled:24 | written:32     see `Histories`
    (of a folded card, version 2:)
    fold     tiles:16 | folded_ms:48
    tile     first_ms, last_ms, count, total, largest: see `features/tiles.py`
    (of every card:)
    entry    time_ms:48 | reversal:1 | clamped:1 | country:14
             amount_minor:50 | mcc:14                 (of a reversal: offset of the record that applied it)
             identity:64

An entry is an authorization or a reversal. Order of application is kept because a copy of a transaction is answered
with the features of the prefix up to its first copy. The header tells, when a batch is delivered again after a crash,
which of its records were first copies.

Histories stay packed in memory too: what is not asked for is not unpacked, and what has not changed is not packed again
(`features/words.py`).
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from features.errors import StoreCorrupt
from features.tiles import WORDS, Tiles, no_tiles, with_tables
from features.words import (
    AMOUNT_SHIFT,
    CLAMPED_BIT,
    ENTRY_BYTES,
    REVERSAL_BIT,
    TIME_SHIFT,
    WORD,
    amounts_of,
    clamped_of,
    codes_of,
    times_of,
)

PLAIN: Final = 1
FOLDED: Final = 2
HEADER_BYTES: Final = 8
IDENTITY_BYTES: Final = 8
MAX_AMOUNT_MINOR: Final = 10**15

_SETTLED_BITS: Final = 24
_WRITTEN_BITS: Final = 32
_FOLDED_BITS: Final = 48
_TILE_BYTES: Final = 8 * WORDS
_NO_LAYOUT: Final = "a card's history in Redis is cut off, or in a layout that this version does not know"

_VERSION_SHIFT: Final = 56
_NOTHING: Final = bytes(HEADER_BYTES - 1) + bytes([PLAIN])

Int64 = NDArray[np.int64]
UInt64 = NDArray[np.uint64]
Bool = NDArray[np.bool_]


class Entries(msgspec.Struct, frozen=True):
    """Unpacked entries of any number of cards, as columns of one length.

    Attributes:
        time_ms: effective time; of a reversal: its original's, so that both leave the history together.
        amount_minor: minor units; of a reversal: the offset of the record that applied it.
        reversal: True for a reversal.
        clamped: True where the event's own time lay too far in the future and the record's time was taken.
        identity: hash of the transaction id; of a reversal: of the original's id.
        country: `country_code` of the country, 0 where missing.
        mcc: `mcc_code` of the merchant category, 0 where missing.
    """

    time_ms: Int64
    amount_minor: Int64
    reversal: Bool
    clamped: Bool
    identity: UInt64
    country: Int64
    mcc: Int64

    def __len__(self) -> int:
        return len(self.time_ms)

    def take(self, index: Int64 | Bool) -> Entries:
        """The entries at an index or mask."""
        return Entries(*(getattr(self, name)[index] for name in self.__struct_fields__))


def identity(transaction_id: str) -> int:
    """The 64-bit identity of a transaction id within its card.

    >>> identity("t-1") == identity("t-1") != identity("t-2")
    True
    """
    return int.from_bytes(hashlib.blake2b(transaction_id.encode(), digest_size=IDENTITY_BYTES).digest(), "little")


def country_code(country: str | None) -> int:
    """A 14-bit code: exact for two upper-case letters, a hash for anything else, 0 for nothing.

    >>> country_code("AA"), country_code("ZZ"), country_code(None)
    (1, 676, 0)
    """
    if country is None:
        return 0
    if len(country) == 2 and country.isascii() and country.isalpha() and country.isupper():
        return 1 + (ord(country[0]) - 65) * 26 + ord(country[1]) - 65
    return 677 + zlib.crc32(country.encode()) % (16_384 - 677)


def mcc_code(mcc: str | None) -> int:
    """A 14-bit code: exact for four digits, a hash for anything else, 0 for nothing.

    >>> mcc_code("0000"), mcc_code("9999"), mcc_code(None)
    (1, 10000, 0)
    """
    if mcc is None:
        return 0
    if len(mcc) == 4 and mcc.isascii() and mcc.isdigit():
        return 1 + int(mcc)
    return 10_001 + zlib.crc32(mcc.encode()) % (16_384 - 10_001)


def pack_words(entries: Entries) -> UInt64:
    """Entries as words, shape (n, 3)."""
    words = np.empty((len(entries), 3), WORD)
    head = (entries.time_ms.view(np.uint64) << TIME_SHIFT) | entries.country.view(np.uint64)
    body = (entries.amount_minor.view(np.uint64) << AMOUNT_SHIFT) | entries.mcc.view(np.uint64)
    if np.count_nonzero(entries.clamped):
        head |= np.where(entries.clamped, CLAMPED_BIT, np.uint64(0))
    if np.count_nonzero(entries.reversal):
        head |= np.where(entries.reversal, REVERSAL_BIT, np.uint64(0))
        # A reversal's second word is its offset whole; an authorization's is amount and MCC.
        body = np.where(entries.reversal, entries.amount_minor.view(np.uint64), body)
    words[:, 0] = head
    words[:, 1] = body
    words[:, 2] = entries.identity
    return words


def unpack_words(words: UInt64) -> Entries:
    """The inverse of `pack_words`; shape (n, 3)."""
    reversal = (words[:, 0] & REVERSAL_BIT) != 0
    country, mcc = codes_of(words)
    return Entries(
        time_ms=times_of(words),
        amount_minor=amounts_of(words, reversal),
        reversal=reversal,
        clamped=clamped_of(words),
        identity=words[:, 2].astype(np.uint64),
        country=country,
        mcc=np.where(reversal, 0, mcc),
    )


class Histories(msgspec.Struct, frozen=True):
    """The histories of several cards.

    Attributes:
        words: all entries, one card after the other, each card's in order of application; shape (entries, 3).
        counts: entries per card; shape (cards,).
        settled: entries that were there before the records that may come again; shape (cards,).
        written: offset of the last record of the batch that wrote last, modulo 2**32; shape (cards,).
        tiles: what older entries were folded into.
    """

    words: UInt64
    counts: Int64
    settled: Int64
    written: Int64
    tiles: Tiles

    @property
    def entries(self) -> Entries:
        """All entries, unpacked anew whenever it is asked for."""
        return unpack_words(self.words)


def headers(settled: Int64, written: Int64) -> UInt64:
    """The first word of packed histories without tiles."""
    word = (PLAIN << _SETTLED_BITS) | np.minimum(settled, (1 << _SETTLED_BITS) - 1)
    return ((word << _WRITTEN_BITS) | (written & ((1 << _WRITTEN_BITS) - 1))).view(np.uint64)


def header(settled: int, written: int) -> bytes:
    """The first eight bytes of a packed history without tiles."""
    return _header(PLAIN, settled, written)


def folded_header(settled: int, written: int, table: Int64, folded_ms: int) -> bytes:
    """What comes before the entries of a folded card: header, fold and tiles (shape (tiles, 5))."""
    fold = (len(table) << _FOLDED_BITS) | folded_ms
    return _header(FOLDED, settled, written) + fold.to_bytes(HEADER_BYTES, "little") + table.astype(WORD).tobytes()


def _header(version: int, settled: int, written: int) -> bytes:
    word = (version << _SETTLED_BITS) | min(settled, (1 << _SETTLED_BITS) - 1)
    return ((word << _WRITTEN_BITS) | written % (1 << _WRITTEN_BITS)).to_bytes(HEADER_BYTES, "little")


def is_after(offset: int, written: int) -> bool:
    """Whether an offset lies after one of which the lowest 32 bits are known (they are less than 2**31 apart).

    >>> is_after(2**32 + 5, 4), is_after(2**32 + 5, 5), is_after(3, 2**32 - 2)
    (True, False, True)
    """
    return 0 < (offset - written) % (1 << _WRITTEN_BITS) < 1 << (_WRITTEN_BITS - 1)


def are_after(offsets: Int64, written: Int64) -> Bool:
    """`is_after` for columns.

    >>> are_after(np.array([2**32 + 5, 2**32 + 5, 3]), np.array([4, 5, 2**32 - 2])).tolist()
    [True, False, True]
    """
    ahead = (offsets - written) % (1 << _WRITTEN_BITS)
    return np.asarray((ahead > 0) & (ahead < 1 << (_WRITTEN_BITS - 1)))


def is_long(value: bytes, entries: int) -> bool:
    """Whether a packed history is folded, or has so many entries.

    >>> is_long(header(0, 0) + bytes(48), 2), is_long(header(0, 0) + bytes(48), 3)
    (True, False)
    """
    return value[HEADER_BYTES - 1] == FOLDED or len(value) - HEADER_BYTES >= entries * ENTRY_BYTES


def unpack(values: Sequence[bytes | None]) -> Histories:
    """The histories of several cards; None for a card without one.

    Raises:
        StoreCorrupt: a value is no packed history of a version known here.
    """
    packed = [_NOTHING if value is None else value for value in values]
    raw = b"".join([value[:HEADER_BYTES] for value in packed])
    if len(raw) != HEADER_BYTES * len(packed):
        raise StoreCorrupt(_NO_LAYOUT)
    heads = np.frombuffer(raw, WORD).view(np.int64)
    bodies = [value[HEADER_BYTES:] for value in packed]
    folded: dict[int, tuple[Int64, int]] = {}
    for card in ((heads >> _VERSION_SHIFT) != PLAIN).nonzero()[0].tolist():
        begin, folded[card] = _unpack_fold(packed[card])
        bodies[card] = packed[card][begin:]
    sizes = np.fromiter(map(len, bodies), np.int64, len(bodies))
    counts = sizes // ENTRY_BYTES
    if np.count_nonzero(counts * ENTRY_BYTES != sizes):
        raise StoreCorrupt(_NO_LAYOUT)
    return Histories(
        words=np.frombuffer(b"".join(bodies), WORD).reshape(-1, 3),
        counts=counts,
        settled=(heads >> _WRITTEN_BITS) & ((1 << _SETTLED_BITS) - 1),
        written=heads & ((1 << _WRITTEN_BITS) - 1),
        tiles=_tiles(len(values), folded),
    )


def _unpack_fold(value: bytes) -> tuple[int, tuple[Int64, int]]:
    """Where the entries of a folded card begin, its tiles and the time up to which it is folded.

    Raises:
        StoreCorrupt: it is no folded card's history.
    """
    if len(value) < 2 * HEADER_BYTES or value[HEADER_BYTES - 1] != FOLDED:
        raise StoreCorrupt(_NO_LAYOUT)
    fold = int.from_bytes(value[HEADER_BYTES : 2 * HEADER_BYTES], "little")
    begin = 2 * HEADER_BYTES + (fold >> _FOLDED_BITS) * _TILE_BYTES
    if len(value) < begin:
        raise StoreCorrupt(_NO_LAYOUT)
    table = np.frombuffer(value[2 * HEADER_BYTES : begin], WORD).reshape(-1, WORDS).astype(np.int64)
    return begin, (table, fold & ((1 << _FOLDED_BITS) - 1))


def _tiles(cards: int, folded: dict[int, tuple[Int64, int]]) -> Tiles:
    tiles = no_tiles(cards)
    if not folded:
        return tiles
    folded_ms = tiles.folded_ms.copy()
    for card, (_, until_ms) in folded.items():
        folded_ms[card] = until_ms
    return with_tables(tiles, {card: table for card, (table, _) in folded.items()}, folded_ms)
