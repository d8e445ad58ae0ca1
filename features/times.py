"""Points in time as epoch milliseconds: RFC 3339 in and out."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Final

import numpy as np
from numpy.typing import NDArray

MAX_EVENT_MS: Final = 253_402_300_799_999
"""9999-12-31T23:59:59.999Z, the last millisecond of the contract's range, which starts at 0."""

_DAY_MS: Final = 86_400_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY: Final = _EPOCH.toordinal()
# The common form, `2024-03-01T12:34:56.789Z`, is left to Python's own reader: a fifth of the general way's time.
_COMMON_CHARS: Final = 24
_RFC3339: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9]|60)"
    r"(?:\.([0-9]+))?(?:[Zz]|([+-])([01][0-9]|2[0-3]):([0-5][0-9]))?"
).fullmatch


def parse_rfc3339(text: str) -> int | None:
    """Epoch milliseconds of an RFC 3339 date and time.

    `T`, `t` or one space stands between date and time; no zone means UTC; what is finer than a millisecond is cut
    off. A leap second (`23:59:60` UTC at a month's end) is the last millisecond of its day, so that it stays in order.

    Returns:
        0 to MAX_EVENT_MS, or None where the text is something else or lies outside (after its offset is applied).

    >>> parse_rfc3339("2024-02-29T12:00:00.1239+02:00"), parse_rfc3339("2024-02-30T12:00:00Z")
    (1709200800123, None)
    """
    # Python reads more than RFC 3339: of what is as long and has its marks there, only the common form is left.
    if len(text) == _COMMON_CHARS and (text[4] + text[7] + text[10] + text[19] + text[23]) == "--T.Z":
        try:
            since = datetime.fromisoformat(text) - _EPOCH
        except ValueError:
            return _general(text)
        if since.days >= 0:
            return since.days * _DAY_MS + since.seconds * 1000 + since.microseconds // 1000
    return _general(text)


def _general(text: str) -> int | None:
    match = _RFC3339(text)
    if match is None:
        return None
    day, hour, minute, second, fraction, sign, offset_hour, offset_minute = match.groups()
    try:
        day_ms = (date.fromisoformat(day).toordinal() - _EPOCH_DAY) * _DAY_MS
    except ValueError:  # a day that no calendar has
        return None
    leap = second == "60"
    moment_ms = day_ms + int(hour) * 3_600_000 + int(minute) * 60_000 + (59 if leap else int(second)) * 1000
    if leap:
        moment_ms += 999
    elif fraction is not None:
        moment_ms += int(fraction[:3].ljust(3, "0"))
    if sign is not None:
        offset_ms = int(offset_hour) * 3_600_000 + int(offset_minute) * 60_000
        moment_ms += offset_ms if sign == "-" else -offset_ms
    if not 0 <= moment_ms <= MAX_EVENT_MS or (leap and not _ends_a_month(moment_ms)):
        return None
    return moment_ms


def _ends_a_month(moment_ms: int) -> bool:
    """Whether a moment is the last millisecond of a month, in UTC."""
    day, rest_ms = divmod(moment_ms + 1, _DAY_MS)
    # The very last month of the range has no next day that Python could name.
    return rest_ms == 0 and (moment_ms == MAX_EVENT_MS or date.fromordinal(_EPOCH_DAY + day).day == 1)


def format_rfc3339(moment_ms: int) -> str:
    """RFC 3339 in UTC with milliseconds and `Z`.

    Args:
        moment_ms: epoch milliseconds, 0 to MAX_EVENT_MS.

    >>> format_rfc3339(1709200800123)
    '2024-02-29T10:00:00.123Z'
    """
    # `isoformat` is several times as fast as `strftime`, and every outcome is written with it.
    moment = _EPOCH + timedelta(milliseconds=moment_ms)
    return f"{moment.isoformat(timespec='milliseconds')[:-6]}Z"


def format_column(moments_ms: NDArray[np.int64]) -> list[str]:
    """The `format_rfc3339` of every moment.

    >>> format_column(np.array([0, 1709200800123]))
    ['1970-01-01T00:00:00.000Z', '2024-02-29T10:00:00.123Z']
    """
    texts: list[str] = np.datetime_as_string(moments_ms.view("M8[ms]"), timezone="UTC").tolist()
    return texts
