"""Plots as SVG and reports as one HTML file: no scripts, nothing loaded from anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

import msgspec

WIDTH: Final = 860
HEIGHT: Final = 260
_LEFT: Final = 70
_RIGHT: Final = 150
_TOP: Final = 30
_BOTTOM: Final = 40
_TICKS: Final = 4
_BAR: Final = 20
_BAR_NAMES: Final = 190
_BAR_VALUES: Final = 80
_COLOURS: Final = ("#1f6f8b", "#c8553d", "#6a994e", "#8e6c8a", "#e0a030", "#444444")
_STYLE: Final = (
    "body{font:14px/1.4 system-ui,sans-serif;max-width:980px;margin:2em auto;padding:0 1em;color:#222}"
    "table{border-collapse:collapse;margin:.6em 0 1.6em}th,td{border-bottom:1px solid #ddd;padding:.25em .7em;"
    "text-align:right}th:first-child,td:first-child{text-align:left}caption{text-align:left;font-weight:600;"
    "padding:.4em 0}svg{display:block;margin:.5em 0 1.5em}svg text{font:11px system-ui,sans-serif;fill:#444}"
    "p.note{color:#555}"
)


class Line(msgspec.Struct, frozen=True):
    """One line of a plot: x ascending, as many y; a y of None interrupts it."""

    name: str
    x: Sequence[float]
    y: Sequence[float | None]


def line_plot(
    title: str, lines: Sequence[Line], x_name: str, labels: Sequence[tuple[float, str]] = (), mark: float | None = None
) -> str:
    """A plot of lines.

    Args:
        title: above it.
        lines: at most as many as there are colours; none of them may be empty.
        x_name: below it.
        labels: places on the x axis and what to write there; without, round numbers.
        mark: an x to be marked.
    """
    points = [(x, y) for line in lines for x, y in zip(line.x, line.y, strict=True) if y is not None]
    low, high = min((x for x, _ in points), default=0.0), max((x for x, _ in points), default=1.0)
    top = max((y for _, y in points), default=1.0)
    bottom = min((0.0, *(y for _, y in points)))
    top = max(top, 0.0) if top > bottom else bottom + 1.0
    inner_w, inner_h = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM

    def at_x(x: float) -> float:
        return _LEFT + (inner_w * (x - low) / (high - low) if high > low else inner_w / 2)

    def at_y(y: float) -> float:
        return _TOP + inner_h * (1 - (y - bottom) / (top - bottom))

    parts = [f'<text x="{_LEFT}" y="16" style="font-weight:600">{escape(title)}</text>']
    for tick in range(_TICKS + 1):
        value = bottom + (top - bottom) * tick / _TICKS
        y = at_y(value)
        parts.append(f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e4e4e4"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{short(value)}</text>')
    places = labels or [(low + (high - low) * i / _TICKS, short(low + (high - low) * i / _TICKS)) for i in range(5)]
    for x, text in places:
        parts.append(f'<text x="{at_x(x):.1f}" y="{HEIGHT - _BOTTOM + 16}" text-anchor="middle">{escape(text)}</text>')
    parts.append(f'<text x="{_LEFT + inner_w / 2:.0f}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x_name)}</text>')
    if mark is not None:
        parts.append(
            f'<line x1="{at_x(mark):.1f}" x2="{at_x(mark):.1f}" y1="{_TOP}" y2="{HEIGHT - _BOTTOM}" '
            'stroke="#888" stroke-dasharray="4 3"/>'
        )
    for number, line in enumerate(lines):
        colour = _COLOURS[number % len(_COLOURS)]
        for run in _runs(line):
            path = " ".join(f"{at_x(x):.1f},{at_y(y):.1f}" for x, y in run)
            shape = f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"/>'
            if len(run) == 1:
                x, y = run[0]
                shape = f'<circle cx="{at_x(x):.1f}" cy="{at_y(y):.1f}" r="2.5" fill="{colour}"/>'
            parts.append(shape)
        parts.append(
            f'<text x="{WIDTH - _RIGHT + 10}" y="{_TOP + 14 + 16 * number}" style="fill:{colour}">'
            f"{escape(line.name)}</text>"
        )
    return f'<svg width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="{escape(title)}">{"".join(parts)}</svg>'


def bar_plot(title: str, bars: Sequence[tuple[str, float]]) -> str:
    """Bars beside their names, to the right for what is above 0 and to the left for what is below.

    Args:
        title: above them.
        bars: names and values.
    """
    low, high = min((0.0, *(value for _, value in bars))), max((0.0, *(value for _, value in bars)))
    span = (high - low) or 1.0
    left, inner_w = _BAR_NAMES, WIDTH - _BAR_NAMES - _BAR_VALUES
    zero = left + inner_w * -low / span
    parts = [f'<text x="0" y="16" style="font-weight:600">{escape(title)}</text>']
    for number, (name, value) in enumerate(bars):
        y, width = _TOP + _BAR * number, inner_w * abs(value) / span
        x = zero if value >= 0 else zero - width
        parts.append(f'<text x="{left - 8}" y="{y + 12}" text-anchor="end">{escape(name)}</text>')
        parts.append(
            f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{_BAR - 6}" fill="{_COLOURS[value >= 0]}"/>'
        )
        parts.append(f'<text x="{left + inner_w + 8}" y="{y + 12}">{short(value)}</text>')
    height = _TOP + _BAR * len(bars) + 6
    parts.append(f'<line x1="{zero:.1f}" x2="{zero:.1f}" y1="{_TOP - 4}" y2="{height - 6}" stroke="#888"/>')
    return f'<svg width="{WIDTH}" height="{height}" role="img" aria-label="{escape(title)}">{"".join(parts)}</svg>'


def _runs(line: Line) -> Iterable[list[tuple[float, float]]]:
    run: list[tuple[float, float]] = []
    for x, y in zip(line.x, line.y, strict=True):
        if y is not None:
            run.append((x, y))
        elif run:
            yield run
            run = []
    if run:
        yield run


def html_table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; every cell is text."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in heads)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><caption>{escape(caption)}</caption><tr>{head}</tr>{body}</table>"


def note(text: str) -> str:
    """A remark."""
    return f'<p class="note">{escape(text)}</p>'


def page(title: str, parts: Iterable[str]) -> str:
    """A whole HTML file; the parts are HTML already."""
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
        f"<h1>{escape(title)}</h1>{''.join(parts)}</html>\n"
    )


def short(value: float) -> str:
    """A number for an axis.

    >>> short(0), short(0.25), short(1234567)
    ('0', '0.25', '1.23M')
    """
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= limit:
            return f"{value / (limit if unit != 'k' else 1e3):.3g}{unit}"
    return f"{value:.4g}"
