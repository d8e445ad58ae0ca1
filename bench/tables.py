"""Tables as the report prints them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from rich.table import Table

from bench.spread import Spread, spread

R = TypeVar("R")


def table_of(title: str, *columns: str) -> Table:
    """A table without rows; figures stand to the right."""
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    return table


def text(values: Spread, digits: int = 1) -> str:
    """Least, middle and most.

    >>> text(Spread(1, 2000, 3000.25), 1)
    '1.0 / 2,000.0 / 3,000.2'
    """
    return " / ".join(f"{value:,.{digits}f}" for value in (values.least, values.middle, values.most))


def over(rounds: Sequence[R], value: Callable[[R], float], digits: int = 1) -> str:
    """A value's spread over rounds."""
    return text(spread([value(one) for one in rounds]), digits)


def compare(
    table: Table, name: str, rounds: Sequence[R], value: Callable[[R, str], float], digits: int,
    kinds: tuple[str, str] = ("score", "relay"), *, ratio: bool = False,
) -> None:  # fmt: skip
    """A row with the spreads of two sides, and of the ratio of the first to the second by round."""
    first, second = ([value(one, kind) for one in rounds] for kind in kinds)
    shares = [a / b for a, b in zip(first, second, strict=True)] if ratio else []
    table.add_row(
        name,
        text(spread(first), digits),
        text(spread(second), digits),
        *([text(spread(shares), 2)] if shares else [""]),
    )
