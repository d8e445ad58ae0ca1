"""What a scan looked at and what it found; never a card number itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from features.pan import mask_own, scrub

_LISTED: Final = 1000
_MAX_WHERE: Final = 400


class Finding(msgspec.Struct, frozen=True):
    """A place that holds a card number.

    Attributes:
        server: `redis`, `kafka`, `opensearch`, `files` or `alerts`.
        where: key, `topic-partition-offset`, `index/id` or `file:line`; a card number in it is masked.
        part: which part of it: `key`, `value`, a header, a JSON field.
        last4: the number's last digits.
    """

    server: str
    where: str
    part: str
    last4: str


class Report:
    """Filled by the sources, one after the other.

    Attributes:
        looked_at: what was read, by kind.
        found: card numbers found.
        findings: the first thousand of them.
        notes: what could not be looked at.
        input_records: records of `transactions` that hold card numbers, which is the producers' own; None: not asked.
    """

    def __init__(self) -> None:
        self.looked_at = dict.fromkeys(("files", "alerts", "redis keys", "kafka records", "opensearch documents"), 0)
        self.found = 0
        self.findings: list[Finding] = []
        self.notes: list[str] = []
        self.input_records: int | None = None

    def count(self, kind: str, number: int = 1) -> None:
        """Something was looked at."""
        self.looked_at[kind] += number

    def add(self, server: str, where: str, part: str, numbers: Iterable[tuple[str, str]]) -> None:
        """Card numbers were found: (JSON field or empty, digits)."""
        for field, digits in sorted(numbers):
            self.found += 1
            if len(self.findings) < _LISTED:
                named = f"{part} {field}" if field else part
                shown = _without_cards(where, digits), _without_cards(named, digits)
                self.findings.append(Finding(server, *shown, digits[-4:]))


def _without_cards(text: str, digits: str) -> str:
    plain = text.encode(errors="backslashreplace").decode()[:_MAX_WHERE]
    return scrub(mask_own(plain, digits), [digits])
