"""The words of a rule's condition, each with its place."""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple

MAX_CHARS: Final = 4_000
MAX_TOKENS: Final = 1_000

TokenKind = Literal["number", "text", "name", "quoted", "sign", "end"]

_TOKEN: Final = re.compile(
    r"""
    (?P<blank>\s+)
  | (?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?![A-Za-z0-9_.]))
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
  | '(?P<text>(?:[^']|'')*)'
  | "(?P<quoted>[A-Za-z_][A-Za-z0-9_]*)"
  | (?P<sign><=|>=|<>|!=|[-+*/(),<>=])
    """,
    re.VERBOSE,
)


class Problem(ValueError):  # noqa: N818 - what is wrong with a condition; the loader makes an error of it
    """A condition cannot be used.

    Attributes:
        at: character of the condition that it is about, from 0.
    """

    def __init__(self, text: str, at: int) -> None:
        super().__init__(text)
        self.at = at


class Token(NamedTuple):
    """One word: a literal's value, a name as written, or a sign."""

    kind: TokenKind
    text: str
    at: int

    @property
    def word(self) -> str:
        """A name in upper case, as keywords and functions are known; empty for anything else."""
        return self.text.upper() if self.kind == "name" else ""


def tokens(condition: str) -> list[Token]:
    """The words of a condition, an end behind them.

    Raises:
        Problem: it is too long, or holds something that is no word of it.

    >>> [token.text for token in tokens("amount >= 1e3 AND email <> 'it''s'")]
    ['amount', '>=', '1e3', 'AND', 'email', '<>', "it's", '']
    """
    if len(condition) > MAX_CHARS:
        raise Problem(f"is longer than {MAX_CHARS:,} characters; a list (IN_LIST) holds many values", 0)
    found: list[Token] = []
    at = 0
    while at < len(condition):
        match = _TOKEN.match(condition, at)
        if match is None:
            raise Problem(_unreadable(condition[at]), at)
        kind = match.lastgroup
        assert kind is not None
        if kind != "blank":
            found.append(Token(kind, match[kind].replace("''", "'"), at))  # type: ignore[arg-type]  # the groups' names
        at = match.end()
        if len(found) > MAX_TOKENS:
            raise Problem(f"has more than {MAX_TOKENS:,} words; a list (IN_LIST) holds many values", at)
    return [*found, Token("end", "", len(condition))]


def _unreadable(character: str) -> str:
    if character == "'":
        return "a text begins that does not end; texts stand between single quotes"
    return f"{character!r} cannot stand here"
