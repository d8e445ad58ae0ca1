"""How far live traffic has gone from what a model was trained on, and how well the model still does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from features.catalogue import FEATURE_NAMES
from features.errors import HistoryError
from features.times import format_rfc3339
from lifecycle.plan import Alarms
from lifecycle.stats import Surge, average_precision, ks, psi, surge
from lifecycle.traffic import Traffic
from scoring.manifest import Manifest
from scoring.reference import SCORE, Histogram, Reference

WEEK_MS: Final = 7 * 86_400_000
_FEWEST_FRAUDS: Final = 20
"""With fewer of them a week's recall, or a calibration, says nothing."""
_FEW: Final = 20


class Alarm(msgspec.Struct, frozen=True):
    """Something that somebody should look at.

    Attributes:
        kind: `psi`, `ks`, `surge`, `missing`, `constant`, `flagged`, `calibration`, `recall`.
        subject: a feature, a field, or the model's part that it is about.
        told: one sentence with figures.
    """

    kind: str
    subject: str
    told: str


class ColumnDrift(msgspec.Struct, frozen=True):
    """One feature, or the model's answers.

    Attributes:
        name: of the feature; `probability` are the answers.
        psi: population stability index.
        ks: Kolmogorov-Smirnov distance.
        missing: share of the values that are not there.
        surge: the narrow range that has grown most, if any has.
    """

    name: str
    psi: float
    ks: float
    missing: float
    surge: Surge | None = None


class Week(msgspec.Struct, frozen=True):
    """Transactions of one week of event time whose answer is known.

    Attributes:
        start: first moment of the week, RFC 3339.
        rows: transactions.
        frauds: among them.
        recall: share of the frauds that was flagged; None without frauds.
        precision: share of what was flagged that was fraud; None where nothing was.
        average_precision: of the probabilities; None without frauds.
        expected: frauds that the probabilities say.
    """

    start: str
    rows: int
    frauds: int
    recall: float | None
    precision: float | None
    average_precision: float | None
    expected: float


class Drift(msgspec.Struct, frozen=True):
    """What was found.

    Attributes:
        model: version of the model that the traffic was held against.
        first: event time of the first transaction, RFC 3339.
        last: of the last.
        rows: transactions looked at.
        scored: of them, how many the model answered.
        columns: features, then the model's answers where enough of them are there.
        missing_fields: share without each optional field, now.
        flagged: share reviewed or blocked, now.
        flagged_before: on the model's test part.
        degraded: share scored without history.
        labelled: transactions whose answer is known.
        weeks: of those.
        calibration: frauds per expected fraud; None where too few are known.
        alarms: what somebody should look at.
        left_out: records that were not looked at, by reason.
    """

    model: str
    first: str
    last: str
    rows: int
    scored: int
    columns: tuple[ColumnDrift, ...]
    missing_fields: dict[str, float]
    flagged: float
    flagged_before: float
    degraded: float
    labelled: int
    weeks: tuple[Week, ...]
    calibration: float | None
    alarms: tuple[Alarm, ...]
    left_out: dict[str, int]


def find_drift(
    traffic: Traffic, manifest: Manifest, reference: Reference, limits: Alarms, known: NDArray[np.int64]
) -> Drift:
    """Hold traffic against what a model was trained on.

    Args:
        traffic: n transactions.
        manifest: of the model.
        reference: what it was trained on.
        limits: from where on something is an alarm.
        known: 1 fraud, 0 ordinary, -1 not known, shape (n,).

    Raises:
        HistoryError: there are too few transactions to say anything.
    """
    if len(traffic) < limits.fewest_rows:
        left = ", ".join(f"{number:,} {reason}" for reason, number in sorted(traffic.left_out.items())) or "none"
        raise HistoryError(
            f"{len(traffic):,} scored transactions are too few to tell drift from chance, {limits.fewest_rows:,} are "
            f"needed (left out: {left}); wait for more traffic, or read more with --rows"
        )
    answers = answers_of(traffic, manifest.version)
    card, scored = _cards(traffic), ~np.isnan(answers)
    columns = [_column(name, traffic.x[:, place], card, reference) for place, name in enumerate(FEATURE_NAMES)]
    if np.count_nonzero(scored) >= limits.fewest_rows:
        columns.append(_column(SCORE, answers[scored], card[scored], reference))
    weeks = tuple(_weeks(traffic, answers, known))
    before = _flagged_before(manifest, reference)
    found = Drift(
        model=manifest.version,
        first=format_rfc3339(int(traffic.event_ms[0])),
        last=format_rfc3339(int(traffic.event_ms[-1])),
        rows=len(traffic),
        scored=int(np.count_nonzero(scored)),
        columns=tuple(columns),
        missing_fields=traffic.missing,
        flagged=float(np.mean(traffic.verdict > 0)),
        flagged_before=before,
        degraded=traffic.degraded,
        labelled=int(np.count_nonzero(known >= 0)),
        weeks=weeks,
        calibration=_calibration(answers, known),
        alarms=(),
        left_out=traffic.left_out,
    )
    alarms = (*_of_columns(found, traffic, reference, limits), *_of_fields(found, reference.missing_fields, limits),
              *_of_model(found, manifest, limits))  # fmt: skip
    return msgspec.structs.replace(found, alarms=alarms)


def answers_of(traffic: Traffic, model: str) -> NDArray[np.float64]:
    """What a model said of each transaction, as the one that decided or beside it; NaN where it was not asked."""
    beside = np.array([name == model for name in traffic.shadow_model], np.bool_)
    decided = np.array([name == model for name in traffic.model], np.bool_)
    return np.where(decided, traffic.probability, np.where(beside, traffic.shadow_probability, np.nan))


