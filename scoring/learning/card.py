"""The model card: what a model is, what it is for, what it was measured on and what it does not do; Markdown."""

from __future__ import annotations

from typing import Final

from scoring.learning.details import PAGE_FILE, Details, Segment
from scoring.manifest import Manifest

_OFFLINE: Final = "**For offline use only**: it takes inputs that no transaction carries."
_SERVED: Final = "It is served by `fraudstream score`, on the features that it was trained on."


def _flags(one: Segment) -> str:
    ordinary, rate = one.rows - one.frauds, one.false_positive_rate or 0.0
    interval = f"{one.low or 0.0:.2%} to {one.high or 0.0:.2%}"
    return f"* {one.by} {one.value}: {rate:.2%} of {ordinary:,} ordinary transactions (95 %: {interval})"


def card(found: Details, manifest: Manifest) -> str:
    """The whole file; nothing in it depends on when or where the model was trained."""
    report, split, bias = manifest.metrics, manifest.split, [one for one in found.bias if one.low is not None]
    parts = found.parts.items()
    left_out = f"{sum(found.counts.values()):,} rows were left out or changed; each reason with its count is in"
    beaten = all(found.model_line.average_precision > one.average_precision for one in found.rivals)
    lines = [
        f"# Model card: {found.model}",
        "",
        "## What it is",
        "",
        f"Gradient-boosted trees ({manifest.rounds} of them, XGBoost {manifest.libraries.get('xgboost', '')}).",
        "They give the probability that a card transaction is fraudulent, from it and the card's last week.",
        "",
        f"* Columns: {len(manifest.features)} features of the catalogue ({manifest.feature_set})"
        + (f" and {len(manifest.inputs)} further inputs" if manifest.inputs else ""),
        f"* Calibration: {found.reliability.method}",
        f"* Thresholds: review from {manifest.thresholds.review:.6g}, block from {manifest.thresholds.block:.6g}",
        f"* Data: {manifest.rows:,} rows, fingerprint `{manifest.data_fingerprint[:16]}`; seed {manifest.seed}",
        "",
        "## What it is for",
        "",
        "To order card transactions by risk, for review by people and for blocking at a threshold.",
        _OFFLINE if found.offline_only else _SERVED,
        "Not for: judging customers, granting credit, or any decision about a person beyond this one payment.",
        "",
        "## What it was measured on",
        "",
        "| part | from | before | rows | frauds |",
        "|---|---|---|---|---|",
        *(f"| {name} | {begin} | {end} | {rows:,} | {frauds:,} |" for name, (begin, end, rows, frauds) in parts),
        "",
        f"Split by {'the data set itself' if manifest.split_by == 'column' else 'time'}.",
        f"The test part ({split.test.start} to {split.test.stop}) was used for nothing but these figures.",
        "",
        "| | average precision | ROC AUC | " + " | ".join(f"recall at {rate:.1%}" for rate in found.rates) + " |",
        "|---|---|---|" + "---|" * len(found.rates),
        *(
            f"| {one.name} | {one.average_precision:.3f} | {one.roc_auc:.3f} | "
            + " | ".join(f"{share:.1%}" for share in one.recall)
            + " |"
            for one in (found.model_line, *found.rivals)
        ),
        "",
        f"It {'beats' if beaten else '**does not beat**'} every baseline by average precision.",
        f"Of the fraudulent value {report.value_detection_rate:.1%} is reviewed or blocked,",
        f"of ordinary transactions {report.ordinary.flagged_rate:.2%}.",
        f"Its probabilities add up to {found.reliability.expected:,.1f} frauds in the test part;",
        f"there are {found.reliability.frauds:,}.",
        "",
        "## Whom it flags wrongly",
        "",
        *(
            map(_flags, bias)
            if bias
            else ("No group was declared (`--group`), so nothing is known of this.",)
        ),
        "",
        "## Limits",
        "",
        *(f"* {text}" for text in found.notes),
        f"* {left_out} `{PAGE_FILE}`.",
        "* It knows the attacks of its training part. New ones show as drift, and as labels that it did not expect.",
        "",
    ]  # fmt: skip
    return "\n".join(lines)
