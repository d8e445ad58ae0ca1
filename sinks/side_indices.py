"""What an index of ours looks like, and those beside the outcomes: labels, dead letters, samples of the operation."""

from __future__ import annotations

from typing import Any, Final

import msgspec

LABELS_ALIAS: Final = "fraud_labels"
"""One document a transaction: the label that stands."""
GIVEN_ALIAS: Final = "fraud_labels_given"
"""Every label that was ever given: who said what, when."""
DEAD_LETTERS_ALIAS: Final = "dead_letters"
OPERATIONS_ALIAS: Final = "operations"

_PRIORITY: Final = 200

# Well over the 256 characters of the contract, well under the 32,766 bytes at which the engine refuses a document.
KEYWORD: Final = {"type": "keyword", "ignore_above": 1024}
DATE: Final = {"type": "date", "format": "strict_date_optional_time"}
LONG: Final = {"type": "long"}
BYTE: Final = {"type": "byte"}
_DOUBLE: Final = {"type": "double"}
_INTEGER: Final = {"type": "integer"}


class Kind(msgspec.Struct, frozen=True):
    """A family of indices behind one alias.

    Attributes:
        alias: by which readers find them, without the prefix; its indices are `<alias>-<something>`.
        description: for whoever looks at the cluster.
        properties: the fields.
    """

    alias: str
    description: str
    properties: dict[str, Any]

    def pattern(self, index_prefix: str) -> str:
        """What the names of its indices look like."""
        return f"{index_prefix}{self.alias}-*"

    def mappings(self, version: int) -> dict[str, Any]:
        """The mapping of its documents."""
        return {"dynamic": False, "_meta": {"version": version}, "properties": self.properties}

    def settings(self) -> dict[str, Any]:
        """What its indices are made with."""
        return {
            "number_of_shards": 1,
            # No replica on a single node (it could never be placed), one as soon as there are two.
            "auto_expand_replicas": "0-1",
            "refresh_interval": "5s",
        }

    def template(self, index_prefix: str, version: int) -> dict[str, Any]:
        """The composable index template, which gives each new index its mapping, settings and alias."""
        return {
            "index_patterns": [self.pattern(index_prefix)],
            "priority": _PRIORITY,
            "version": version,
            "_meta": {"version": version, "description": self.description},
            "template": {
                "settings": self.settings(),
                "mappings": self.mappings(version),
                "aliases": {f"{index_prefix}{self.alias}": {}},
            },
        }


_LABEL_FIELDS: Final = {
    "label_id": KEYWORD,
    "transaction_id": KEYWORD,
    "card_id": KEYWORD,
    "label": KEYWORD,
    "source": KEYWORD,
    "labelled_at": DATE,
    "analyst": KEYWORD,
    "note": {"type": "text"},
    "event_time": DATE,
    "outcome": KEYWORD,
    "rule": KEYWORD,
    "score": {"type": "short"},
    "probability": _DOUBLE,
    "model": KEYWORD,
    "ruleset": KEYWORD,
    "amount_minor": LONG,
    "currency": KEYWORD,
    # Derived: 0/1 numbers, whose average is a rate.
    "is_fraud": BYTE,
    "is_caught": BYTE,
    "amount": _DOUBLE,
    "amount_caught": _DOUBLE,
    "delay_hours": _DOUBLE,
    "order": KEYWORD,
    "document": KEYWORD,
    "known": BYTE,
    "indexed_at": DATE,
}
_DEAD_LETTER_FIELDS: Final = {
    "at": DATE,
    "reason": KEYWORD,
    "place": KEYWORD,
    "source": {"properties": {"topic": KEYWORD, "partition": _INTEGER, "offset": LONG, "at": DATE}},
}
_OPERATIONS_FIELDS: Final = {
    "at": DATE,
    "kind": KEYWORD,
    # kind lag
    "role": KEYWORD,
    "group": KEYWORD,
    "topic": KEYWORD,
    "lag": LONG,
    # kind drift
    "feature": KEYWORD,
    "psi": _DOUBLE,
    "ks": _DOUBLE,
    "model": KEYWORD,
}

STANDING: Final = Kind(LABELS_ALIAS, "the label that stands, by transaction", _LABEL_FIELDS)
GIVEN: Final = Kind(GIVEN_ALIAS, "every label given", _LABEL_FIELDS)
DEAD_LETTERS: Final = Kind(DEAD_LETTERS_ALIAS, "dead letters without their payload", _DEAD_LETTER_FIELDS)
OPERATIONS: Final = Kind(OPERATIONS_ALIAS, "samples of the operation: lag, drift", _OPERATIONS_FIELDS)
SIDE_KINDS: Final = (STANDING, GIVEN, DEAD_LETTERS, OPERATIONS)


def standing_index(index_prefix: str) -> str:
    """The index of the labels that stand."""
    return f"{index_prefix}{LABELS_ALIAS}-standing"


def given_index(index_prefix: str) -> str:
    """The index of every label given."""
    return f"{index_prefix}{GIVEN_ALIAS}-all"
