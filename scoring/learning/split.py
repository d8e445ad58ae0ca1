"""Which rows teach, which choose, which judge: by time with gaps, or as somebody has fixed it before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from features.errors import HistoryError
from features.mapping.spec import SPLIT
from features.times import parse_rfc3339
from scoring.dataset import KNOWN, PARTS, Dataset
from scoring.evaluation import timestamp
from scoring.manifest import Period, Split

_DAY_MS: Final = 86_400_000
_ADVICE: Final = "give a longer or larger history"
BY_COLUMN: Final = "column"


@dataclass(frozen=True, slots=True)
class SplitOptions:
    """How a history is divided by time: train, gap, validation, gap, test.

    Attributes:
        train: share of the time left after the gaps.
        validation: share of it that the thresholds are chosen on; what remains is the test part.
        gap_days: between the parts, as long as labels take to arrive in production.
        fixed: a split that somebody has fixed: `0.8` trains on the first 80 % of the rows and tests on the others;
            `A..B` trains before the moment A and tests from B on, `A..B..C` before C; `column` takes the parts that
            the mapping of the data set names. The validation part is then the last of what trains, with no gap before
            it, and `gap_days` is not looked at.
    """

    train: float = 0.5
    validation: float = 0.15
    gap_days: float = 7.0
    fixed: str | None = None

    def __post_init__(self) -> None:
        if not (self.train > 0 and self.validation > 0 and self.train + self.validation < 1 and self.gap_days >= 0):
            raise HistoryError(
                "the shares of train and validation must be above 0 and leave some to test on, the gap 0 days or more"
            )
        if self.fixed is not None and self.fixed != BY_COLUMN:
            _bounds(self.fixed)


@dataclass(frozen=True, slots=True)
class Divided:
    """The parts, where they lie, and what a report should tell about them."""

    learning: Dataset
    validation: Dataset
    test: Dataset
    periods: Split
    by: str
    notes: tuple[str, ...]


def divide(data: Dataset, options: SplitOptions) -> Divided:
    """Divide a data set.

    Raises:
        HistoryError: a part has no rows, or rows of one kind only, or the parts of a fixed split overlap.
    """
    usable = data.between(0, data.usable_until_ms)
    notes = []
    if young := len(data) - len(usable):
        notes.append(f"{young:,} frauds younger than labels take to come are in no part: no ordinary label is as young")
    if not len(usable):
        raise HistoryError("every row is younger than labels take to come; give a longer history or fewer days")
    if options.fixed is None:
        parts = _by_time(usable, options)
    elif options.fixed == BY_COLUMN:
        parts = _by_column(usable, options, notes)
    else:
        parts = _fixed(usable, options)
    learning, validation, test = parts
    by = BY_COLUMN if options.fixed == BY_COLUMN else "time"
    learning, validation = (_known_by(part, test, notes) for part in (learning, validation))
    periods = [_period(name, part) for name, part in zip(PARTS, (learning, validation, test), strict=True)]
    return Divided(learning[0], validation[0], test[0], Split(*periods), by, tuple(notes))


_Part = tuple[Dataset, int, int]


def _by_time(data: Dataset, options: SplitOptions) -> tuple[_Part, _Part, _Part]:
    first_ms, stop_ms = int(data.time_ms[0]), int(data.time_ms[-1]) + 1
    gap_ms = round(options.gap_days * _DAY_MS)
    usable_ms = stop_ms - first_ms - 2 * gap_ms
    if usable_ms <= 0:
        raise HistoryError(
            f"the history spans {(stop_ms - first_ms) / _DAY_MS:.1f} days; two gaps of {options.gap_days:g} days leave "
            "nothing to train on; say a shorter gap (--gap-days) or fix the split (--split 0.8)"
        )
    train_stop = first_ms + int(options.train * usable_ms)
    validation_start = train_stop + gap_ms
    validation_stop = validation_start + int(options.validation * usable_ms)
    return (
        _between(data, first_ms, train_stop),
        _between(data, validation_start, validation_stop),
        _between(data, validation_stop + gap_ms, stop_ms),
    )


def _between(data: Dataset, start_ms: int, stop_ms: int) -> _Part:
    return data.between(start_ms, stop_ms), start_ms, stop_ms


def _fixed(data: Dataset, options: SplitOptions) -> tuple[_Part, _Part, _Part]:
    assert options.fixed is not None
    bounds = _bounds(options.fixed)
    first_ms, stop_ms = int(data.time_ms[0]), int(data.time_ms[-1]) + 1
    if isinstance(bounds, float):
        train_stop = test_start = int(data.time_ms[min(int(bounds * len(data)), len(data) - 1)])
    else:
        train_stop, test_start, until = bounds
        stop_ms = min(stop_ms, until) if until is not None else stop_ms
    if not first_ms < train_stop <= test_start < stop_ms:
        raise HistoryError(
            f"the split {options.fixed} leaves a part empty: the history has rows from {timestamp(first_ms)} to "
            f"{timestamp(stop_ms - 1)}"
        )
    cut = _validation_start(data.between(first_ms, train_stop), options)
    return _between(data, first_ms, cut), _between(data, cut, train_stop), _between(data, test_start, stop_ms)


def _validation_start(train: Dataset, options: SplitOptions) -> int:
    """Where the last part of the rows to train on begins."""
    share = options.validation / (options.train + options.validation)
    return int(train.time_ms[int((1 - share) * (len(train) - 1))])


def _by_column(data: Dataset, options: SplitOptions, notes: list[str]) -> tuple[_Part, _Part, _Part]:
    if SPLIT not in data.more:
        raise HistoryError("--split column: the data set's mapping names no split; say one there (split: ...)")
    train, validation, test = (data.rows(data.more[SPLIT] == place) for place in range(len(PARTS)))
    if none := int(np.count_nonzero(data.more[SPLIT] < 0)):
        notes.append(f"{none:,} rows belong to no part of the data set's own split")
    if not len(train) or not len(test):
        raise HistoryError(
            f"the split of the data set has {len(train):,} rows to train on and {len(test):,} to test on"
        )
    if not len(validation):
        cut = _validation_start(train, options)
        train, validation = train.between(0, cut), train.between(cut, int(train.time_ms[-1]) + 1)
    if len(validation) and int(max(train.time_ms[-1], validation.time_ms[-1])) > int(test.time_ms[0]):
        notes.append(
            "the parts of the data set's own split overlap in time: figures of such a split flatter every model, since "
            "it has seen what came later"
        )
    return _whole(train), _whole(validation), _whole(test)


def _whole(part: Dataset) -> _Part:
    if not len(part):
        return part, 0, 0
    return part, int(part.time_ms[0]), int(part.time_ms[-1]) + 1


def _known_by(part: _Part, test: _Part, notes: list[str]) -> _Part:
    """Without the frauds that were known as such only after the test part had begun."""
    data, start_ms, stop_ms = part
    known_ms = data.more.get(KNOWN)
    if known_ms is None or start_ms >= test[1]:
        return part
    late = data.is_fraud & (known_ms >= test[1])
    if late.any():
        notes.append(
            f"{np.count_nonzero(late):,} frauds before the test part were labelled only after it had begun: left out, "
            "since nobody could have learned from them"
        )
        data = data.rows(~late)
    return data, start_ms, stop_ms


def _period(name: str, part: _Part) -> Period:
    data, start_ms, stop_ms = part
    start, stop = timestamp(start_ms), timestamp(stop_ms)
    frauds = int(np.count_nonzero(data.is_fraud))
    if not 0 < frauds < len(data):
        kind = "fraudulent" if not frauds else "ordinary"
        raise HistoryError(
            f"the {name} part of the history ({start} to {stop}, {len(data)} rows) has no {kind} transactions; "
            f"{_ADVICE}, or move the split (--split, --gap-days)"
        )
    return Period(start, stop, len(data), frauds)


def _bounds(fixed: str) -> float | tuple[int, int, int | None]:
    """A share, or moments: train before the first, test from the second on and before the third."""
    problem = HistoryError(
        f"the split {fixed!r} is none of: 0.8 (the first 80 % of the rows train), 2020-06-01..2020-06-08 (train "
        "before, test from), 2020-06-01..2020-06-08..2020-07-01 (and test before), column"
    )
    try:
        share = float(fixed)
    except ValueError:
        share = None
    if share is not None:
        if not 0 < share < 1:
            raise problem
        return share
    texts = [text.strip() for text in fixed.split("..")]
    moments = [parse_rfc3339(text if len(text) > 10 else f"{text}T00:00:00Z") for text in texts]
    known = [moment for moment in moments if moment is not None]
    if len(known) != len(moments) or not 1 <= len(known) <= 3:
        raise problem
    train_stop, test_start = known[0], known[min(1, len(known) - 1)]
    until = known[2] if len(known) == 3 else None
    if test_start < train_stop or (until is not None and until <= test_start):
        raise HistoryError(f"the split {fixed!r} goes back in time: the test part must begin after what trains")
    return train_stop, test_start, until
