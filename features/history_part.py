"""Consecutive rows of a history file: what the contract says of their values, and which row breaks it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from features import pan
from features.errors import HistoryError
from features.history import Int64
from features.history_columns import amounts_minor, codes, fit_ids, times_ms
from features.money import EXPONENTS
from features.transaction import AUTHORIZATION, REVERSAL

_SHORTEST_PAN: Final = 13


class Part(msgspec.Struct, frozen=True):
    """Consecutive rows of one file."""

    file: Path
    first_row: int
    frame: pl.DataFrame

    def refuse(self, wrong: NDArray[np.bool_], column: str, reason: str) -> None:
        """Raise for the first row that is wrong, if there is one."""
        if wrong.any():
            row = self.first_row + int(np.argmax(wrong)) + 1
            raise HistoryError(f"{self.file}, row {row} (the first is 1): {column} {reason}")


def reversals(part: Part) -> pl.Series:
    """Which rows are reversals."""
    frame = part.frame
    if "type" not in frame.columns:
        return pl.Series([False]).extend_constant(False, len(frame) - 1)  # noqa: FBT003 - the library's signature
    kind = frame["type"].fill_null(AUTHORIZATION)
    part.refuse(~kind.is_in([AUTHORIZATION, REVERSAL]).to_numpy(), "type", f"must be {AUTHORIZATION} or {REVERSAL}")
    reversal = kind == REVERSAL
    if reversal.any():
        named = "original_transaction_id" in frame.columns
        fit = fit_ids(frame["original_transaction_id"]) if named else np.zeros(len(frame), np.bool_)
        part.refuse(reversal.to_numpy() & ~fit, "original_transaction_id", "must name what the reversal takes back")
    return reversal


def masked(frame: pl.DataFrame, digits: pl.Series) -> pl.DataFrame:
    """The texts of records of card numbers, with the number masked wherever it stands in them."""
    for name in ("transaction_id", "original_transaction_id", "merchant_category", "country"):
        if name in frame.columns:
            at = (digits.is_not_null() & (frame[name].str.len_bytes() >= _SHORTEST_PAN)).arg_true()
            pairs = zip(frame[name].gather(at), digits.gather(at), strict=True)
            frame = frame.with_columns(frame[name].scatter(at, [pan.mask_own(text, own) for text, own in pairs]))
    return frame


def times(part: Part, clock_skew_ms: int) -> tuple[Int64, Int64]:
    """The events' own and their effective times."""
    outside = "must be a time from 1970 to 9999: a timestamp, RFC 3339 text or integer epoch milliseconds"
    event_ms = times_ms(part.frame["event_time"])
    part.refuse(event_ms < 0, "event_time", outside)
    if "timestamp_ms" not in part.frame.columns:
        return event_ms, event_ms
    given = part.frame["timestamp_ms"]
    recorded_ms = np.where(given.is_null().to_numpy(), event_ms, times_ms(given))
    part.refuse(recorded_ms < 0, "timestamp_ms", outside)
    return event_ms, np.where(event_ms - recorded_ms > clock_skew_ms, recorded_ms, event_ms)


def amounts(part: Part) -> tuple[Int64, Int64]:
    """Minor units, and the decimals of the currencies."""
    exponent = codes(part.frame["currency"], lambda code: EXPONENTS.get(code or "", -1)).to_numpy().astype(np.int64)
    part.refuse(exponent < 0, "currency", "is not an active ISO 4217 code with minor units")
    amount_minor = amounts_minor(part.frame["amount"], exponent)
    part.refuse(amount_minor == 0, "amount", "must be a decimal number of 1 to 10^15 minor units after rounding")
    return amount_minor, exponent


def labels(part: Part, names: Sequence[str], reversal: pl.Series) -> dict[str, pl.Series]:
    """Those of the named columns that the history has, `is_fraud` as 0, 1 or null."""
    found = {name: part.frame[name] for name in names if name in part.frame.columns}
    if "is_fraud" in found:
        label = found["is_fraud"].cast(pl.Int8, strict=False)
        known: Callable[[int, int], pl.Series] = label.is_between
        fit = known(0, 1).fill_null(value=False) | found["is_fraud"].is_null() | reversal
        part.refuse(~fit.to_numpy(), "is_fraud", "must be 0 or 1, or empty where it is not known")
        found["is_fraud"] = label
    return found
