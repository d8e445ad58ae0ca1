"""Thresholds by expected cost: the cheapest way for each transaction, and no more reviews than the queue holds."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.catalogue import FEATURE_NAMES
from scoring.dataset import load_dataset
from scoring.decision import decide, levels
from scoring.manifest import MANIFEST_FILE, Costs, Thresholds, decode_manifest
from scoring.model import Model
from scoring.rules.load import load_rules
from scoring.tradeoff import Rows, by_costs, html, parts, queue_worth, render, tradeoff
from tests.fraudstream.test_cli import run
from tests.properties import examples

AMOUNT = FEATURE_NAMES.index("amount")


def verdicts(
    probability: list[float], amount: list[float], costs: Costs, currency: list[str] | None = None
) -> list[str]:
    return decide(np.array(probability, np.float32), by_costs(costs), np.array(amount), currency)[1]


def test_the_amount_decides_together_with_the_probability():
    costs = Costs(review=4, decline=60)

    assert verdicts([0.5] * 4, [5, 7.9, 100, 1e6], costs) == ["approve", "approve", "review", "review"]
    assert verdicts([0.0078125, 0.0078125], [100, 1000], costs) == ["approve", "review"]
    # A review costs 4, a decline at 0.95 only 3.
    assert verdicts([0.95, 0.95], [2, 100], costs) == ["approve", "block"]


def test_what_a_review_does_not_save_speaks_for_blocking():
    assert verdicts([0.5], [1000], Costs(review=4, decline=60)) == ["review"]
    assert verdicts([0.5], [1000], Costs(review=4, decline=60, recovered=0.5)) == ["block"]


def test_currencies_have_their_rates():
    costs = Costs(review=4, decline=60, rates={"JPY": 0.0078125})

    assert verdicts([0.5] * 3, [500.0] * 3, costs, ["JPY", "EUR", "JPY"]) == ["approve", "review", "approve"]


def test_costs_need_amounts():
    with pytest.raises(ValueError, match="need the amounts"):
        decide(np.array([0.5], np.float32), by_costs(Costs(review=4, decline=60)))


@pytest.mark.parametrize(
    "wrong",
    [{"review": 0}, {"decline": -1}, {"queue": -1}, {"recovered": 0}, {"recovered": 1.5}, {"rates": {"JPY": 0}},
     {"review": float("nan")}],
)  # fmt: skip
def test_costs_that_are_none(wrong):
    with pytest.raises(ValueError, match="must be"):
        Costs(**({"review": 4, "decline": 60} | wrong))


probabilities = st.floats(0, 1, allow_nan=False)
transactions = st.lists(st.tuples(probabilities, st.floats(0.01, 5000)), min_size=1, max_size=40)


@examples(100)
@given(
    table=transactions,
    review=st.floats(0.5, 20),
    decline=st.floats(1, 200),
    recovered=st.floats(0.3, 1),
    capacity=st.integers(0, 40),
)
def test_the_queue_is_never_exceeded(table, review, decline, recovered, capacity):
    probability, amount = (np.array(column) for column in zip(*table, strict=True))
    costs = Costs(review, decline, recovered=recovered)
    rows = Rows(probability, amount, np.ones(len(table), np.bool_), 1.0)

    priced = msgspec.structs.replace(costs, queue=queue_worth(rows, costs, capacity))

    free = int(np.count_nonzero(levels(probability, by_costs(costs), amount) == 1))
    reviewed = levels(probability, by_costs(priced), amount) == 1
    assert reviewed.sum() <= capacity or _tied(rows, costs, priced)
    assert reviewed.sum() <= free


def _tied(rows: Rows, costs: Costs, priced: Costs) -> bool:
    """Whether several transactions gain as much by a review as a place is worth, but for rounding."""
    loss = rows.probability * rows.amount
    gain = np.minimum(loss, (1 - rows.probability) * costs.decline) - costs.review - (1 - costs.recovered) * loss
    return bool(np.count_nonzero(np.abs(gain - priced.queue) < 1e-6) > 1 or np.abs(gain - priced.queue).min() < 1e-6)


@pytest.mark.parametrize("capacity", range(9))
def test_the_places_go_to_those_who_gain_most(capacity):
    # A review of the half-certain gains half the amount without its price of 4.
    rows = Rows(np.full(8, 0.5), np.array([32.0, 16, 128, 64, 24, 48, 96, 12]), np.ones(8, np.bool_), 1.0)
    costs = Costs(review=4, decline=1024)

    priced = msgspec.structs.replace(costs, queue=queue_worth(rows, costs, capacity))

    reviewed = rows.amount[levels(rows.probability, by_costs(priced), rows.amount) == 1]
    assert sorted(reviewed, reverse=True) == sorted(rows.amount, reverse=True)[:capacity]


def test_no_other_way_is_cheaper():
    rng = np.random.default_rng(1)
    probability, amount = rng.random(500), rng.random(500) * 1000
    costs = Costs(review=4, decline=60, recovered=0.9)

    found = levels(probability, by_costs(costs), amount)

    for p, a, level in zip(probability, amount, found, strict=True):
        prices = [p * a, 4 + 0.1 * p * a, (1 - p) * 60]
        assert prices[level] == pytest.approx(min(prices))


def test_the_curve_of_a_model(model: Model, table):
    data = load_dataset(table)
    choose, judge = parts(data, model.predict(data.features), model.manifest)
    costs = Costs(review=4, decline=60)

    found = tradeoff(choose, judge, costs, 5.0, model.thresholds)

    assert len(judge.fraud) == model.manifest.split.test.rows
    assert len(choose.fraud) == model.manifest.split.validation.rows
    assert [point.reviews for point in found.points] == sorted(point.reviews for point in found.points)
    assert [point.queue for point in found.points] == sorted((p.queue for p in found.points), reverse=True)
    assert found.points[0].reviews == 0
    assert found.points[-1].queue == 0
    assert found.chosen.reviews == pytest.approx(5, rel=0.5)
    reviewed = levels(judge.probability, by_costs(found.costs), judge.amount)
    through = judge.amount[judge.fraud & (reviewed == 0)].sum()
    cost = through + 4 * (reviewed == 1).sum() + 60 * ((reviewed == 2) & ~judge.fraud).sum()
    assert found.chosen.cost == pytest.approx(cost / judge.days)
    assert found.chosen.cost < found.before.cost
    assert html(found).count("<svg") == 2
    assert render(found).row_count == len(found.points) + 2


def test_a_manifest_of_an_older_version_is_read(folder):
    raw = json.loads((folder / MANIFEST_FILE).read_bytes())
    del raw["thresholds"]["costs"]

    older = decode_manifest(json.dumps(raw).encode())

    assert older.version == Model.load(folder).version
    assert older.thresholds.costs is None


def test_costs_give_a_model_another_version(folder):
    manifest = Model.load(folder).manifest
    versions = {manifest.version}
    for costs in (Costs(4, 60), Costs(4, 61), Costs(4, 60, rates={"JPY": 0.01})):
        limits = msgspec.structs.replace(manifest.thresholds, costs=costs)
        changed = msgspec.structs.replace(manifest, thresholds=limits)
        versions.add(changed.version)
        assert decode_manifest(changed.encode()) == changed

    assert len(versions) == 4


def test_the_command_writes_what_it_found(folder, table, tmp_path):
    own = tmp_path / "model"
    own.mkdir()
    for file in folder.iterdir():
        (own / file.name).write_bytes(file.read_bytes())
    words = ("thresholds", "--history", "none", "--features", str(table), "--model", str(own), "--review-cost", "4")
    words += ("--decline-cost", "60", "--reviews-per-day", "3")

    looked = run(tmp_path, *words)
    assert looked.returncode == 0, looked.stderr
    assert Model.load(own).version == Model.load(folder).version
    done = run(tmp_path, *words, "--write-model", "--write-rules", "thresholds.yaml", "--html", "curve.html")

    assert done.returncode == 0, done.stderr
    costs = Model.load(own).thresholds.costs
    assert costs.queue > 0
    assert load_rules(tmp_path / "thresholds.yaml").thresholds == Thresholds(1.0, 1.0, costs=costs)
    assert "<svg" in (tmp_path / "curve.html").read_text()
    (tmp_path / "rules.yaml").write_text("rules: [{id: a, when: amount > 3, outcome: block, reason: r}]")
    refused = run(tmp_path, *words, "--write-rules", "rules.yaml")
    assert refused.returncode == 78
    assert "holds rules" in refused.stderr
