"""One outcome, explained again in full: `fraudstream explain --outcome`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from features.catalogue import FEATURE_NAMES, FEATURE_SET
from features.errors import HistoryError
from features.sentences import plain, sentence
from scoring.charts import bar_plot, html_table, note, page
from scoring.model import Model

MOST_BYTES: Final = 1 << 20
_HEADS: Final = ("contribution", "feature", "value", "in words")


class Part(msgspec.Struct, frozen=True):
    """What one feature adds."""

    feature: str
    value: float
    contribution: float
    text: str


class ExplainedOutcome(msgspec.Struct, frozen=True):
    """Every contribution to one decision.

    Attributes:
        transaction_id: of the outcome.
        outcome, rule: as published.
        by_model: version that it was decided by.
        published: probability in the outcome; None where there is none.
        model: version that it is explained with.
        probability: computed again.
        base: log odds of the baseline.
        raw: what the trees say, before calibration.
        log_odds: of the transaction, from `raw`.
        parts: of every feature, the weightiest first.
    """

    transaction_id: str
    outcome: str
    rule: str | None
    by_model: str
    published: float | None
    model: str
    probability: float
    raw: float
    base: float
    log_odds: float
    parts: tuple[Part, ...]

    @property
    def total(self) -> float:
        """The base and all contributions."""
        return self.base + sum(part.contribution for part in self.parts)


def explain_outcome(text: bytes, name: str, model: Model) -> ExplainedOutcome:
    """Explain an outcome as it stands in the topic, or as a document of OpenSearch.

    Args:
        text: JSON.
        name: of the file, for errors.
        model: to explain it with.

    Raises:
        HistoryError: it is no outcome of an authorization with the features of the catalogue.
    """
    body = _body(text, name)
    fraud = body["fraud"]
    values = _values(fraud, name)
    x = np.array([values], np.float64)
    [found] = model.contributions(x).tolist()
    probability, raw = float(model.predict(x)[0]), float(model.raw(x)[0])
    order = sorted(range(len(values)), key=lambda column: -abs(found[column]))
    published = fraud.get("probability")
    return ExplainedOutcome(
        transaction_id=str(body.get("transaction_id")),
        outcome=str(fraud.get("outcome")),
        rule=fraud.get("rule"),
        by_model=str(fraud.get("model")),
        published=float(published) if isinstance(published, int | float) else None,
        model=model.version,
        probability=probability,
        raw=raw,
        base=found[-1],
        log_odds=_log_odds(raw),
        parts=tuple(
            Part(FEATURE_NAMES[column], values[column], found[column], sentence(column, values)) for column in order
        ),
    )


def _body(raw: bytes, name: str) -> dict[str, Any]:
    if len(raw) > MOST_BYTES:
        raise HistoryError(f"{name}: larger than {MOST_BYTES:,} bytes; one outcome is expected")
    try:
        body = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise HistoryError(f"{name}: no JSON of one outcome ({exc})") from None
    if isinstance(body, dict) and isinstance(body.get("_source"), dict):
        body = body["_source"]
    if not isinstance(body, dict) or not isinstance(body.get("fraud"), dict):
        raise HistoryError(
            f"{name}: no outcome; an object with `fraud` in it is expected, as in processed_transactions"
        )
    return body


def _values(fraud: Mapping[str, Any], name: str) -> list[float]:
    """The features in the order of the catalogue."""
    features = fraud.get("features")
    if not isinstance(features, dict):
        raise HistoryError(f"{name}: the outcome has no features; a reversal is not scored")
    missing = [one for one in FEATURE_NAMES if one not in features]
    if missing:
        theirs = fraud.get("feature_set")
        raise HistoryError(
            f"{name}: fraud.features lacks {', '.join(missing)}; the outcome is of feature set {theirs}, this version "
            f"has {FEATURE_SET}"
        )
    values = [features[one] for one in FEATURE_NAMES]
    for one, value in zip(FEATURE_NAMES, values, strict=True):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise HistoryError(f"{name}: fraud.features.{one} is no number")
    return [float(value) for value in values]


def _log_odds(probability: float) -> float:
    if probability <= 0:
        return -math.inf
    return math.log(probability / (1 - probability)) if probability < 1 else math.inf


def told(found: ExplainedOutcome) -> list[str]:
    """What the numbers are and that they add up, in sentences."""
    rule = f", decided by rule {found.rule}" if found.rule else ""
    published = "without a probability" if found.published is None else f"at a probability of {found.published:.6g}"
    lines = [f"transaction {found.transaction_id}: {found.outcome}{rule}, by model {found.by_model} {published}"]
    if found.by_model != found.model:
        lines.append(
            f"explained with another model, {found.model}, which gives {found.probability:.6g}: "
            "name the folder of the deciding one with --model"
        )
    elif found.published != found.probability:
        lines.append(f"computed again, the probability is {found.probability:.6g}: the record was changed")
    lines.append(
        f"base {found.base:+.6f} and contributions {found.total - found.base:+.6f} make {found.total:+.6f}; "
        f"the log odds of {found.raw:.6g}, before calibration, are {found.log_odds:+.6f} (difference "
        f"{abs(found.total - found.log_odds):.1g})"
    )
    return lines


def render(found: ExplainedOutcome) -> RenderableType:
    """A table to print through rich."""
    table = Table(box=box.SIMPLE)
    for number, head in enumerate(_HEADS):
        table.add_column(head, justify="right" if number in {0, 2} else "left")
    for row in _rows(found):
        table.add_row(*map(Text, row))
    *before, sums = map(Text, told(found))
    return Group(*before, table, sums)


def html(found: ExplainedOutcome) -> str:
    """The same as one file, with bars."""
    bars = [(part.feature, part.contribution) for part in found.parts]
    return page(
        f"Transaction {found.transaction_id}",
        [
            *map(note, told(found)),
            bar_plot("contribution to the log odds: above 0 speaks for fraud", bars),
            html_table("Contributions", _HEADS, _rows(found)),
        ],
    )


def _rows(found: ExplainedOutcome) -> Sequence[tuple[str, ...]]:
    return [
        (f"{part.contribution:+.4f}", part.feature, plain(part.value) if math.isfinite(part.value) else "-", part.text)
        for part in found.parts
    ]
