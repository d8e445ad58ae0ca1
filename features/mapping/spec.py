"""The mapping file: which column of a foreign data set is which field of a transaction, in which unit and format."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, Literal, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
import yaml

from features.catalogue import FEATURE_NAMES
from features.errors import HistoryError
from features.money import EXPONENTS
from features.times import parse_rfc3339

_T = TypeVar("_T", bound="msgspec.Struct")

INPUT: Final = "x:"
"""Before the name of a column that a model takes beside the catalogue's features."""
GROUP: Final = "g:"
"""Before the name of a column that reports divide by."""
SPLIT: Final = "split"
LABELLED_AT: Final = "labelled_at"
RESERVED: Final = frozenset((*FEATURE_NAMES, "is_fraud", "transaction_id", "card_id", "event_time", SPLIT))

Scalar = str | int | float | bool
_UNITS_MS: Final = {"ms": 1, "seconds": 1000, "minutes": 60_000, "hours": 3_600_000, "days": 86_400_000}
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An unknown key is a mistake."""


class TextOf(_Strict, frozen=True, kw_only=True):
    """A text field; a bare text in the file is the name of the column.

    Attributes:
        column: taken as it stands there.
        columns: several, put together.
        separator: between them.
        constant: the same for every row.
        row: the number of the row, counted over all files: for sets without ids.
        prefix: put before it.
        values: what stands there -> what it means; anything else is left as it is.
    """

    column: str | None = None
    columns: tuple[str, ...] = ()
    separator: str = "-"
    constant: Scalar | None = None
    row: bool = False
    prefix: str = ""
    values: dict[str, str] = {}

    def __post_init__(self) -> None:
        ways = [self.column is not None, bool(self.columns), self.constant is not None, self.row]
        if sum(ways) != 1:
            raise ValueError("give exactly one of column, columns, constant, row")


class AmountOf(_Strict, frozen=True, kw_only=True):
    """The amount.

    Attributes:
        column: where it stands.
        unit: `major` (12.50) or `minor` (1250).
        strip: characters that are no part of the number.
        decimal_comma: 1.234,50 instead of 1,234.50.
        negative: what to do with amounts below 0: they are refunds in one set and mistakes in another.
        zero: what to do with amounts that round to 0; `least` takes them as one minor unit.
    """

    column: str
    unit: Literal["major", "minor"] = "major"
    strip: str = "$€£¥, \t"
    decimal_comma: bool = False
    negative: Literal["refuse", "leave_out", "absolute"] = "refuse"
    zero: Literal["least", "leave_out", "refuse"] = "least"


class TimeOf(_Strict, frozen=True, kw_only=True):
    """A moment.

    Attributes:
        column: where it stands.
        columns: several, put together with a blank between them before they are read by `format`.
        format: `rfc3339`, `epoch_s`, `epoch_ms`, or strptime directives.
        since: what the number in the column counts from: RFC 3339.
        unit: what it counts.
        time_zone: of texts without one (IANA name); without: the mapping's.
    """

    column: str | None = None
    columns: tuple[str, ...] = ()
    format: str = "rfc3339"
    since: str | None = None
    unit: Literal["ms", "seconds", "minutes", "hours", "days"] = "seconds"
    time_zone: str | None = None

    def __post_init__(self) -> None:
        if (self.column is None) == (not self.columns):
            raise ValueError("give either column or columns")
        if self.columns and "%" not in self.format:
            raise ValueError("several columns need a format of strptime directives, such as '%Y %m %d %H:%M'")
        if self.since is not None and parse_rfc3339(self.since) is None:
            raise ValueError("since must be a time such as 2013-09-01T00:00:00Z")
        if self.time_zone is not None:
            check_zone(self.time_zone)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return (self.column,) if self.column is not None else self.columns

    @property
    def unit_ms(self) -> int:
        """Milliseconds of one unit."""
        return _UNITS_MS[self.unit]


class LabelOf(_Strict, frozen=True, kw_only=True):
    """Whether a transaction was fraud.

    Attributes:
        column: where it stands; empty there: not known.
        fraud, ordinary: values, compared without regard to case.
        at: when the label was given, where the set says so.
    """

    column: str
    fraud: tuple[Scalar, ...] = ("1", "yes", "true", "y", "t", "fraud")
    ordinary: tuple[Scalar, ...] = ("0", "no", "false", "n", "f", "valid", "legit", "genuine")
    at: TimeOf | None = None


class InputOf(_Strict, frozen=True, kw_only=True):
    """A column that the model takes beside the catalogue's features; a bare text is the name of a numeric one.

    Attributes:
        column: where it stands; `V*` takes every column of that shape (numeric and categorical only).
        columns: of `distance_km`: latitude, longitude, latitude, longitude, in degrees.
        type: `numeric`; `categorical`; `age_years` between the date in the column and the event; `distance_km`.
        name: of the model's column; without: the column's own.
        format: of the date of `age_years`.
        known_at: when the value was known, where the set says so: a value from after its event is a leak.
    """

    column: str | None = None
    columns: tuple[str, ...] = ()
    type: Literal["numeric", "categorical", "age_years", "distance_km"] = "numeric"
    name: str | None = None
    format: str = "%Y-%m-%d"
    known_at: TimeOf | None = None

    def __post_init__(self) -> None:
        if self.type == "distance_km":
            if len(self.columns) != 4 or self.column is not None:
                raise ValueError("distance_km needs columns: [latitude, longitude, latitude, longitude]")
        elif self.column is None or self.columns:
            raise ValueError(f"{self.type} needs column")
        if self.type in {"age_years", "distance_km"} and self.name is None:
            raise ValueError(f"{self.type} needs name")
        if self.name is not None:
            check_input_name(self.name)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that it reads."""
        own = (self.column,) if self.column is not None else self.columns
        return own + (self.known_at.names if self.known_at is not None else ())


