"""Columns of a history file as the windows take them: the contract's rules for values, over whole columns.

Each function does the common shapes as columns and hands the rest, value by value, to the function that decodes the
same field online. So a value means the same in a file as in a record.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.history import Int64
from features.money import MAX_AMOUNT_MINOR, minor_units
from features.times import MAX_EVENT_MS, parse_rfc3339
from features.wire import MAX_ID, MAX_TEXT, fit_id

_PLAIN_NUMBER: Final = r"^[0-9]+(?:\.[0-9]+)?$"
# Digits that fit into 63 bits, also after the currency's decimals are taken into account by `_scaled`.
_MOST_DIGITS: Final = 18
_TENS: Final = 10 ** np.arange(_MOST_DIGITS + 1)
_PLAIN_TIME: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ](?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]+)?[Zz]?$"
_NOT_PLAIN: Final = r"[^ -~]"
_FIRST_PLAIN, _LAST_PLAIN = b" ~"


def amounts_minor(amount: pl.Series, exponent: Int64) -> Int64:
    """Exact minor units, rounded half-even; 0 where an amount is no number or its minor units are not 1 to 10^15.

    Args:
        amount: decimals, integers, or text as in JSON; a float stands for its shortest decimal text. No nulls.
        exponent: decimals of each row's currency; shape (n,).
    """
    digits, scale = amount, np.zeros(len(amount), np.int64)
    if isinstance(amount.dtype, pl.Decimal):
        digits, scale = amount.to_physical(), np.full(len(amount), amount.dtype.scale)
    elif not amount.dtype.is_integer():
        digits, scale = _digits(amount.cast(pl.String))
    digits = digits.cast(pl.Int64, strict=False)
    exact = digits.is_not_null().to_numpy() & (scale <= _MOST_DIGITS)
    minor = _scaled(digits.fill_null(0).to_numpy(), np.where(exact, scale, 0), exponent)
    odd = np.flatnonzero(~exact)
    texts = amount.gather(odd).cast(pl.String).to_list()
    minor[odd] = [minor_units(text, places) or 0 for text, places in zip(texts, exponent[odd].tolist(), strict=True)]
    return minor


def _digits(text: pl.Series) -> tuple[pl.Series, Int64]:
    """The digits of plain decimal numbers as one integer, null for anything else, and how many are decimals."""
    chars = text.str.len_bytes()
    plain = text.str.contains(_PLAIN_NUMBER) & (chars <= _MOST_DIGITS)
    digits = text.str.replace(".", "", literal=True).set(~plain, None)
    decimals = chars.cast(pl.Int64) - 1 - text.str.find(".", literal=True).cast(pl.Int64)
    return digits, decimals.fill_null(0).to_numpy()


def _scaled(digits: Int64, scale: Int64, exponent: Int64) -> Int64:
    """`digits / 10**scale` in units of `10**-exponent`, half-even; 0 where the result is out of range."""
    if np.array_equal(scale, exponent):
        return np.where((digits >= 1) & (digits <= MAX_AMOUNT_MINOR), digits, 0)
    up, down = (_TENS[np.maximum(places, 0)] for places in (exponent - scale, scale - exponent))
    small = (digits > 0) & ((up == 1) | (digits <= MAX_AMOUNT_MINOR // up))  # so that nothing below overflows
    whole, rest = np.divmod(np.where(small, digits, 0), down)
    minor = whole * up + (2 * rest + (whole & 1) > down)
    return np.where((minor >= 1) & (minor <= MAX_AMOUNT_MINOR), minor, 0)


def times_ms(time: pl.Series) -> Int64:
    """Epoch milliseconds, what is finer cut off; -1 where a time is none or not within 1970 to 9999.

    Args:
        time: timestamps (without a zone: UTC), integer epoch milliseconds, or RFC 3339 text. No nulls.
    """
    if time.dtype.is_temporal():
        moment = time.dt.timestamp("ms")
    elif time.dtype.is_integer():
        moment = time.cast(pl.Int64, strict=False)
    else:
        moment = _parsed_ms(time)
    return moment.set(~moment.is_between(0, MAX_EVENT_MS), -1).fill_null(-1).to_numpy(writable=True)


def _parsed_ms(text: pl.Series) -> pl.Series:
    plain = text.str.contains(_PLAIN_TIME)
    seconds = (text.str.slice(0, 10) + " " + text.str.slice(11, 8)).set(~plain, None)
    moment = seconds.str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="ms", strict=False).dt.timestamp("ms")
    fraction = text.str.extract(r"\.([0-9]{1,3})").str.pad_end(3, "0").cast(pl.Int64, strict=False)
    moment += fraction.fill_null(0)
    odd = moment.is_null().arg_true()
    parsed = [parse_rfc3339(value) for value in text.gather(odd).to_list()]
    return moment.scatter(odd, [-1 if value is None else value for value in parsed])


def codes(texts: pl.Series, code: Callable[[str | None], int]) -> pl.Series:
    """Codes of a column with few distinct texts, Int16; of a text that online is left out: the code of None."""
    known = texts.unique().drop_nulls()
    coded = [code(text if len(text) <= MAX_TEXT else None) for text in known.to_list()]
    place = texts.cast(pl.Enum(known), strict=False).to_physical().cast(pl.UInt32).fill_null(len(known))
    return pl.Series([*coded, code(None)], dtype=pl.Int16).gather(place)


def fit_ids(ids: pl.Series) -> NDArray[np.bool_]:
    """Which texts can be ids; a null cannot."""
    if _all_plain(ids):
        return np.ones(len(ids), np.bool_)
    plain = ids.str.len_bytes().is_between(1, MAX_ID) & ~ids.str.contains(_NOT_PLAIN)
    fit = plain.fill_null(False).to_numpy(writable=True)  # noqa: FBT003 - the library's signature
    odd = np.flatnonzero(~fit)
    fit[odd] = [text is not None and fit_id(text) for text in ids.gather(odd).to_list()]
    return fit


def _all_plain(ids: pl.Series) -> bool:
    """Whether all texts are of a fit length and of printable ASCII: looked at as one text, a quarter of the time."""
    if ids.null_count() or not ids.str.len_bytes().is_between(1, MAX_ID).all():
        return False
    chars = np.frombuffer(ids.str.join("").cast(pl.Binary).item(), np.uint8)
    return bool(chars.min(initial=_LAST_PLAIN) >= _FIRST_PLAIN and chars.max(initial=_FIRST_PLAIN) <= _LAST_PLAIN)
