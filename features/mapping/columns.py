"""Columns of a foreign set as columns of a history: texts, moments, amounts, labels, further inputs."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.errors import HistoryError
from features.history import Int64
from features.history_columns import amounts_minor, times_ms
from features.mapping.spec import AmountOf, InputOf, LabelOf, TextOf, TimeOf

Bool = NDArray[np.bool_]

_ZONE: Final = r"(?:[Zz]|[+-][0-9]{2}:?[0-9]{2})$"
_EARTH_KM: Final = 6371.0088
_YEAR_DAYS: Final = 365.2425
_HOUR_MS: Final = 3_600_000


def plain_text(column: pl.Series) -> pl.Series:
    """A column as text; numbers that are whole without decimals, so that ids from floats are ids."""
    if column.dtype.is_float():
        whole = column.cast(pl.Int64, strict=False)
        same = (whole.cast(pl.Float64) == column).fill_null(value=False)
        return whole.cast(pl.String).zip_with(same, column.cast(pl.String))
    return column.cast(pl.String)


def text_column(given: TextOf, frame: pl.DataFrame, first_row: int) -> pl.Series:
    """A text field of all rows; null where nothing stands there.

    Args:
        given: how it is made.
        frame: rows of the set.
        first_row: rows before them.
    """
    if given.constant is not None:
        made = pl.repeat(str(given.constant), len(frame), dtype=pl.String, eager=True)
    elif given.row:
        made = pl.Series(np.arange(first_row + 1, first_row + len(frame) + 1)).cast(pl.String)
    elif given.columns:
        parts = [
            plain_text(frame[name]).str.strip_chars().alias(str(place)) for place, name in enumerate(given.columns)
        ]
        made = pl.DataFrame(parts).select(pl.concat_str(pl.all(), separator=given.separator)).to_series()
    else:
        made = plain_text(frame[given.column or ""]).str.strip_chars()
    if given.values:
        made = made.replace(given.values)
    return (given.prefix + made) if given.prefix else made


class Moments:
    """Reads moments; notices where texts with a time zone stand beside texts without.

    Args:
        given: how they are written.
        time_zone: of those without one.
        declared: the mapping says so itself.
    """

    def __init__(self, given: TimeOf, time_zone: str, *, declared: bool) -> None:
        self._given, self._zone = given, given.time_zone or time_zone
        self._declared = declared or given.time_zone is not None
        self._seen: set[bool] = set()

    def read(self, frame: pl.DataFrame) -> Int64:
        """Epoch milliseconds, -1 where there is no moment from 1970 to 9999; shape (n,).

        Raises:
            HistoryError: times with and without a zone stand together, and nothing says which those without have.
        """
        given = self._given
        if given.columns:
            parts = [plain_text(frame[name]).str.strip_chars().alias(str(i)) for i, name in enumerate(given.columns)]
            column = pl.DataFrame(parts).select(pl.concat_str(pl.all(), separator=" ")).to_series()
        else:
            column = frame[given.column or ""]
        if given.since is not None:
            return self._elapsed(column)
        if given.format in {"epoch_s", "epoch_ms"}:
            return _whole(column.cast(pl.Float64, strict=False) * (1000 if given.format == "epoch_s" else 1))
        if column.dtype.is_temporal():
            zoned = isinstance(column.dtype, pl.Datetime) and column.dtype.time_zone is not None
            moment = column.cast(pl.Datetime("ms")) if not zoned else column
            return times_ms(moment) if zoned else self._placed(moment)
        text = plain_text(column).str.strip_chars()
        return self._plain(text) if given.format == "rfc3339" else self._formatted(text)

    def _elapsed(self, column: pl.Series) -> Int64:
        start = times_ms(pl.Series([self._given.since]))[0]
        return _whole(column.cast(pl.Float64, strict=False) * self._given.unit_ms + float(start))

    def _plain(self, text: pl.Series) -> Int64:
        moment = times_ms(text.fill_null("")) if text.null_count() else times_ms(text)
        zoned = text.str.contains(_ZONE).fill_null(value=False).to_numpy() & (moment >= 0)
        bare = ~zoned & (moment >= 0)
        self._seen |= {kind for kind, there in ((True, zoned.any()), (False, bare.any())) if there}
        if len(self._seen) > 1 and not self._declared:
            raise HistoryError(
                f"{self._given.names[0]} has times with a zone and times without; say which zone those without have "
                "(time_zone: in the mapping, also where it is UTC)"
            )
        if self._zone != "UTC" and bare.any():
            local = self._placed(pl.Series(moment).cast(pl.Datetime("ms")))
            moment = np.where(bare, local, moment)
        return moment

    def _formatted(self, text: pl.Series) -> Int64:
        try:
            read = text.str.strptime(pl.Datetime("ms"), self._given.format, strict=False)
        except pl.exceptions.PolarsError as exc:
            problem = str(exc).splitlines()[0]
            raise HistoryError(f"the time format {self._given.format!r} cannot be used: {problem}") from exc
        zoned = isinstance(read.dtype, pl.Datetime) and read.dtype.time_zone is not None
        return times_ms(read) if zoned else self._placed(read)

    def _placed(self, local: pl.Series) -> Int64:
        """Local times of the zone: of the hour that comes twice the first, of the hour that is left out the next."""
        if self._zone == "UTC":
            return times_ms(local)
        placed = local.dt.replace_time_zone(self._zone, ambiguous="earliest", non_existent="null")
        later = local.dt.offset_by("1h").dt.replace_time_zone(self._zone, ambiguous="earliest", non_existent="null")
        return times_ms(placed.fill_null(later))


def _whole(number: pl.Series) -> Int64:
    return times_ms(number.round(0).cast(pl.Int64, strict=False))


class Money:
    """Amounts of some rows.

    Attributes:
        minor: minor units, 0 where there is no amount; shape (n,).
        negative, zero: rows whose amount stands there as below 0, and as something that rounds to 0.
    """

    def __init__(self, given: AmountOf, column: pl.Series, exponent: Int64) -> None:
        text = plain_text(column).str.strip_chars().fill_null("")
        if given.decimal_comma:
            text = text.str.replace_all(".", "", literal=True).str.replace_all(",", ".", literal=True)
        if given.strip and not column.dtype.is_numeric():
            text = text.str.replace_all(f"[{_escaped(given.strip)}]", "")
        bracket = text.str.starts_with("(") & text.str.ends_with(")")
        text = text.str.strip_chars("()").zip_with(bracket, text)
        signed = text.str.starts_with("-") | bracket
        text = text.str.strip_prefix("-").str.strip_prefix("+")
        scale = exponent if given.unit == "major" else np.zeros(len(text), np.int64)
        number = text.cast(pl.Float64, strict=False)
        finite = number.is_finite().fill_null(value=False).to_numpy()
        minor = amounts_minor(text.set(~pl.Series(finite), "0"), scale)
        self.zero = finite & (minor == 0) & (number.fill_null(1).to_numpy() < 1)
        self.negative = signed.to_numpy() & finite & ~self.zero
        self.minor = np.where(finite, minor, 0)


def _escaped(characters: str) -> str:
    return "".join(f"\\{one}" if one in r"\]^-[&~" else one for one in characters)


def decimal_texts(minor: Int64, exponent: Int64) -> pl.Series:
    """Minor units as decimals in major units.

    >>> decimal_texts(np.array([1250, 5, 700]), np.array([2, 2, 0])).to_list()
    ['12.50', '0.05', '700']
    """
    made = pl.Series(minor).cast(pl.String)
    for places in np.unique(exponent[exponent > 0]).tolist():
        digits = pl.Series(minor).cast(pl.String).str.zfill(places + 1)
        point = digits.str.head(-places) + "." + digits.str.tail(places)
        made = point.zip_with(pl.Series(exponent == places), made)
    return made


def label_column(given: LabelOf, frame: pl.DataFrame) -> tuple[pl.Series, Bool]:
    """Labels (1, 0, null where nothing is said) and the rows whose label is none of the declared values."""
    text = plain_text(frame[given.column]).str.strip_chars().str.to_lowercase().str.strip_suffix(".0")
    known = {_word(value): 0 for value in given.ordinary} | {_word(value): 1 for value in given.fraud}
    label = text.replace_strict(list(known), list(known.values()), default=None, return_dtype=pl.Int8)
    return label, (text.is_not_null() & label.is_null()).to_numpy()


def _word(value: object) -> str:
    return str(value).strip().lower().removesuffix(".0")


def input_column(given: InputOf, frame: pl.DataFrame, event_ms: Int64) -> pl.Series:
    """A further input: Float64 (null: missing) or, categorical, String.

    Raises:
        HistoryError: a number is infinite, or a text that is no number stands in a numeric column.
    """
    if given.type == "categorical":
        return plain_text(frame[given.column or ""]).str.strip_chars()
    if given.type == "age_years":
        column = frame[given.column or ""]
        born = (
            column
            if column.dtype.is_temporal()
            else plain_text(column).str.strptime(pl.Date, given.format, strict=False)
        )
        days = pl.Series(event_ms).cast(pl.Float64) / (24 * _HOUR_MS) - born.cast(pl.Date).to_physical()
        return days / _YEAR_DAYS
    if given.type == "distance_km":
        return _distance([_number(frame[name]) for name in given.columns])
    return _number(frame[given.column or ""])


def _number(column: pl.Series) -> pl.Series:
    number = column.cast(pl.Float64, strict=False).fill_nan(None)
    if (number.is_null() & column.is_not_null() & (column.cast(pl.String).str.to_lowercase() != "nan")).any():
        raise HistoryError(
            f"input {column.name} holds texts that are no numbers; declare it categorical, or name them in csv.missing"
        )
    if number.is_infinite().any():
        raise HistoryError(f"input {column.name} holds infinite values; replace them before, or leave the column out")
    return number


def _distance(degrees: list[pl.Series]) -> pl.Series:
    """Great-circle distance of two places, km."""
    lat1, lon1, lat2, lon2 = (np.radians(one.to_numpy()) for one in degrees)
    half = np.sin((lat2 - lat1) / 2) ** 2 + np.cos(lat1) * np.cos(lat2) * np.sin((lon2 - lon1) / 2) ** 2
    return pl.Series(2 * _EARTH_KM * np.arcsin(np.sqrt(np.clip(half, 0, 1)))).fill_nan(None)
