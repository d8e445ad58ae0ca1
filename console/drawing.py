"""Small pictures as SVG, made on the server: no script, no inline style; colours come from the style sheet."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from features.times import format_rfc3339

_NICE: Final = (1.2, 2, 4, 8, 12)  # their quarters are what an axis says


def svg(width: int, height: int, title: str, parts: Iterable[str], *, kind: str) -> str:
    """A picture that scales to its place; the title is what a screen reader says."""
    return (
        f'<svg class="chart {kind}" viewBox="0 0 {width} {height}" role="img" preserveAspectRatio="xMidYMid meet">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )


def rect(x: float, y: float, width: float, height: float, kind: str, *, hint: str = "", radius: float = 0) -> str:
    """A bar."""
    rounded = f' rx="{radius:g}"' if radius else ""
    opened = f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{max(height, 0):.1f}"'
    return f"{opened}{rounded}>{_hint(hint)}</rect>" if hint else f"{opened}{rounded}/>"


def line(x1: float, y1: float, x2: float, y2: float, kind: str = "grid") -> str:
    """A straight line."""
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def text(x: float, y: float, said: str, *, kind: str = "tick", anchor: str = "start") -> str:
    """Words."""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(said)}</text>'


def moment(x: float, y: float, at_ms: int, *, day: bool) -> str:
    """A time on an axis: UTC here, and in the viewer's zone once their browser has seen it."""
    said = clock(at_ms, day=day)
    place = f'class="tick" x="{x:.1f}" y="{y:.1f}" text-anchor="middle"'
    return f'<text {place} data-ms="{at_ms}" data-form="{"day" if day else "clock"}">{said}</text>'


def polyline(points: Sequence[tuple[float, float]], kind: str) -> str:
    """A line through points."""
    joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline class="{kind}" points="{joined}"/>'


def mark(x: float, y: float, outcome: str, kind: str, hint: str, size: float = 5) -> str:
    """A point whose form tells the outcome too, for whoever sees no colours."""
    said = _hint(hint)
    if outcome == "block":
        return (
            f'<rect class="{kind}" x="{x - size:.1f}" y="{y - size:.1f}" width="{2 * size:g}" height="{2 * size:g}" '
            f'rx="1">{said}</rect>'
        )
    if outcome == "review":
        high = size * 1.25
        corners = f"{x:.1f},{y - high:.1f} {x + high:.1f},{y + high:.1f} {x - high:.1f},{y + high:.1f}"
        return f'<polygon class="{kind}" points="{corners}">{said}</polygon>'
    return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{size:g}">{said}</circle>'


def top_of(values: Iterable[float]) -> float:
    """A round number at or above all of them.

    >>> top_of([3, 17]), top_of([]), top_of([980])
    (20.0, 1, 1200.0)
    """
    most = max(values, default=0)
    if most <= 0:
        return 1
    power = float(10 ** math.floor(math.log10(most)))
    return next(step * power for step in _NICE if step * power >= most)


def clock(moment_ms: int, *, day: bool) -> str:
    """A short time for an axis, UTC: the day or the hour."""
    stamp = format_rfc3339(moment_ms)
    return f"{stamp[8:10]}.{stamp[5:7]}." if day else stamp[11:16]


def _hint(said: str) -> str:
    return f"<title>{escape(said)}</title>"