class CsvOf(_Strict, frozen=True, kw_only=True):
    """How CSV files are written.

    Attributes:
        separator: one character.
        missing: texts that stand for nothing.
        header: names of the columns, where the file has no line of them.
    """

    separator: str = ","
    missing: tuple[str, ...] = ("", "NA", "NaN", "nan", "null", "NULL", "None")
    header: tuple[str, ...] = ()


class SplitOf(_Strict, frozen=True, kw_only=True):
    """The split that somebody else has fixed: by the values of a column, or by the names of the files (`*` matches)."""

    column: str | None = None
    train: tuple[Scalar, ...] = ("train",)
    validation: tuple[Scalar, ...] = ("validation", "valid", "val")
    test: tuple[Scalar, ...] = ("test",)
    files: dict[Literal["train", "validation", "test"], str] = {}

    def __post_init__(self) -> None:
        if (self.column is None) == (not self.files):
            raise ValueError("give either column or files")


class Mapping(_Strict, frozen=True, kw_only=True):
    """A mapping file; every field but the first few is as the transaction's field of that name.

    Attributes:
        files: which files of a folder belong to the set.
        csv: see CsvOf.
        time_zone: of times without one (IANA name).
        label: without it, labels come from elsewhere.
        inputs: see InputOf.
        groups: columns that reports divide by.
        split: `--split` of this set: a SplitOf, or a text as on the command line.
        bad_rows: `refuse` names the first row that is no transaction; `leave_out` counts them.
        simulated_cards: card ids only look like card numbers: nobody's, so no key is needed.
    """

    card_id: str | TextOf
    amount: str | AmountOf
    event_time: str | TimeOf
    currency: str | TextOf
    transaction_id: str | TextOf = TextOf(row=True)
    merchant_id: str | TextOf | None = None
    merchant_category: str | TextOf | None = None
    country: str | TextOf | None = None
    channel: str | TextOf | None = None
    device_id: str | TextOf | None = None
    ip_address: str | TextOf | None = None
    email: str | TextOf | None = None
    type: str | TextOf | None = None
    original_transaction_id: str | TextOf | None = None
    label: str | LabelOf | None = None
    inputs: tuple[str | InputOf, ...] = ()
    groups: tuple[str, ...] = ()
    files: str = "*"
    csv: CsvOf = CsvOf()
    time_zone: str = "UTC"
    split: str | float | SplitOf | None = None
    bad_rows: Literal["refuse", "leave_out"] = "refuse"
    simulated_cards: bool = False

    def __post_init__(self) -> None:
        check_zone(self.time_zone)

    def text(self, name: str) -> TextOf | None:
        """A text field of the transaction, in its long form; None where the set has none."""
        given: str | TextOf | None = getattr(self, name)
        if not isinstance(given, str):
            return given
        # A currency is more often said than read: its code is no name of a column.
        return TextOf(constant=given) if name == "currency" and given in EXPONENTS else TextOf(column=given)

    @property
    def money(self) -> AmountOf:
        """The amount, in its long form."""
        return AmountOf(column=self.amount) if isinstance(self.amount, str) else self.amount

    @property
    def time(self) -> TimeOf:
        """The event time, in its long form."""
        return TimeOf(column=self.event_time) if isinstance(self.event_time, str) else self.event_time

    @property
    def truth(self) -> LabelOf | None:
        """The label, in its long form."""
        return LabelOf(column=self.label) if isinstance(self.label, str) else self.label

    @property
    def extra(self) -> tuple[InputOf, ...]:
        """The inputs, in their long form."""
        return tuple(InputOf(column=one) if isinstance(one, str) else one for one in self.inputs)


TEXTS: Final = (
    "transaction_id", "card_id", "currency", "merchant_id", "merchant_category", "country", "channel", "device_id",
    "ip_address", "email", "type", "original_transaction_id",
)  # fmt: skip


def load_mapping(path: Path) -> Mapping:
    """Read a mapping file.

    Raises:
        HistoryError: it cannot be read, or says something that no mapping can; names the place in the file.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as exc:
        raise HistoryError(f"the mapping {path} cannot be read: {exc.strerror or exc}") from exc
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        raise HistoryError(f"the mapping {path} is not YAML: {' '.join(str(exc).split())}") from exc
    return converted(content, Mapping, f"the mapping {path}")


def converted(content: object, kind: type[_T], where: str) -> _T:
    """What YAML gave, as the struct that it should be; raises HistoryError naming the place."""
    try:
        return msgspec.convert(content, kind)
    except msgspec.ValidationError as exc:
        raise HistoryError(f"{where}: {exc}".replace("`$.", "`").replace("`$`", "the top")) from exc


def check_zone(name: str) -> None:
    """Raise ValueError where there is no such time zone."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
        raise ValueError(f"there is no time zone {name}; names are such as Europe/Zurich or UTC") from exc


def check_input_name(name: str) -> None:
    """Raise ValueError where a model's column cannot have this name."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} cannot name an input: letters, digits, _ . and - only, 64 at most")
    if name in RESERVED:
        raise ValueError(f"{name} is a column of the catalogue; give the input another name with `name:`")
