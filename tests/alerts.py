"""The alert rules, read strictly: a line that is not of the form written here is an error."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
RULES = ROOT / "deploy" / "prometheus" / "alerts.yml"

# The file is YAML that needs no parser: one rule is these lines, in this order.
_RULE = re.compile(
    r"""      - alert: (?P<name>\w+)
        expr: (?P<expr>[^\n]+)
        for: (?P<after>\d+[smh])
        labels:
          severity: (?P<severity>critical|warning|info)
        annotations:
          summary: (?P<summary>[a-zA-Z][^\n:#]+)
          runbook: (?P<runbook>[^\s:]+)
"""
)
_GROUP = re.compile(r"  - name: (?P<name>[a-z-]+)\n    rules:\n")
# PromQL: strings, numbers and durations, words, and everything else a character.
_TOKEN = re.compile(r'"[^"\\]*"|\d+(?:\.\d+)?[smhdw]?|[a-zA-Z_]\w*|\S')
_WORDS = {"by", "and", "or", "unless", "sum", "count", "rate", "increase", "changes", "deriv", "scalar",
          "histogram_quantile", "without", "offset"}  # fmt: skip
_SCRAPED_LABELS = {"job", "instance"}


class Alert(NamedTuple):
    """One rule."""

    name: str
    expr: str
    after: str
    severity: str
    summary: str
    runbook: str


class Use(NamedTuple):
    """A metric in an expression, and the labels that it is selected by."""

    metric: str
    labels: frozenset[str]


def alerts() -> list[Alert]:
    """Every rule of the file; fails on a line of another form."""
    text = re.sub(r"^#.*\n", "", RULES.read_text(), flags=re.MULTILINE)
    assert text.startswith("groups:\n")
    at, found = len("groups:\n"), []
    while at < len(text):
        match = _GROUP.match(text, at) or _RULE.match(text, at)
        assert match, f"no rule: {text[at : at + 200]!r}"
        if match.re is _RULE:
            found.append(Alert(**match.groupdict()))
            assert ": " not in match["expr"], f"{match['name']}: YAML would read a mapping"
            assert " #" not in match["expr"], f"{match['name']}: YAML would read a comment"
        at = match.end()
    return found


def uses(expr: str) -> Iterator[Use]:
    """The metrics of an expression; fails where it cannot be one."""
    tokens = _TOKEN.findall(expr)
    assert_balanced(tokens)
    at = 0
    while at < len(tokens):
        token, at = tokens[at], at + 1
        if not _is_word(token) or token in _WORDS or _enclosing(tokens, at - 1) in {"by", "without"}:
            continue
        selected: set[str] = set()
        if at < len(tokens) and tokens[at] == "{":
            end = tokens.index("}", at)
            selected = {t for t in tokens[at:end] if _is_word(t)}
            at = end + 1
        yield Use(token, frozenset(selected) - _SCRAPED_LABELS)


def grouped(expr: str) -> set[str]:
    """The labels that an expression groups by."""
    tokens = _TOKEN.findall(expr)
    words = {t for i, t in enumerate(tokens) if _is_word(t) and _enclosing(tokens, i) in {"by", "without"}}
    return words - _SCRAPED_LABELS


def assert_balanced(tokens: list[str]) -> None:
    """Every bracket is closed by its own kind."""
    closing = {")": "(", "]": "[", "}": "{"}
    open_: list[str] = []
    for token in tokens:
        if token in closing.values():
            open_.append(token)
        elif token in closing:
            assert open_, tokens
            assert open_.pop() == closing[token], tokens
    assert not open_, tokens


def _is_word(token: str) -> bool:
    return token[0].isalpha() or token[0] == "_"


def _enclosing(tokens: list[str], at: int) -> str:
    """The word before the innermost open parenthesis around a token."""
    depth = 0
    for i in range(at - 1, -1, -1):
        if tokens[i] == ")":
            depth += 1
        elif tokens[i] == "(":
            if not depth:
                return tokens[i - 1] if i else ""
            depth -= 1
    return ""
