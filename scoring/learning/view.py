"""The report of a training as one HTML file with plots: nothing in it is loaded from anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from scoring.charts import Line, html_table, line_plot, note, page
from scoring.learning.details import Details, Fold, Reliability, Rival, Segment
from scoring.report import Report

_RELIABLE = 5
"""Frauds in a segment below which its share says little."""


def html(found: Details) -> str:
    """The whole file."""
    parts = [
        note(
            f"Model {found.model}. All figures but the cross-validation are of the test part, which nothing has seen."
        ),
        *(
            note("For offline use: the model takes inputs that no transaction carries.")
            for _ in range(found.offline_only)
        ),
        _rivals(found),
        *(note(text) for text in found.notes),
        *_caught(found.metrics),
        *_curves(found),
        *_calibration(found.reliability),
        _segments("By segment, at the model's thresholds", found.segments),
        *_bias(found.bias),
        _importance(found),
        *_folds(found),
        *_data(found),
    ]
    return page("Training report", parts)


def _percent(share: float | None, places: int = 1) -> str:
    return "-" if share is None else f"{share:.{places}%}"


def _rivals(found: Details) -> str:
    heads = ["", "average precision", "ROC AUC", *(f"recall at {rate:.1%}" for rate in found.rates),
             f"value at {found.rates[0]:.1%}", "card precision@100", "flags of frauds / of ordinary"]  # fmt: skip
    return html_table("The model and what it must beat", heads, map(_rival_row, (found.model_line, *found.rivals)))


def _rival_row(one: Rival) -> list[str]:
    flags = "" if one.flagged is None else f"{one.flagged[0]:.1%} / {one.flagged[1]:.2%}"
    return [one.name, f"{one.average_precision:.3f}", f"{one.roc_auc:.3f}", *map(_percent, one.recall),
            _percent(one.value), f"{one.card_precision:.3f}", flags]  # fmt: skip


def _caught(report: Report) -> Iterable[str]:
    yield html_table(
        "Detection",
        ["", ""],
        [
            ["transactions", f"{report.rows:,}, {report.first} to {report.last}"],
            ["frauds", f"{report.fraud.total:,} in {report.attacks:,} attacks"],
            ["fraudulent value reviewed or blocked", _percent(report.value_detection_rate)],
            [f"card precision@{report.card_precision_k} a day",
             f"{report.card_precision:.3f} (a perfect order: {report.card_precision_best:.3f})"],
            ["ordinary reviewed or blocked", _percent(report.ordinary.flagged_rate, 2)],
            ["frauds reviewed or blocked", _percent(report.fraud.flagged_rate)],
            ["frauds blocked", _percent(report.fraud.blocked_rate)],
        ],
    )  # fmt: skip
    heads = ["place in the attack", *(f"at {point.false_positive_rate:.1%}" for point in report.at_rates)]
    rows = [["all", *(_percent(point.recall) for point in report.at_rates)]]
    for place in range(len(report.at_rates[0].recall_by_position)):
        shares = [point.recall_by_position[place] for point in report.at_rates]
        if any(share is not None for share in shares):
            rows.append([str(place + 1), *map(_percent, shares)])
    yield html_table("Recall by place in the attack, at false positives of", heads, rows)
    places = [float(place + 1) for place in range(len(report.at_rates[0].recall_by_position))]
    lines = [Line(f"at {point.false_positive_rate:.1%}", places, point.recall_by_position) for point in report.at_rates]
    yield line_plot("Recall by place in the attack", lines, "place", [(place, f"{place:.0f}") for place in places])


def _curves(found: Details) -> Iterable[str]:
    yield line_plot("Precision by recall", [Line("model", found.pr.x, found.pr.y)], "recall")
    straight = Line("chance", (0.0, 1.0), (0.0, 1.0))
    yield line_plot(
        "Recall by false-positive rate (ROC)",
        [Line("model", found.roc.x, found.roc.y), straight],
        "false-positive rate",
    )
    low = [(x, y) for x, y in zip(found.roc.x, found.roc.y, strict=True) if x <= 0.02]
    if len(low) > 1:
        x, y = zip(*low, strict=True)
        yield line_plot("The same where few are flagged", [Line("model", x, y)], "false-positive rate")


def _calibration(found: Reliability) -> Iterable[str]:
    yield html_table(
        f"Do probabilities mean what they say? (calibration: {found.method})",
        ["", "before", "calibrated"],
        [
            ["frauds that they add up to", f"{found.expected_before:,.1f}", f"{found.expected:,.1f}"],
            ["frauds that there are", f"{found.frauds:,}", f"{found.frauds:,}"],
            ["calibration error", f"{found.error_before:.5f}", f"{found.error:.5f}"],
            ["Brier score", f"{found.brier_before:.5f}", f"{found.brier:.5f}"],
            ["log loss", f"{found.log_loss_before:.5f}", f"{found.log_loss:.5f}"],
        ],
    )
    rows = [
        [f"{one.low:g} to {one.high:g}", f"{one.rows:,}", f"{one.frauds:,}", f"{one.said:.4f}", f"{one.happened:.4f}",
         f"{one.happened_low:.4f} to {one.happened_high:.4f}"]
        for one in found.bins
    ]  # fmt: skip
    heads = ["probability", "rows", "frauds", "said", "happened", "95 % interval"]
    yield html_table("Reliability", heads, rows)
    if len(found.bins) > 1:
        said = [one.said for one in found.bins]
        lines = [
            Line("happened", said, [one.happened for one in found.bins]),
            Line("as it should be", said, said),
            Line("95 % low", said, [one.happened_low for one in found.bins]),
            Line("95 % high", said, [one.happened_high for one in found.bins]),
        ]
        yield line_plot("Share of frauds by what was said", lines, "mean probability of the bin")


def _segments(caption: str, segments: Sequence[Segment]) -> str:
    heads = ["by", "", "rows", "frauds", "recall", "false positives", "95 % interval", "average precision"]
    return html_table(caption, heads, map(_segment_row, segments))


def _segment_row(one: Segment) -> list[str]:
    interval = "-" if one.low is None else f"{_percent(one.low, 2)} to {_percent(one.high, 2)}"
    few = " (few)" if 0 < one.frauds < _RELIABLE else ""
    precision = "-" if one.average_precision is None else f"{one.average_precision:.3f}{few}"
    return [one.by, one.value, f"{one.rows:,}", f"{one.frauds:,}", _percent(one.recall) + few,
            _percent(one.false_positive_rate, 2), interval, precision]  # fmt: skip


def _bias(groups: Sequence[Segment]) -> Iterable[str]:
    if not groups:
        yield note("No group was declared (--group), so nothing is known of who is flagged wrongly more often.")
        return
    yield _segments("Ordinary customers flagged wrongly, by declared group", groups)
    yield note(
        "Where the intervals of two values of a group do not meet, the difference is not chance: find its reason "
        "before the model is used."
    )


def _importance(found: Details) -> str:
    rows = [[name, _percent(share)] for name, share in found.importance[:25]]
    return html_table("What the trees use: share of their gain", ["column", "share"], rows)


def _folds(found: Details) -> Iterable[str]:
    if found.search is not None:
        chosen = ", ".join(f"{name} {value:.4g}" for name, value in found.search.parameters.items()
                           if not isinstance(value, str))  # fmt: skip
        yield note(
            f"Search: {found.search.trials} trials in {found.search.seconds:,.0f} s; mean average precision over the "
            f"folds {found.search.best:.4f}, of the defaults {found.search.default:.4f}. Chosen: {chosen}."
        )
    if found.folds:
        heads = [
            "from",
            "to",
            "rows",
            "frauds",
            "average precision",
            *(f"recall at {rate:.1%}" for rate in found.rates),
        ]
        yield html_table("Cross-validation over time, on the training part", heads, map(_fold_row, found.folds))


def _fold_row(one: Fold) -> list[str]:
    return [one.start, one.stop, f"{one.rows:,}", f"{one.frauds:,}", f"{one.average_precision:.3f}",
            *map(_percent, one.recall)]  # fmt: skip


def _data(found: Details) -> Iterable[str]:
    if found.source is not None:
        yield note(f"Read through a column mapping: {found.source}")
    parts = [
        [name, start, stop, f"{rows:,}", f"{frauds:,}"] for name, (start, stop, rows, frauds) in found.parts.items()
    ]
    yield html_table("Parts", ["", "from", "before", "rows", "frauds"], parts)
    yield note(
        f"{found.ordinary_per_fraud:,.0f} ordinary transactions to a fraud in the training part. No row is thrown away "
        "or made up for that: the trees start from even odds, rank, and the calibration brings the probabilities back "
        "to how rare fraud is."
    )
    labels = [[one.source, f"{one.frauds:,}", f"{one.ordinary:,}"] for one in found.labels]
    yield html_table("Labels, by where they come from", ["", "frauds", "ordinary"], labels)
    counts = [[reason, f"{count:,}"] for reason, count in found.counts.items()] or [["nothing", ""]]
    yield html_table("Left out or changed", ["what", "rows"], counts)
    if found.constant:
        yield note(f"Columns of one value, which no tree can use: {', '.join(found.constant)}.")
    seconds = [[name, f"{value:,.1f}"] for name, value in found.seconds.items()]
    yield html_table("Time, seconds", ["", ""], seconds)
