"""The indices of the outcomes as the cluster has them: names, days, generations."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from typing import Any, Final

import msgspec
from opensearchpy import OpenSearch

from sinks.documents import INDEX_ALIAS, OLDER_SUFFIX
from sinks.opensearch import mapped_errors
from sinks.side_indices import DEAD_LETTERS_ALIAS, OPERATIONS_ALIAS

_NAME: Final = re.compile(r"(?:_g([1-9][0-9]*))?-([0-9]{4}\.[0-9]{2}\.[0-9]{2}|older)")
_ALL: Final = {"expand_wildcards": "open,closed", "allow_no_indices": "true"}


class Daily(msgspec.Struct, frozen=True):
    """A concrete index.

    Attributes:
        name: its own name.
        alias: by which the family is read, with the prefix.
        suffix: `YYYY.MM.DD` or `older`.
        generation: 1 for those that the index role made, more for those of `fraudstream reindex`.
        is_read: whether readers see it.
    """

    name: str
    alias: str
    suffix: str
    generation: int
    is_read: bool

    @property
    def day(self) -> date | None:
        """Its day; None for the catch-all."""
        return None if self.suffix == OLDER_SUFFIX else date.fromisoformat(self.suffix.replace(".", "-"))

    @property
    def daily_name(self) -> str:
        """The name of the contract, under which it is written: its own, or an alias of it."""
        return f"{self.alias}-{self.suffix}"

    def of_generation(self, number: int) -> str:
        """What the same day is called in another generation."""
        return f"{self.alias}_g{number}-{self.suffix}"


def outcome_indices(client: OpenSearch, index_prefix: str) -> list[Daily]:
    """Every index of outcomes under this prefix, by name; raises as `mapped_errors` does."""
    return sorted(_found(client, f"{index_prefix}{INDEX_ALIAS}"), key=lambda one: one.name)


def daily_indices(client: OpenSearch, index_prefix: str) -> list[Daily]:
    """Likewise, of every family that has one index a day."""
    names = (INDEX_ALIAS, DEAD_LETTERS_ALIAS, OPERATIONS_ALIAS)
    found = [one for name in names for one in _found(client, f"{index_prefix}{name}")]
    return sorted(found, key=lambda one: one.name)


def daily_name(concrete: str) -> str:
    """The name of the contract of a concrete index of outcomes.

    >>> daily_name("eu-processed_transactions_g2-2026.01.02")
    'eu-processed_transactions-2026.01.02'
    """
    return re.sub(r"_g[0-9]+-(?=[^-]*$)", "-", concrete)


def _found(client: OpenSearch, alias: str) -> Iterator[Daily]:
    with mapped_errors():
        # The dash or the generation comes right after the alias: others may begin with the same letters.
        answer: dict[str, Any] = client.indices.get_alias(index=f"{alias}-*,{alias}_g*", params=_ALL)
    for name, described in answer.items():
        match = _NAME.fullmatch(name.removeprefix(alias)) if name.startswith(alias) else None
        if match is None or not _is_day(match[2]):
            continue
        yield Daily(name, alias, match[2], int(match[1] or 1), alias in described.get("aliases", {}))


def _is_day(suffix: str) -> bool:
    try:
        return suffix == OLDER_SUFFIX or bool(date.fromisoformat(suffix.replace(".", "-")))
    except ValueError:  # a name of somebody else's that only looks like ours
        return False
