"""The pictures of a case: what each reason adds, and the card's week."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from console.cases import Case
from console.drawing import line, mark, moment, polyline, rect, svg, text
from console.words import OUTCOME_WORDS, amount_of, brief, shown, utc
from features.times import parse_rfc3339
from features.windows import WEEK_MS

_DAY_MS: Final = 86_400_000
_TEN_MS: Final = 600_000
_ZOOM_MS: Final = 45 * 60_000
_WIDTH: Final = 1000
_HEIGHT: Final = 250
_TOP: Final = 34
_BOTTOM: Final = 214
_BAR_WIDTH: Final = 440
_ROW: Final = 30


class Panel(msgspec.Struct, frozen=True):
    """A stretch of time and where it is drawn."""

    first_ms: int
    last_ms: int
    left: float
    right: float

    def x(self, moment_ms: float) -> float:
        """Where a moment lies."""
        return self.left + (self.right - self.left) * (moment_ms - self.first_ms) / (self.last_ms - self.first_ms)

    def holds(self, moment_ms: int) -> bool:
        """Whether it lies in it."""
        return self.first_ms <= moment_ms <= self.last_ms


class Point(msgspec.Struct, frozen=True):
    """One transaction of the card."""

    at_ms: int
    amount: float
    outcome: str
    is_case: bool
    is_fraud: bool
    hint: str


def contributions(reasons: Sequence[Mapping[str, Any]]) -> str:
    """Bars of what each reason adds to the log odds; empty where the outcome carries no weights."""
    weighed = [(reason, float(reason["contribution"])) for reason in reasons if _is_number(reason.get("contribution"))]
    if not weighed:
        return ""
    most = max(abs(weight) for _, weight in weighed) or 1.0
    left, right = 150.0, _BAR_WIDTH - 54.0
    parts = []
    for row, (reason, weight) in enumerate(weighed):
        y = 8 + row * _ROW
        end = left + (right - left) * abs(weight) / most
        name = brief(str(reason.get("feature") or reason.get("code", "")).replace("_", " "), 24)
        parts += [
            text(left - 10, y + 14, name, kind="label", anchor="end"),
            rect(left, y, right - left, 18, "track", radius=4),
            rect(left, y, end - left, 18, "raises" if weight > 0 else "lowers", radius=4, hint=shown(reason["text"])),
            text(right + 10, y + 14, f"{weight:+.2f}", kind="value"),
        ]
    height = 8 + len(weighed) * _ROW
    said = ", ".join(f"{reason.get('feature')} {weight:+.2f}" for reason, weight in weighed)
    return svg(_BAR_WIDTH, height, f"What each reason adds to the log odds of fraud: {said}", parts, kind="bars")


def timeline(case: Case, rows: Sequence[Mapping[str, Any]]) -> str:
    """The card's week, and beside it the time around this transaction, with its ten minutes marked."""
    now_ms = case.event_ms
    points = [point for row in rows if (point := _point(case, row)) is not None]
    if now_ms is None or not points:
        return ""
    tail_ms = min(max(max(point.at_ms for point in points) - now_ms, 0) + 2 * 3_600_000, _DAY_MS)
    week = Panel(now_ms - WEEK_MS, now_ms + tail_ms, 56, 672)
    near = Panel(now_ms - _ZOOM_MS, now_ms + _ZOOM_MS // 3, 712, 988)
    low, high = _limits(points)

    def y(amount: float) -> float:
        share = (math.log10(max(amount, 1e-3)) - low) / (high - low)
        return _BOTTOM - 10 - (_BOTTOM - _TOP - 24) * min(max(share, 0), 1)

    parts = [*_frame(week, "The card's week", low, high, y), *_frame(near, "Around this transaction", low, high, y)]
    parts += _days(week)
    parts += _minutes(near, now_ms)
    for panel in (week, near):
        parts.append(_window(panel, now_ms))
        seen = [point for point in points if panel.holds(point.at_ms)]
        if len(seen) > 1:
            parts.append(polyline([(panel.x(p.at_ms), y(p.amount)) for p in seen], "thread"))
        parts += [_dot(panel.x(point.at_ms), y(point.amount), point) for point in sorted(seen, key=_drawn_last)]
    recent = sum(1 for point in points if now_ms - _TEN_MS <= point.at_ms <= now_ms)
    title = f"{len(points)} transactions of the card in the week; {recent} in the ten minutes up to this one"
    return svg(_WIDTH, _HEIGHT, title, parts, kind="timeline")


def _frame(panel: Panel, title: str, low: float, high: float, y: Any) -> list[str]:  # noqa: ANN401 - a local function
    parts = [
        rect(panel.left, _TOP, panel.right - panel.left, _BOTTOM - _TOP, "panel", radius=6),
        text(panel.left, _TOP - 12, title, kind="heading"),
    ]
    for power in range(math.ceil(low), math.floor(high) + 1):
        at = y(10**power)
        parts.append(line(panel.left, at, panel.right, at))
        if panel.left < 100:
            parts.append(text(panel.left - 8, at + 4, f"{10**power:,.10g}", anchor="end"))
    return parts


def _days(panel: Panel) -> list[str]:
    first = -(-panel.first_ms // _DAY_MS) * _DAY_MS
    parts = []
    for moment_ms in range(first, panel.last_ms, _DAY_MS):
        parts += [
            line(panel.x(moment_ms), _TOP, panel.x(moment_ms), _BOTTOM),
            moment(panel.x(moment_ms), _BOTTOM + 18, moment_ms, day=True),
        ]
    return parts


def _minutes(panel: Panel, now_ms: int) -> list[str]:
    parts = []
    for minutes in (-40, -30, -20, -10, 0, 10):
        at = panel.x(now_ms + minutes * 60_000)
        parts += [
            line(at, _TOP, at, _BOTTOM),
            text(at, _BOTTOM + 18, f"{minutes:+d}" if minutes else "0", anchor="middle"),
        ]
    middle = (panel.left + panel.right) / 2
    return [*parts, text(middle, _BOTTOM + 33, "minutes from this transaction", anchor="middle")]


def _window(panel: Panel, now_ms: int) -> str:
    """The ten minutes that the velocity features look at; on the scale of a week they would not be seen."""
    left, right = panel.x(now_ms - _TEN_MS), panel.x(now_ms)
    if right - left < 3:
        left = right - 3
    band = rect(left, _TOP, right - left, _BOTTOM - _TOP, "ten", hint="the ten minutes up to this transaction")
    wide = right - left > 40
    return band + (text((left + right) / 2, _TOP + 14, "10 min", kind="note", anchor="middle") if wide else "")


def _dot(x: float, y: float, point: Point) -> str:
    ring = f'<circle class="ring" cx="{x:.1f}" cy="{y:.1f}" r="11"/>' if point.is_case else ""
    kind = f"dot {point.outcome}" + (" was-fraud" if point.is_fraud else "")
    return ring + mark(x, y, point.outcome, kind, point.hint, 5.5 if point.is_case else 4)


def _drawn_last(point: Point) -> tuple[bool, int]:
    """What must not be hidden behind others comes last."""
    return point.is_case, ("approve", "review", "block").index(point.outcome)


def _point(case: Case, row: Mapping[str, Any]) -> Point | None:
    at_ms = parse_rfc3339(str(row.get("event_time", "")))
    amount = row.get("amount")
    if at_ms is None or not _is_number(amount) or row.get("type") == "reversal":
        return None
    outcome = str((row.get("fraud") or {}).get("outcome"))
    outcome = outcome if outcome in OUTCOME_WORDS else "approve"
    score = (row.get("fraud") or {}).get("score", "no")
    label = (row.get("label") or {}).get("label", "")
    hint = f"{amount_of(row)} · {OUTCOME_WORDS[outcome]} · score {score} · {utc(row['event_time'])}"
    return Point(
        at_ms=at_ms,
        amount=float(amount or 0),
        outcome=outcome,
        is_case=row.get("transaction_id") == case.key.transaction_id,
        is_fraud=label == "fraud",
        hint=hint + (f" · {brief(row['merchant_id'])}" if row.get("merchant_id") else ""),
    )


def _limits(points: Sequence[Point]) -> tuple[float, float]:
    """Powers of ten between which all amounts lie, at least one apart."""
    amounts = [max(point.amount, 1e-3) for point in points]
    low, high = math.floor(math.log10(min(amounts))), math.ceil(math.log10(max(amounts)))
    return low, max(high, low + 1)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
