"""A place among the words of a condition, and how far it is inside of brackets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from scoring.rules.grammar import Part
from scoring.rules.tokens import Problem, Token

MAX_DEPTH: Final = 12
"""Levels of brackets, NOT and minus inside each other."""


class Cursor:
    """Steps over words; the last one is the end and is never stepped over."""

    def __init__(self, words: list[Token]) -> None:
        self._words = words
        self._next = 0
        self._depth = 0

    @property
    def here(self) -> Token:
        """The word that comes next."""
        return self._words[self._next]

    def take(self) -> Token:
        """Step over one word."""
        token = self.here
        self._next += token.kind != "end"
        return token

    def accept(self, *words: str) -> bool:
        """Step over these keywords or signs if they come next."""
        coming = self._words[self._next : self._next + len(words)]
        if [token.text if token.kind == "sign" else token.word for token in coming] != list(words):
            return False
        self._next += len(words)
        return True

    def expect(self, word: str) -> None:
        """Step over a keyword or sign; raises Problem where another word stands."""
        if not self.accept(word):
            raise self.unexpected(f"; {word} was expected")

    def unexpected(self, more: str = "") -> Problem:
        """What to say of a word that cannot come next."""
        token = self.here
        if token.kind == "end":
            return Problem(f"ends too early{more}", token.at)
        return Problem(f"{token.text!r} cannot stand here{more}", token.at)

    def deeper(self, inner: Callable[[], Part]) -> Part:
        """Read something that lies inside; raises Problem where that is too deep."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise Problem(f"has more than {MAX_DEPTH} levels inside each other", self.here.at)
        part = inner()
        self._depth -= 1
        return part
