"""A model folder's `manifest.json`: everything about a model that is not its trees.

Nothing in it depends on when or where the model was trained, so the same data and seed give the same bytes.
"""

from __future__ import annotations

import hashlib
import math
from typing import Final

import msgspec

from features.catalogue import FEATURE_SET, FEATURES
from scoring.calibration import Calibration
from scoring.report import Report

MODEL_FILE: Final = "model.ubj"
MANIFEST_FILE: Final = "manifest.json"
FORMAT: Final = 1


class FeatureColumn(msgspec.Struct, frozen=True):
    """One column of the model's input."""

    name: str
    dtype: str


class Costs(msgspec.Struct, frozen=True):
    """What mistakes cost, in major units of one currency: thresholds that depend on the amount.

    A transaction goes the way of the least expected cost: approved it costs its amount with the probability of fraud,
    reviewed the price of a review, blocked the price of a wrongly declined customer with the probability that it is
    no fraud.

    Attributes:
        review: one review.
        decline: one wrongly declined customer.
        queue: what a place in the review queue is worth beyond the review, so that no more are asked for than the
            queue holds.
        recovered: share of a fraudulent amount that a review saves.
        rates: worth of one major unit of other currencies; one that is not there counts as it is.
    """

    review: float
    decline: float
    queue: float = 0.0
    recovered: float = 1.0
    rates: dict[str, float] = {}

    def __post_init__(self) -> None:
        prices = (self.review, self.decline, *self.rates.values())
        if not all(math.isfinite(price) and price > 0 for price in prices):
            raise ValueError("costs of a review and of a decline, and rates of currencies, must be above 0")
        if not (math.isfinite(self.queue) and self.queue >= 0 and 0 < self.recovered <= 1):
            raise ValueError("queue must be 0 or more, recovered above 0 and at most 1")


class Thresholds(msgspec.Struct, frozen=True):
    """From which probability on a transaction is reviewed and blocked.

    Attributes:
        review, block: probabilities, themselves included; 0 < review <= block. Not looked at where there are costs.
        review_false_positive_rate, block_false_positive_rate: share of ordinary transactions flagged, at most, on the
            rows that the thresholds were chosen on; None where they were not chosen so.
        costs: see Costs; None: every amount has the same thresholds.
    """

    review: float
    block: float
    review_false_positive_rate: float | None = None
    block_false_positive_rate: float | None = None
    costs: Costs | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.block) and 0 < self.review <= self.block):
            raise ValueError(f"thresholds must be 0 < review <= block, not {self.review} and {self.block}")


class Period(msgspec.Struct, frozen=True):
    """Rows of one part of the split: from `start` on and before `stop`, RFC 3339."""

    start: str
    stop: str
    rows: int
    frauds: int


class Split(msgspec.Struct, frozen=True):
    """The model learns from `train`, its thresholds come from `validation`, its metrics from `test`."""

    train: Period
    validation: Period
    test: Period


class InputColumn(msgspec.Struct, frozen=True):
    """A column that a model takes beside the catalogue's.

    Attributes:
        name: of the column.
        type: `numeric` or `categorical`.
        levels: texts of a categorical one, by their codes; any other counts as missing.
    """

    name: str
    type: str
    levels: tuple[str, ...] = ()


class Baseline(msgspec.Struct, frozen=True):
    """The approved population, which reasons are measured against.

    Attributes:
        margin: mean log odds of the sample.
        contributions: mean contribution of each feature, in the order of the columns.
        rows: size of the sample.
        approved: rows of the training part below the threshold for a review, which it was taken from.
    """

    margin: float
    contributions: tuple[float, ...]
    rows: int
    approved: int


