"""Why a transaction was flagged: the rule that decided, then the features that raised its log odds most.

What raises is told against the approved population (`scoring/baseline.py`), in the sentences of the catalogue
(`features/sentences.py`). Only flagged transactions are explained: four sentences cost several predictions.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import isfinite
from typing import Final

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType
from numpy.typing import NDArray

from features.catalogue import FEATURE_NAMES, FEATURES
from features.sentences import SENTENCES, Row, sentence
from features.transaction import Transaction

MOST_REASONS: Final = 4
"""Features that are named at most, beside the rule."""
AT_STAKE: Final = "AMOUNT_AT_STAKE"
RULE: Final = "rule:"
"""Put before a rule's id in its reason code."""

_MOST_NAMED: Final = 3
_MOST_CHARS: Final = 40
_DIGITS: Final = 6
_CODES: Final = tuple(feature.code for feature in FEATURES)
_WHOLE: Final = tuple(feature.dtype == "int64" for feature in FEATURES)
_AMOUNT: Final = FEATURE_NAMES.index("amount")
_COLUMNS: Final = {name: column for column, name in enumerate(FEATURE_NAMES)} | {"amount_minor": _AMOUNT}
# What may be told of a transaction besides features: nothing that names a person or a device.
_FIELDS: Final = {
    "merchant_category": "merchant category",
    "country": "country",
    "channel": "channel",
    "currency": "currency",
}


class Reason(msgspec.Struct, frozen=True, gc=False):
    """One reason of an outcome.

    Attributes:
        code: stable, for machines; of a rule `rule:` and its id.
        text: for people; its numbers are rounded.
        feature: name in the catalogue; of a rule the first that its condition names, or null.
        value: exactly what the model saw; null where there is no feature or no number.
        contribution: what the feature adds to the log odds compared with approved transactions; only of features.
    """

    code: str
    text: str
    feature: str | None
    value: int | float | None
    contribution: float | UnsetType = UNSET


class RuleReason(msgspec.Struct, frozen=True):
    """A rule's reason, made ready when the rule set is loaded.

    Attributes:
        code, reason: of the rule.
        columns: places of the features that its condition names.
        fields: fields of the transaction that it names and that may be told.
    """

    code: str
    reason: str
    columns: tuple[int, ...]
    fields: tuple[str, ...]


def rule_reason(rule_id: str, reason: str, named: Collection[str]) -> RuleReason:
    """Make a rule's reason ready.

    Args:
        rule_id: of the rule.
        reason: its text.
        named: fields that its condition reads or looks up in lists.
    """
    columns = sorted({_COLUMNS[name] for name in named if name in _COLUMNS})
    fields = [name for name in _FIELDS if name in named]
    return RuleReason(f"{RULE}{rule_id}", reason.strip(), tuple(columns[:_MOST_NAMED]), tuple(fields[:_MOST_NAMED]))


def explain(
    contributions: NDArray[np.float64],
    x: NDArray[np.float64],
    rules: Sequence[RuleReason | None] | None = None,
    transactions: Sequence[Transaction] = (),
) -> list[list[Reason]]:
    """Reasons of each flagged transaction: the deciding rule, then the weightiest features.

    Args:
        contributions: of each feature to the log odds, the baseline's last: shape (n, features + 1).
        x: the features, shape (n, features).
        rules: of each row the rule that decides it, or None; without: no rule decided any.
        transactions: of each row, where rules are given.

    Returns:
        For each row the rule's reason and up to MOST_REASONS features that speak for fraud; ties in the order of the
        catalogue. Where there would be none, the amount: then it was flagged for what is at stake.
    """
    weights = contributions[:, :-1]
    heaviest = (-weights).argsort(axis=1, kind="stable")[:, :MOST_REASONS]
    rows: list[list[float]] = x.tolist()
    found = [
        [_reason(column, values, told[column]) for column in columns if exactly[column] > 0]
        for columns, exactly, told, values in zip(
            heaviest.tolist(), weights.tolist(), weights.round(_DIGITS).tolist(), rows, strict=True
        )
    ]
    for row, rule in enumerate(rules or ()):
        if rule is not None:
            found[row].insert(0, _of_rule(rule, rows[row], transactions[row]))
    return [reasons or [_at_stake(values)] for reasons, values in zip(found, rows, strict=True)]


def exact(column: int, value: float) -> int | float | None:
    """A feature's value as it stands in an outcome; None where it is no number."""
    if not isfinite(value):
        return None
    return int(value) if _WHOLE[column] else value


def _reason(column: int, values: Row, weight: float) -> Reason:
    value = values[column]
    return Reason(_CODES[column], SENTENCES[column](values), FEATURE_NAMES[column], exact(column, value), weight)


def _of_rule(rule: RuleReason, values: Row, transaction: Transaction) -> Reason:
    said = [sentence(column, values) for column in rule.columns]
    for field in rule.fields:
        text = getattr(transaction, field)
        said.append(f"no {_FIELDS[field]}" if text is None else f"{_FIELDS[field]} {text[:_MOST_CHARS]}")
    text = f"{rule.reason} ({'; '.join(said)})" if said else rule.reason
    if not rule.columns:
        return Reason(rule.code, text, None, None)
    first = rule.columns[0]
    return Reason(rule.code, text, FEATURE_NAMES[first], exact(first, values[first]))


def _at_stake(values: Row) -> Reason:
    text = f"{sentence(_AMOUNT, values)}: much is at stake even where fraud is unlikely"
    return Reason(AT_STAKE, text, FEATURE_NAMES[_AMOUNT], exact(_AMOUNT, values[_AMOUNT]))