def _column(name: str, values: NDArray[np.float64], card: NDArray[np.int64], reference: Reference) -> ColumnDrift:
    kept = reference.columns[name]
    there = ~np.isnan(values)
    edges, before = np.array(kept.edges, np.float64), np.array(kept.counts, np.int64)
    # Training saw float32: a ratio must not fall beside the edge that it made itself.
    bins = np.searchsorted(edges, values[there].astype(np.float32).astype(np.float64), side="left")
    now = np.bincount(bins, minlength=len(before))
    missing = 1 - int(np.count_nonzero(there)) / len(values)
    return ColumnDrift(name, psi(before, now), ks(before, now), missing, surge(edges, before, bins, card[there]))


def _cards(traffic: Traffic) -> NDArray[np.int64]:
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(card, len(numbers)) for card, _ in traffic.keys], np.int64)


def _weeks(traffic: Traffic, answers: NDArray[np.float64], known: NDArray[np.int64]) -> list[Week]:
    rows = (known >= 0) & ~np.isnan(answers)
    number = traffic.event_ms // WEEK_MS
    found = []
    for week in np.unique(number[rows]).tolist():
        here = rows & (number == week)
        fraud, flagged, said = known[here] == 1, traffic.verdict[here] > 0, answers[here]
        found.append(
            Week(
                format_rfc3339(week * WEEK_MS),
                int(np.count_nonzero(here)),
                int(np.count_nonzero(fraud)),
                float(flagged[fraud].mean()) if fraud.any() else None,
                float(fraud[flagged].mean()) if flagged.any() else None,
                average_precision(fraud, said) if fraud.any() else None,
                float(said.sum()),
            )
        )
    return found


def _calibration(answers: NDArray[np.float64], known: NDArray[np.int64]) -> float | None:
    rows = (known >= 0) & ~np.isnan(answers)
    frauds, expected = int(np.count_nonzero(known[rows] == 1)), float(answers[rows].sum())
    return frauds / expected if max(frauds, expected) >= _FEWEST_FRAUDS and expected > 0 else None


def _flagged_before(manifest: Manifest, reference: Reference) -> float:
    if reference.flagged is not None:
        return reference.flagged
    ordinary, fraud = manifest.metrics.ordinary, manifest.metrics.fraud
    flagged = ordinary.review + ordinary.block + fraud.review + fraud.block
    return flagged / (ordinary.total + fraud.total)


def _of_columns(found: Drift, traffic: Traffic, reference: Reference, limits: Alarms) -> list[Alarm]:
    alarms = []
    for one in found.columns:
        if one.psi >= limits.psi:
            alarms.append(Alarm("psi", one.name, f"PSI {one.psi:.2f}, the limit is {limits.psi:g}"))
        if one.ks >= limits.ks:
            alarms.append(Alarm("ks", one.name, f"KS {one.ks:.2f}, the limit is {limits.ks:g}"))
        if one.surge is not None and _is_surge(one.surge, limits):
            grown = f"{one.surge.before:.2%} in training, {one.surge.now:.2%} now"
            alarms.append(Alarm("surge", one.name, f"{range_of(one.surge)} came in {grown}"))
        if one.missing - _missing_before(reference.columns[one.name]) > limits.missing_points:
            alarms.append(Alarm("missing", one.name, f"missing in {one.missing:.1%} of the transactions"))
    for place, name in enumerate(FEATURE_NAMES):
        if len(reference.columns[name].edges) and len(np.unique(traffic.x[:, place])) == 1:
            alarms.append(Alarm("constant", name, f"always {traffic.x[0, place]:g}: something before it is broken"))
    return alarms


def _is_surge(grown: Surge, limits: Alarms) -> bool:
    return grown.now >= limits.surge * grown.before and grown.now - grown.before >= limits.surge_share


def range_of(grown: Surge) -> str:
    """The range of a surge in words.

    >>> range_of(Surge(240.0, 485.5, 0.01, 0.03))
    'values over 240 up to 485.5'
    """
    if np.isinf(grown.low):
        return f"values up to {grown.high:g}"
    return f"values over {grown.low:g}" + ("" if np.isinf(grown.high) else f" up to {grown.high:g}")


def _missing_before(kept: Histogram) -> float:
    return kept.missing / max(kept.rows + kept.missing, 1)


def _of_fields(found: Drift, before: Mapping[str, float], limits: Alarms) -> list[Alarm]:
    return [
        Alarm("missing", name, f"missing in {now:.1%} of the transactions, {before[name]:.1%} in training")
        for name, now in found.missing_fields.items()
        if name in before and abs(now - before[name]) > limits.missing_points
    ]


def _of_model(found: Drift, manifest: Manifest, limits: Alarms) -> list[Alarm]:
    alarms = []
    now, before, most = found.flagged, found.flagged_before, limits.flagged_ratio
    if max(now, before) * found.rows >= _FEW and not before / most <= now <= before * most:
        told = f"{now:.2%} of the transactions are reviewed or blocked, {before:.2%} were on the test part"
        alarms.append(Alarm("flagged", "decisions", told))
    ratio = found.calibration
    if ratio is not None and not 1 / limits.calibration_ratio <= ratio <= limits.calibration_ratio:
        told = f"{ratio:.2f} times as many frauds as the probabilities say"
        alarms.append(Alarm("calibration", SCORE, told))
    expected = manifest.metrics.fraud.flagged_rate
    for week in found.weeks:
        if week.frauds >= _FEWEST_FRAUDS and week.recall is not None and week.recall < expected - limits.recall_points:
            told = f"{week.recall:.1%} of the frauds of the week of {week.start[:10]} flagged"
            alarms.append(Alarm("recall", "decisions", f"{told}, {expected:.1%} on the test part"))
    return alarms
