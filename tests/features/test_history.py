"""The packed history: what goes in comes out, at the edges of every field, and garbage is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import StoreError
from features.history import Entries, country_code, header, is_after, mcc_code, pack_words, unpack

MAX_TIME_MS = 253_402_300_799_999

entry = st.tuples(
    st.integers(0, MAX_TIME_MS),
    st.integers(1, 10**15),
    st.booleans(),
    st.booleans(),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**14 - 1),
    st.integers(0, 2**14 - 1),
)


def entries_of(rows: list[tuple[int, int, bool, bool, int, int, int]]) -> Entries:
    columns = list(zip(*rows, strict=True)) or [()] * 7
    kinds = (np.int64, np.int64, np.bool_, np.bool_, np.uint64, np.int64, np.int64)
    return Entries(*(np.array(c, k) for c, k in zip(columns, kinds, strict=True)))


@given(st.lists(entry, max_size=20), st.integers(0, 2**24 - 1), st.integers(0, 2**40))
def test_a_history_survives_packing(
    rows: list[tuple[int, int, bool, bool, int, int, int]], settled: int, written: int
) -> None:
    packed = header(settled, written) + pack_words(entries_of(rows)).tobytes()
    histories = unpack([None, packed])
    # A reversal has no merchant category: its word holds an offset.
    expected = entries_of([(*row[:6], 0 if row[2] else row[6]) for row in rows])
    for name in Entries.__struct_fields__:
        assert getattr(histories.entries, name).tolist() == getattr(expected, name).tolist(), name
    assert histories.counts.tolist() == [0, len(rows)]
    assert histories.settled.tolist() == [0, settled]
    assert histories.written.tolist() == [0, written % 2**32]
    assert len(packed) == 8 + 24 * len(rows)


@pytest.mark.parametrize(
    "value", [b"", b"\x01", header(0, 0)[:-1], header(0, 0) + b"x" * 23, b"\x00" * 32, b"\xff" * 8]
)
def test_what_is_no_history_is_refused_with_the_way_out(value: bytes) -> None:
    with pytest.raises(StoreError, match="layout"):
        unpack([value])


def test_the_golden_layout_never_changes() -> None:
    """Bytes that a running Redis holds: a change here needs a new version and a migration."""
    rows = [(1_700_000_000_123, 12_345, False, True, 0x1122334455667788, country_code("DE"), mcc_code("5411"))]
    packed = header(3, 77) + pack_words(entries_of(rows)).tobytes()
    assert packed.hex() == GOLDEN


GOLDEN = "4d0000000300000153407b68e5cf8b0124550e0c000000008877665544332211"


@given(st.integers(0, 2**63 - 1), st.integers(1, 2**31 - 1))
def test_offsets_compare_by_their_lowest_bits(offset: int, ahead: int) -> None:
    assert is_after(offset + ahead, offset % 2**32)
    assert not is_after(offset, (offset + ahead) % 2**32)
    assert not is_after(offset, offset % 2**32)


def test_codes_are_exact_for_what_the_standards_define_and_never_zero_for_anything_else() -> None:
    letters = [chr(65 + i) + chr(65 + j) for i in range(26) for j in range(26)]
    assert len({country_code(c) for c in letters} | {0}) == 677
    assert len({mcc_code(f"{i:04d}") for i in range(10_000)} | {0}) == 10_001
    for odd in ("", "us", "USA", "٣٣", "12345", "\x00"):
        assert 676 < country_code(odd) < 2**14
        assert 10_000 < mcc_code(odd) < 2**14
