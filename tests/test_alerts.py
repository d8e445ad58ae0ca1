"""The alert rules and the runbook belong together, and both to the metrics that there are."""

from __future__ import annotations

import re

import pytest
from prometheus_client import CollectorRegistry

from streams.beside.metrics import DeadLetterMetrics, LabelMetrics
from streams.watch.health import Health
from streams.watch.metrics import AlertMetrics, BuildInfo, IndexMetrics, ScoreMetrics
from streams.watch.policy_metrics import PolicyMetrics
from tests.alerts import ROOT, alerts, grouped, uses

RUNBOOK = (ROOT / "docs" / "runbook.md").read_text()
ALERTS = alerts()


def index_metrics(registry):
    """Everything that the index role counts."""
    return IndexMetrics(registry), LabelMetrics(registry), DeadLetterMetrics(registry)


MADE = {"score": ScoreMetrics, "index": index_metrics, "alert": lambda registry: AlertMetrics(registry, ["desk"])}

each_alert = pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)


def section(name: str) -> str:
    """What the runbook says of an alert."""
    return re.split(r"^##", RUNBOOK.split(f"\n### {name}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def served() -> dict[str, set[str]]:
    """Every sample of the roles: name -> names of its labels."""
    found: dict[str, set[str]] = {"up": set()}
    for role, make in MADE.items():
        health = Health(role)
        make(health.registry)
        if role == "score":
            PolicyMetrics(health.registry, role)
        else:
            BuildInfo(health.registry).set(role=role, version="1")
        for name, labels in samples(health.registry).items():
            found.setdefault(name, set()).update(labels)
    # What has a sample for each of its partitions has none without any.
    return {**found, **{f"fraud_{n}": {"partition"} for n in ("consumer_lag", "committed_offset", "end_offset")}}


def samples(registry: CollectorRegistry) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for family in registry.collect():
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


SERVED = served()


def test_names_are_unique():
    assert len({alert.name for alert in ALERTS}) == len(ALERTS) > 20


@each_alert
def test_it_asks_for_metrics_that_a_role_serves(alert):
    used = list(uses(alert.expr))

    assert used
    for metric, labels in used:
        assert metric in SERVED, f"{alert.name}: {metric}"
        assert labels <= SERVED[metric], f"{alert.name}: {metric} has no {labels - SERVED[metric]}"
    assert grouped(alert.expr) <= set().union(*(SERVED[metric] for metric, _ in used))


@each_alert
def test_the_runbook_says_what_to_do(alert):
    text = section(alert.name)

    assert alert.runbook == f"docs/runbook.md#{alert.name.lower()}"
    assert f"\n```promql\n{alert.expr}\n```\n" in text
    after = "at once" if alert.after == "0m" else f"after {alert.after}"
    assert f"\n{alert.severity}, {after}:\n" in text
    for part in ("Means", "See", "Do", "Escalate"):
        assert f"\n**{part}" in text, f"{alert.name}: {part}"


def test_the_runbook_knows_no_other_alerts():
    assert sorted(re.findall(r"^### (Fraud\w+)$", RUNBOOK, re.MULTILINE)) == sorted(alert.name for alert in ALERTS)


def test_metrics_that_the_runbook_names_exist():
    named = set(re.findall(r"\bfraud_\w+", RUNBOOK)) - {"fraud_labels"}

    assert named <= SERVED.keys() | {name.removesuffix("_bucket") for name in SERVED}


def test_every_label_has_few_fixed_values():
    for role, make in MADE.items():
        health = Health(role)
        make(health.registry)
        for family in health.registry.collect():
            assert len(family.samples) < 300, family.name
            names = {name for sample in family.samples for name in sample.labels}
            assert not names & {"card", "card_id", "transaction_id", "problem", "error", "merchant_id"}, family.name


@pytest.mark.parametrize("expr", ["sum(rate(fraud_late_total[5m])", "fraud_late_total)", "fraud_late_total{a=1]"])
def test_a_broken_expression_is_seen(expr):
    with pytest.raises(AssertionError):
        list(uses(expr))


def test_names_and_labels_are_read_out_of_an_expression():
    expr = 'histogram_quantile(0.99, sum by (le, job) (rate(a_bucket{x="1",y=~"b.*"}[5m]))) > 2 and c == 0'

    assert set(uses(expr)) == {("a_bucket", frozenset({"x", "y"})), ("c", frozenset())}
    assert grouped(expr) == {"le"}
