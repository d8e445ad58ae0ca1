"""Columns of a history mean what single values mean online: each function against its counterpart."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.history import country_code, mcc_code
from features.history_columns import amounts_minor, codes, fit_ids, times_ms
from features.money import minor_units
from features.times import parse_rfc3339
from features.wire import fit_id

EXPONENTS = st.sampled_from([0, 2, 3, 4])
DIGITS = st.text("0123456789", max_size=20)
NUMBERS = st.one_of(
    st.builds(lambda whole, fraction: f"{whole}.{fraction}", DIGITS, DIGITS),
    st.sampled_from(
        ["0.005", "0.015", "2.5", "3.5", "1e3", "1E-2", "-1", "+1", " 1", "1 ", "1\n", "1_0", "NaN", "", "."]
    ),
    st.text(max_size=5),
    DIGITS,
)


def expected(texts: list[str], exponents: list[int]) -> list[int]:
    return [minor_units(text, exponent) or 0 for text, exponent in zip(texts, exponents, strict=True)]


def minor(amounts: pl.Series, exponents: list[int]) -> list[int]:
    return amounts_minor(amounts, np.array(exponents, np.int64)).tolist()


@settings(deadline=None)
@given(st.lists(st.tuples(NUMBERS, EXPONENTS), min_size=1, max_size=20))
def test_amounts_as_text(rows: list[tuple[str, int]]) -> None:
    texts, exponents = [text for text, _ in rows], [exponent for _, exponent in rows]
    assert minor(pl.Series(texts), exponents) == expected(texts, exponents)


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(allow_subnormal=True), EXPONENTS), min_size=1, max_size=20))
def test_amounts_as_floats_are_their_shortest_text(rows: list[tuple[float, int]]) -> None:
    floats, exponents = [value for value, _ in rows], [exponent for _, exponent in rows]
    assert minor(pl.Series(floats), exponents) == expected([repr(value) for value in floats], exponents)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(-(10**20), 10**20), EXPONENTS), min_size=1, max_size=20),
    st.sampled_from([0, 1, 2, 3, 8, 18]),
)
def test_amounts_as_decimals(rows: list[tuple[int, int]], scale: int) -> None:
    decimals, exponents = [Decimal(value).scaleb(-scale) for value, _ in rows], [exponent for _, exponent in rows]
    series = pl.Series(decimals, dtype=pl.Decimal(38, scale))
    assert minor(series, exponents) == expected([f"{value:f}" for value in decimals], exponents)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), EXPONENTS), min_size=1, max_size=20))
def test_amounts_as_integers(rows: list[tuple[int, int]]) -> None:
    values, exponents = [value for value, _ in rows], [exponent for _, exponent in rows]
    assert minor(pl.Series(values, dtype=pl.Int64), exponents) == expected([str(v) for v in values], exponents)


def test_amounts_of_other_widths() -> None:
    assert minor(pl.Series([2**64 - 1, 7], dtype=pl.UInt64), [2, 2]) == [0, 700]
    assert minor(pl.Series([0.1, 12.35], dtype=pl.Float32), [2, 2]) == [10, 1235]
    assert minor(pl.Series([Decimal("0.00500000000000000000001")], dtype=pl.Decimal(38, 23)), [2]) == [1]


TIMES = st.one_of(
    st.datetimes(datetime(1960, 1, 1), datetime(9999, 12, 31)).map(datetime.isoformat),  # noqa: DTZ001 - text only
    st.builds(
        lambda clock, fraction, zone: f"2024-02-29{clock}{fraction}{zone}",
        st.sampled_from(["T10:00:00", "t10:00:59", " 23:59:60", "T24:00:00", "T1:00:00", "  10:00:00"]),
        st.sampled_from(["", ".", ".1", ".12", ".123", ".1239", ".9999999999"]),
        st.sampled_from(["", "Z", "z", "+02:00", "-23:59", "+2", " Z", "\n"]),
    ),
    st.sampled_from(["2023-02-29T00:00:00Z", "1969-12-31T23:59:59.999Z", "9999-12-31T23:59:60Z", "", "now"]),
)


@settings(deadline=None)
@given(st.lists(TIMES, min_size=1, max_size=20))
def test_times_as_text(texts: list[str]) -> None:
    parsed = [parse_rfc3339(text) for text in texts]
    assert times_ms(pl.Series(texts)).tolist() == [-1 if value is None else value for value in parsed]


@pytest.mark.parametrize("dtype", [pl.Datetime("ms"), pl.Datetime("us", "UTC"), pl.Datetime("ns", "Europe/Berlin")])
def test_times_as_timestamps_are_utc(dtype: pl.Datetime) -> None:
    per_ms = {"ms": 1, "us": 1_000, "ns": 1_000_000}[dtype.time_unit]
    ticks = pl.Series([0, 1_700_000_000_123 * per_ms + per_ms - 1, -1]).cast(pl.Int64).cast(dtype)
    assert times_ms(ticks).tolist() == [0, 1_700_000_000_123, -1]


@settings(deadline=None)
@given(st.lists(st.none() | st.text(st.characters(codec="utf-8"), max_size=4) | st.just("x" * 257), max_size=20))
def test_codes(texts: list[str | None]) -> None:
    for code in (country_code, mcc_code):
        wanted = [code(None if text is None or len(text) > 256 else text) for text in texts]
        assert codes(pl.Series(texts, dtype=pl.String), code).to_list() == wanted


@settings(deadline=None)
@given(st.lists(st.none() | st.text(st.characters(codec="utf-8"), max_size=4) | st.integers(0, 140).map("é".__mul__)))
def test_fit_ids(texts: list[str | None]) -> None:
    wanted = [text is not None and fit_id(text) for text in texts]
    assert fit_ids(pl.Series(texts, dtype=pl.String)).tolist() == wanted


@pytest.mark.parametrize("place", ["first", "last"])
def test_one_unfit_character_among_plain_ids_is_seen(place: str) -> None:
    for char in map(chr, range(0x180)):
        ids = ["t-1", "t-2", f"{char}t" if place == "first" else f"t{char}"]
        assert fit_ids(pl.Series(ids)).tolist() == [fit_id(text) for text in ids], repr(char)
