"""The pictures of the overview: traffic by outcome, rates over time, scores."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

from console.drawing import line, moment, polyline, rect, svg, text, top_of
from console.overview import SPANS, VERDICTS, Bar, Overview
from console.words import OUTCOME_WORDS, compact, percent
from features.times import format_rfc3339

_WIDTH: Final = 720
_HEIGHT: Final = 220
_LEFT: Final = 52
_RIGHT: Final = 708
_TOP: Final = 12
_BOTTOM: Final = 190
_LINES: Final = 4
_LABELS: Final = 8
_LEAST: Final = 0.12  # so that a single one still has a height
_DAY_MS: Final = 86_400_000
_LONG_MS: Final = 2 * _DAY_MS


def traffic(found: Overview) -> str:
    """Transactions over time, stacked by outcome."""
    title = f"{found.total:,} transactions: " + ", ".join(
        f"{count:,} {OUTCOME_WORDS[verdict].lower()}" for verdict, count in found.counts.items()
    )
    top = max(top_of(bar.total for bar in found.traffic), _LINES)
    parts = [*_scale(top, compact), *_stacks(found.traffic, top), *_times(found)]
    return svg(_WIDTH, _HEIGHT, title, parts, kind="traffic")


def rates(found: Overview) -> str:
    """Share of blocked and of reviewed over time; bars without transactions interrupt nothing."""
    shares = {
        verdict: [(n, bar.counts[verdict] / bar.total) for n, bar in enumerate(found.traffic) if bar.total]
        for verdict in ("review", "block")
    }
    top = top_of(100 * share for line_ in shares.values() for _, share in line_) / 100
    step = (_RIGHT - _LEFT) / max(len(found.traffic), 1)
    parts = [*_scale(top, percent), *_times(found)]
    for verdict, values in shares.items():
        points = [(_LEFT + (n + 0.5) * step, _y(share, top)) for n, share in values]
        parts.append(polyline(points, f"line {verdict}"))
        parts += [_spot(x, y, verdict, percent(share)) for (x, y), (_, share) in zip(points, values, strict=True)]
    title = f"Block rate {percent(found.rate('block'))}, review rate {percent(found.rate('review'))}"
    return svg(_WIDTH, _HEIGHT, title, parts, kind="rates")


def scores(found: Overview) -> str:
    """How the scores are spread; the height is logarithmic, since nearly all are low."""
    most = max((bar.total for bar in found.scores), default=0)
    powers = max(len(str(most)), 1)
    step = (_RIGHT - _LEFT) / max(len(found.scores), 1)
    parts = []
    for power in range(powers + 1):
        y = _BOTTOM - (_BOTTOM - _TOP) * power / powers
        parts += [line(_LEFT, y, _RIGHT, y), text(_LEFT - 8, y + 4, compact(10**power) if power else "1", anchor="end")]
    for n, bar in enumerate(found.scores):
        parts += _log_stack(bar, _LEFT + n * step, step, powers)
        if bar.start % 200 == 0:
            parts.append(text(_LEFT + n * step, _BOTTOM + 18, str(bar.start)))
    parts.append(text(_RIGHT, _BOTTOM + 18, "1000", anchor="end"))
    above = sum(bar.total for bar in found.scores if bar.start >= 500)
    return svg(_WIDTH, _HEIGHT, f"Scores from 0 to 1000; {above:,} from 500 on", parts, kind="scores")


def _log_stack(bar: Bar, left: float, step: float, powers: int) -> list[str]:
    """One bar as high as the logarithm of its count, divided by the shares of the outcomes."""
    if not bar.total:
        return []
    height = (_BOTTOM - _TOP) * (max(math.log10(bar.total), _LEAST) / powers)
    parts, y = [], float(_BOTTOM)
    for verdict in VERDICTS:
        part = height * bar.counts[verdict] / bar.total
        if part:
            y -= part
            said = f"score {bar.start} to {bar.start + 50}: {_counted(bar)}"
            parts.append(rect(left + 1.5, y, step - 3, part, f"bar {verdict}", hint=said, radius=1.5))
    return parts


def _stacks(bars: Sequence[Bar], top: float) -> list[str]:
    step = (_RIGHT - _LEFT) / max(len(bars), 1)
    gap = min(step * 0.18, 4)
    parts = []
    for n, bar in enumerate(bars):
        y = float(_BOTTOM)
        for verdict in VERDICTS:
            height = (_BOTTOM - _TOP) * bar.counts[verdict] / top
            if height:
                height = max(height, 1.2)
                y -= height
                hint = f"{_said_at(bar)}: {_counted(bar)}"
                parts.append(rect(_LEFT + n * step + gap / 2, y, step - gap, height, f"bar {verdict}", hint=hint))
    return parts


def _said_at(bar: Bar) -> str:
    stamp = format_rfc3339(bar.start)
    return f"{stamp[:10]} {stamp[11:16]} UTC"


def _counted(bar: Bar) -> str:
    return ", ".join(f"{count:,} {OUTCOME_WORDS[verdict].lower()}" for verdict, count in bar.counts.items())


def _scale(top: float, written: Callable[[float], str]) -> list[str]:
    parts = []
    for tick in range(_LINES + 1):
        value = top * tick / _LINES
        y = _y(value, top)
        parts += [line(_LEFT, y, _RIGHT, y), text(_LEFT - 8, y + 4, written(value), anchor="end")]
    return parts


def _times(found: Overview) -> list[str]:
    """At most some eight times under the bars; of long stretches the days."""
    by_day = SPANS[found.span].reach_ms > _LONG_MS
    places = [n for n, bar in enumerate(found.traffic) if not by_day or bar.start % _DAY_MS == 0]
    every = -(-len(places) // _LABELS) or 1
    step = (_RIGHT - _LEFT) / max(len(found.traffic), 1)
    return [moment(_LEFT + (n + 0.5) * step, _BOTTOM + 18, found.traffic[n].start, day=by_day) for n in places[::every]]


def _y(value: float, top: float) -> float:
    return _BOTTOM - (_BOTTOM - _TOP) * min(value / top, 1)


def _spot(x: float, y: float, verdict: str, said: str) -> str:
    return f'<circle class="spot {verdict}" cx="{x:.1f}" cy="{y:.1f}" r="2.6"><title>{verdict} {said}</title></circle>'
