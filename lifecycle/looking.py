"""A look at live traffic: where outcomes and labels come from, and what is made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from features.errors import ConfigError
from features.times import parse_rfc3339
from lifecycle.drift import Drift, find_drift
from lifecycle.plan import Plan
from lifecycle.traffic import Traffic, file_traffic, topic_traffic
from lifecycle.truth import Truth, file_truth, matured, topic_truth
from scoring.evaluation import milliseconds
from scoring.model import Model
from scoring.reference import load_reference
from streams.settings import Settings

TOPIC: Final = "topic"
NONE: Final = "none"
NEWEST: Final = "newest"


def read_traffic(settings: Settings, outcomes: str, rows: int) -> Traffic:
    """Outcomes of `topic` (its newest), or of a file."""
    if outcomes == TOPIC:
        return topic_traffic(settings.kafka(), settings.topic("processed_transactions"), rows)
    return file_traffic(Path(outcomes))


def read_truth(settings: Settings, labels: str) -> Truth:
    """Labels of `topic`, of a file, or `none`."""
    if labels == NONE:
        return Truth({}, {}, {})
    return (
        topic_truth(settings.kafka(), settings.topic("fraud_labels")) if labels == TOPIC else file_truth(Path(labels))
    )


def moment_of(as_of: str, traffic: Traffic) -> int:
    """The moment from which one looks back, epoch milliseconds.

    Args:
        as_of: `newest`, the event time of the newest transaction; or RFC 3339.
        traffic: at least one transaction, for `newest`.

    Raises:
        ConfigError: it is no time.
    """
    if as_of == NEWEST:
        return int(traffic.event_ms[-1]) if len(traffic) else 0
    moment_ms = parse_rfc3339(as_of)
    if moment_ms is None:
        raise ConfigError(f"--as-of: {as_of} is no time; write it as 2026-01-01T00:00:00Z, or newest")
    return moment_ms


def look(folder: Path, plan: Plan, traffic: Traffic, truth: Truth, as_of: str) -> Drift:
    """Hold traffic against what the model of a folder was trained on.

    Args:
        folder: of the model.
        plan: from where on something is an alarm, and how long labels take.
        traffic: of the model.
        truth: what became of it.
        as_of: see `moment_of`.

    Raises:
        ModelError: the model has no reference, or is of another catalogue.
        HistoryError: there is too little traffic.
    """
    model, reference = Model.load(folder), load_reference(folder)
    known = matured(traffic, truth, moment_of(as_of, traffic), plan.retrain.maturity_days)
    return find_drift(traffic, model.manifest, reference, plan.alarms, known)


def new_labels(truth: Truth, traffic: Traffic, folder: Path) -> int:
    """Labels of transactions of the traffic that the model of a folder has not learned from."""
    learned_ms = milliseconds(Model.load(folder).manifest.split.train.stop)
    return sum(
        truth.answers.get(key) is not None
        for key, event_ms in zip(traffic.keys, traffic.event_ms.tolist(), strict=True)
        if event_ms >= learned_ms
    )
