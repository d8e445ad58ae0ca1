"""What a comparison found, counted and with the first examples."""

from __future__ import annotations

from collections import Counter
from typing import Final

_EXAMPLES: Final = 3


class Findings:
    """Counts what does not agree, by column and by what it was.

    Attributes:
        dead_letters: that came as expected.
        degraded: outcomes that say, as they may, that they were made without history.
        repeated: records answered, dead-lettered or sent home more than once.
    """

    def __init__(self) -> None:
        self.dead_letters = 0
        self.repeated = 0
        self.degraded = 0
        self._counts: Counter[tuple[str, str]] = Counter()
        self._examples: dict[tuple[str, str], list[str]] = {}

    def lost(self, what: str, example: object) -> None:
        """Something is missing."""
        self._note("lost", what, example)

    def wrong(self, what: str, example: object) -> None:
        """Something is there that should be otherwise, or not at all."""
        self._note("wrong", what, example)

    def differs(self, what: str, example: object) -> None:
        """A repeat says something else than the first answer."""
        self._note("differs", what, example)

    def count(self, column: str) -> int:
        """How many of a column: lost, wrong or differs."""
        return sum(count for (kind, _), count in self._counts.items() if kind == column)

    def notes(self) -> list[str]:
        """One line for each kind of disagreement, with examples."""
        return [
            f"{column}: {count} x {what}, such as {'; '.join(self._examples[column, what])}"
            for (column, what), count in self._counts.items()
        ]

    def _note(self, column: str, what: str, example: object) -> None:
        self._counts[column, what] += 1
        examples = self._examples.setdefault((column, what), [])
        if len(examples) < _EXAMPLES:
            examples.append(str(example)[:300])