class Manifest(msgspec.Struct, frozen=True):
    """What `manifest.json` holds.

    Attributes:
        format: of this file.
        model_sha256: hex SHA-256 of `model.ubj`.
        feature_set: version of the catalogue that the features were declared in.
        features: the model's columns in order.
        thresholds: see Thresholds.
        split: see Split.
        metrics: measured on the split's test part.
        data_fingerprint: hex SHA-256 of the features, labels and times of the whole table.
        rows: of the whole table.
        seed: of the training.
        rounds: trees.
        parameters: of XGBoost.
        libraries: versions that the bytes of the model depend on.
        baseline: what reasons are measured against; None: written before there was one, and then it is the mean of the
            training rows.
        calibration: maps what the trees say to probabilities; None: they are taken as they are.
        inputs: columns beside the catalogue's. No transaction carries them, so a model that has any is for offline use.
        split_by: `time`, or `column` where the data set says which row belongs to which part.
    """

    format: int
    model_sha256: str
    feature_set: str
    features: tuple[FeatureColumn, ...]
    thresholds: Thresholds
    split: Split
    metrics: Report
    data_fingerprint: str
    rows: int
    seed: int
    rounds: int
    parameters: dict[str, int | float | str]
    libraries: dict[str, str]
    baseline: Baseline | None = None
    calibration: Calibration | None = None
    inputs: tuple[InputColumn, ...] = ()
    split_by: str = "time"

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of all columns that the trees take, in order."""
        return (*(one.name for one in self.features), *(one.name for one in self.inputs))

    @property
    def version(self) -> str:
        """Name of all that decisions and reasons depend on: trees, features, thresholds, baseline, calibration."""
        limits = self.thresholds
        decisive = [self.model_sha256, self.feature_set, repr(limits.review), repr(limits.block)]
        if limits.costs is not None:
            decisive.append(msgspec.json.encode(limits.costs, order="sorted").decode())
        if self.baseline is not None:
            decisive.append(msgspec.json.encode(self.baseline).decode())
        if self.calibration is not None:
            decisive.append(msgspec.json.encode(self.calibration).decode())
        if self.inputs:
            decisive.append(msgspec.json.encode(self.inputs).decode())
        return f"xgb-{hashlib.sha256(':'.join(decisive).encode()).hexdigest()[:12]}"

    def encode(self) -> bytes:
        """As JSON for people and machines."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"


def catalogue_columns() -> tuple[FeatureColumn, ...]:
    """The columns that a model must have to be served with this catalogue."""
    return tuple(FeatureColumn(feature.name, feature.dtype) for feature in FEATURES)


def decode_manifest(raw: bytes, *, offline: bool = False) -> Manifest:
    """Read a manifest and see that it fits the catalogue.

    Args:
        raw: the file.
        offline: the model need not be fit to serve: it may have further inputs.

    Raises:
        ValueError: with one sentence: not a manifest, of another format, or made for other features.
    """
    try:
        manifest = msgspec.json.decode(raw, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise ValueError(f"{MANIFEST_FILE} is not a model manifest ({exc})") from exc
    if manifest.format != FORMAT:
        raise ValueError(f"{MANIFEST_FILE} has format {manifest.format}, this version reads {FORMAT}")
    if manifest.features != catalogue_columns():
        raise ValueError(
            f"the model was trained on other features than the catalogue declares: {_difference(manifest)}"
        )
    if manifest.feature_set != FEATURE_SET:
        raise ValueError(f"the model was trained on feature set {manifest.feature_set}, the catalogue is {FEATURE_SET}")
    if manifest.inputs and not offline:
        names = ", ".join(one.name for one in manifest.inputs[:5]) + (", ..." if len(manifest.inputs) > 5 else "")
        raise ValueError(
            f"the model takes {len(manifest.inputs)} inputs that no transaction carries ({names}): it is for offline "
            "use; for serving, train without inputs in the mapping"
        )
    return manifest


def _difference(manifest: Manifest) -> str:
    ours, theirs = catalogue_columns(), manifest.features
    for number, (our, their) in enumerate(zip(ours, theirs, strict=False), start=1):
        if our != their:
            return f"column {number} is {their.name} ({their.dtype}), not {our.name} ({our.dtype})"
    return f"{len(theirs)} columns, not {len(ours)}"
