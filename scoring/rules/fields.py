"""Reading the nodes of a rule file: what is expected where, and every problem with its place."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeVar

from scoring.rules.grammar import nearest
from scoring.rules.source import Item, Place

T = TypeVar("T")

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_TRUTHS: Final = {"true": True, "false": False}
_MOST: Final = 20


class Problems:
    """Collects what is wrong, so that one reading tells everything."""

    def __init__(self) -> None:
        self._found: list[str] = []

    def add(self, place: Place, problem: str, rule: str = "") -> None:
        """Note a problem of a rule, or of no rule in particular."""
        self.say(f"{place}: {f'rule {rule}: ' if rule else ''}{problem}")

    def say(self, problem: str) -> None:
        """Note a problem that says itself where it is."""
        self._found.append(problem)

    def __bool__(self) -> bool:
        return bool(self._found)

    def __str__(self) -> str:
        more = len(self._found) - _MOST
        return "\n".join([*self._found[:_MOST], *([f"... and {more} more"] if more > 0 else [])])


class Fields:
    """The named values of one node, each read once; what is wrong goes to `problems`.

    Args:
        item: the node, which should have named values.
        known: names that may stand in it.
        problems: where to tell.
        rule: id for messages.
    """

    def __init__(self, item: Item, known: Iterable[str], problems: Problems, rule: str = "") -> None:
        self.place, self.rule, self._problems = item.place, rule, problems
        self._named: Mapping[str, Item] = {}
        if not isinstance(item.value, Mapping):
            self.wrong(None, "names with values are expected here")
            return
        self._named = item.value
        for name, value in item.value.items():
            if name not in known:
                problems.add(value.place, f"there is no key {name}{nearest(name, known)}", rule)

    def item(self, name: str) -> Item | None:
        """A value as it stands there."""
        return self._named.get(name)

    def wrong(self, name: str | None, problem: str) -> None:
        """Note a problem with a value, or with the whole."""
        item = self._named.get(name) if name else None
        self._problems.add(item.place if item else self.place, f"{name}: {problem}" if name else problem, self.rule)

    def text(self, name: str, default: str | None = None, longest: int = 1_000) -> str:
        """A text; without a default it must be there."""
        item = self._named.get(name)
        if item is None:
            if default is None:
                self.wrong(None, f"{name} is missing")
            return default or ""
        if not isinstance(item.value, str):
            self.wrong(name, "a text is expected")
            return ""
        if len(item.value) > longest:
            self.wrong(name, f"is longer than {longest:,} characters")
        if default is None and not item.value.strip():
            self.wrong(name, "is empty")
        return item.value.strip()

    def name(self, name: str) -> str:
        """A text that can be the name of something."""
        text = self.text(name)
        if text and not NAME.fullmatch(text):
            self.wrong(name, "a name has 1 to 64 letters, digits, and _ . - behind the first")
        return text

    def choice(self, name: str, choices: Iterable[T], default: T | None = None) -> T:
        """One of some texts; the first where it is none, which is noted."""
        known = {str(choice): choice for choice in choices}
        text = self.text(name, None if default is None else str(default))
        if text in known:
            return known[text]
        if name in self._named:
            self.wrong(name, f"must be {' or '.join(known)}{nearest(text, known)}")
        return next(iter(known.values()))

    def truth(self, name: str, *, default: bool) -> bool:
        """`true` or `false`."""
        return self._plain(name, default, _TRUTHS.get, "must be true or false")

    def whole(self, name: str, default: int, low: int, high: int) -> int:
        """A whole number between two others."""

        def read(text: str) -> int | None:
            fits = re.fullmatch(r"-?[0-9]{1,9}", text) and low <= int(text) <= high
            return int(text) if fits else None

        return self._plain(name, default, read, f"must be a whole number from {low} to {high}")

    def number(self, name: str, default: float | None = None) -> float:
        """A finite number; without a default it must be there."""

        def read(text: str) -> float | None:
            try:
                value = float(text)
            except ValueError:
                return None
            return value if math.isfinite(value) else None

        if default is None and name not in self._named:
            self.wrong(None, f"{name} is missing")
        return self._plain(name, default or 0.0, read, "must be a number")

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts; empty where it is missing."""
        item = self._named.get(name)
        if item is None:
            return ()
        if isinstance(item.value, str | Mapping) or not all(isinstance(one.value, str) for one in item.value):
            self.wrong(name, "a list of texts is expected")
            return ()
        return tuple(str(one.value) for one in item.value)

    def _plain(self, name: str, default: T, read: Callable[[str], T | None], expected: str) -> T:
        item = self._named.get(name)
        if item is None:
            return default
        value = read(item.value) if isinstance(item.value, str) and item.plain else None
        if value is None:
            self.wrong(name, expected)
            return default
        return value
