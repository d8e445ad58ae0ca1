"""What a model must show before it is promoted, what raises an alarm, and what makes a new one (`FRAUD_LIFECYCLE`)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec
import yaml

from features.errors import ConfigError, HistoryError

_VARIABLE: Final = "FRAUD_LIFECYCLE"


class Gates(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What stands between a model and production.

    Attributes:
        metrics: by how much each may fall below the champion's; 0 lets it fall by nothing.
        parity_transactions: events whose features are compared, served and offline; 0: no such gate.
        predict_cost_ratio: what a prediction may cost, as a multiple of the champion's in the same run.
        predict_us: what one row of a batch of 500 may cost where there is no champion, microseconds.
    """

    metrics: dict[str, float] = msgspec.field(
        default_factory=lambda: {"average_precision": 0.01, "value_detection_rate": 0.02, "recall_at_0.003": 0.02}
    )
    parity_transactions: int = 20_000
    predict_cost_ratio: float = 1.5
    predict_us: float = 20.0

    def __post_init__(self) -> None:
        if any(fall < 0 for fall in self.metrics.values()):
            raise ValueError("gates.metrics: a fall is a number of 0 or more")
        if self.parity_transactions < 0 or not self.predict_cost_ratio > 0 or not self.predict_us > 0:
            raise ValueError("gates: parity_transactions must be 0 or more, predict_cost_ratio and predict_us above 0")


class Alarms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """From where on something is an alarm.

    Attributes:
        psi: population stability index of a feature or of the model's answers.
        ks: Kolmogorov-Smirnov distance, likewise.
        surge: times that values of a narrow range come as often as in training; fraud is rare, so a new attack moves
            neither of the above.
        surge_share: share of the traffic that such a range must hold beyond what it held in training.
        missing_points: by how much the share of transactions without a field may change.
        flagged_ratio: times that transactions are flagged more often, or less, than on the test part.
        calibration_ratio: times that there are more frauds, or fewer, than the probabilities say.
        recall_points: by how much the recall of a week may lie below that of the test part.
        fewest_rows: without so many transactions nothing is said.
    """

    psi: float = 0.2
    ks: float = 0.1
    surge: float = 2.0
    surge_share: float = 0.003
    missing_points: float = 0.05
    flagged_ratio: float = 2.0
    calibration_ratio: float = 2.0
    recall_points: float = 0.15
    fewest_rows: int = 1000

    def __post_init__(self) -> None:
        if min(self.psi, self.ks, self.surge_share, self.missing_points, self.recall_points) <= 0:
            raise ValueError("alarms: every limit must be above 0")
        if min(self.surge, self.flagged_ratio, self.calibration_ratio) <= 1 or self.fewest_rows < 1:
            raise ValueError("alarms: surge, flagged_ratio, calibration_ratio must be above 1, fewest_rows 1 or more")


class Retraining(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a new model is trained, and how its history is divided.

    Attributes:
        every_days: days after the champion's registration; 0: no such rule.
        alarms: so many alarms of drift make it necessary; 0: no such rule.
        labels: so many labels since the champion's last row make it necessary; 0: no such rule.
        maturity_days: a transaction younger than this and without a label is not known to be ordinary.
        gap_days: between the parts of the history.
        validation_days: days that thresholds are chosen on.
        test_days: the last days, on which both models are measured; everything before is learned from.
        seed: of the training.
    """

    every_days: float = 30.0
    alarms: int = 1
    labels: int = 500
    maturity_days: float = 7.0
    gap_days: float = 1.0
    validation_days: float = 7.0
    test_days: float = 7.0
    seed: int = 1

    def __post_init__(self) -> None:
        if min(self.every_days, self.alarms, self.labels, self.maturity_days, self.gap_days, self.seed) < 0:
            raise ValueError("retrain: numbers must be 0 or more")
        if not (self.validation_days > 0 and self.test_days > 0):
            raise ValueError("retrain: validation_days and test_days must be above 0")

    def shares(self, days: float) -> tuple[float, float]:
        """Shares of training and validation in a history of so many days, as its division wants them.

        Raises:
            HistoryError: the history is too short.
        """
        usable = days - 2 * self.gap_days
        learned = usable - self.validation_days - self.test_days
        if learned <= 0:
            raise HistoryError(
                f"the history spans {days:.1f} days, and {days - learned:.1f} of them are asked to choose thresholds, "
                "to test on and for the gaps between; give a longer one with --history, or smaller numbers under "
                f"retrain in {_VARIABLE}"
            )
        return learned / usable, self.validation_days / usable


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    gates: Gates = Gates()
    alarms: Alarms = Alarms()
    retrain: Retraining = Retraining()


def load_plan(path: str) -> Plan:
    """Read the file; the defaults where none is named.

    Raises:
        ConfigError: it cannot be read, or a number in it cannot be used; the message says which.
    """
    if not path:
        return Plan()
    try:
        raw = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{_VARIABLE}: cannot read {path}: {exc}") from exc
    except yaml.YAMLError as exc:
        raise ConfigError(f"{_VARIABLE}: {path} is not YAML: {' '.join(str(exc).split())}") from exc
    try:
        return msgspec.convert({} if raw is None else raw, Plan)
    except msgspec.ValidationError as exc:
        raise ConfigError(f"{_VARIABLE}: {path}: {exc}") from exc
