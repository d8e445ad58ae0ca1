"""The registry: what is kept of a model, who holds which name, and the gates before one decides."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest
import yaml

from features.catalogue import FEATURE_NAMES
from features.errors import ConfigError, HistoryError, ModelError, PromotionRefused, ServerUnavailable
from lifecycle.gates import Gate, cost_gate, measured_on, metric_gates, sample_rows
from lifecycle.plan import Gates
from lifecycle.promotion import Decision, promote, roll_back
from lifecycle.registry import CHALLENGER, CHAMPION, PREVIOUS, Registry
from scoring.manifest import MANIFEST_FILE, MODEL_FILE
from scoring.model import Model
from scoring.registry_uri import resolve_model

NOW_MS = 1_780_000_000_000
PASSED = [Gate("one", passed=True, told="fine")]
FAILED = [*PASSED, Gate("two", passed=False, told="0.1, the champion 0.2")]


@pytest.fixture(scope="module")
def registry(story, tmp_path_factory) -> Registry:
    """Two models: the champion, and its challenger."""
    made = Registry("", tmp_path_factory.mktemp("registry"))
    assert made.versions() == []
    assert made.holder(CHAMPION) is None
    for folder, alias in ((story.champion, CHAMPION), (story.challenger, CHALLENGER)):
        made.call(alias, made.register(folder, ruleset="rules-1", extra={"note": alias}))
    return made


@pytest.fixture
def fresh(registry, tmp_path) -> Registry:
    """A copy of it, to be changed."""
    shutil.copytree(registry.folder, tmp_path / "registry", symlinks=True)
    return Registry("", tmp_path / "registry")


def champion_on_disk(registry: Registry) -> str:
    return Model.load(resolve_model("models:/fraud@champion", registry.folder)).version


def test_everything_that_is_known_of_a_model_is_kept(registry, story):
    manifest = Model.load(story.champion).manifest

    one = registry.find(CHAMPION)

    assert (one.number, one.model, one.aliases) == (1, manifest.version, (CHAMPION,))
    assert one.tags["data"] == manifest.data_fingerprint
    assert one.tags["feature_set"] == manifest.feature_set
    assert one.tags["ruleset"] == "rules-1"
    assert one.tags["code"].startswith("0.")
    assert one.tags["note"] == CHAMPION
    assert registry.metrics(one)["average_precision"] == pytest.approx(manifest.metrics.average_precision)
    folder = registry.fetch(one)
    assert {MODEL_FILE, MANIFEST_FILE, "reference.json", "MLmodel"} <= {file.name for file in folder.iterdir()}
    signed = yaml.safe_load((folder / "MLmodel").read_text())["signature"]
    assert [column["name"] for column in json.loads(signed["inputs"])] == list(FEATURE_NAMES)


def test_a_model_is_found_by_alias_number_and_version(registry):
    one = registry.find("1")

    assert registry.find(CHAMPION) == registry.find(one.model) == registry.find("v1") == one
    with pytest.raises(ModelError, match="model list"):
        registry.find("7")


def test_a_copy_that_is_gone_is_taken_from_the_registry_again(fresh):
    wanted = champion_on_disk(fresh)
    shutil.rmtree(fresh.folder / "models")
    (fresh.folder / "fraud@champion").unlink()

    moved = fresh.pull()

    assert set(moved) == {CHAMPION}  # the other's link is whole again with its copy
    assert champion_on_disk(fresh) == wanted
    assert Model.load(resolve_model("registry:challenger", fresh.folder)).version != wanted
    assert fresh.pull() == {}


def test_a_model_that_was_damaged_in_the_registry_is_not_taken(fresh):
    shutil.rmtree(fresh.folder / "models")
    one = fresh.find("1")
    kept = Path(fresh._client.get_run(one.run_id).info.artifact_uri.removeprefix("file://")) / "model" / MODEL_FILE
    raw = kept.read_bytes()
    kept.write_bytes(b"something else")
    try:
        with pytest.raises(ModelError, match="SHA-256 differs"):
            fresh.fetch(one)
    finally:
        kept.write_bytes(raw)


def test_a_folder_that_is_no_model_is_not_registered(registry, tmp_path):
    with pytest.raises(ModelError, match="no model in"):
        registry.register(tmp_path, ruleset="none")

    assert len(registry.versions()) == 2


def test_promotion_moves_the_names_and_is_recorded(fresh):
    before, after = fresh.find(CHAMPION), fresh.find(CHALLENGER)

    decision = promote(fresh, after, PASSED, now_ms=NOW_MS)

    assert decision.accepted
    assert decision.replaced == before.number
    assert champion_on_disk(fresh) == after.model
    assert fresh.find(str(before.number)).aliases == (CHALLENGER, PREVIOUS)
    tags = fresh.find(CHAMPION).tags
    assert tags["decision"] == "promoted"
    assert msgspec.json.decode(tags["gates"], type=list[Gate]) == PASSED


def test_a_gate_that_is_not_passed_changes_nothing_but_is_recorded(fresh):
    before = champion_on_disk(fresh)

    with pytest.raises(PromotionRefused, match="two not passed"):
        promote(fresh, fresh.find(CHALLENGER), FAILED, now_ms=NOW_MS)

    assert champion_on_disk(fresh) == before
    assert fresh.find(CHALLENGER).tags["decision"] == "refused"


def test_force_needs_a_reason_and_keeps_it(fresh):
    decision = promote(fresh, fresh.find(CHALLENGER), FAILED, now_ms=NOW_MS, force="an attack is running")

    assert isinstance(decision, Decision)
    assert decision.forced == "an attack is running"
    assert fresh.find(CHAMPION).tags["forced"] == "an attack is running"


def test_rolling_back_twice_is_where_one_was(fresh):
    one, two = fresh.find(CHAMPION), fresh.find(CHALLENGER)
    promote(fresh, two, PASSED, now_ms=NOW_MS)

    now, before = roll_back(fresh, now_ms=NOW_MS, reason="false alarms")

    assert (now.number, before.number) == (one.number, two.number)
    assert champion_on_disk(fresh) == one.model
    assert fresh.find(str(two.number)).tags["rolled_back_for"] == "false alarms"
    roll_back(fresh, now_ms=NOW_MS, reason="")
    assert champion_on_disk(fresh) == two.model


def test_there_is_nothing_to_go_back_to_at_first(registry):
    with pytest.raises(ModelError, match="no champion before"):
        roll_back(registry, now_ms=NOW_MS, reason="")


def test_the_champion_is_not_promoted_again(fresh):
    with pytest.raises(ModelError, match="champion already"):
        promote(fresh, fresh.find(CHAMPION), PASSED, now_ms=NOW_MS)


def test_a_registry_that_is_away_says_which_variable_and_no_password(tmp_path):
    with pytest.raises(ServerUnavailable, match="FRAUD_REGISTRY") as told:
        Registry("http://worker:s3cret@127.0.0.1:9", tmp_path).versions()

    assert "s3cret" not in str(told.value)


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(ConfigError, match="FRAUD_REGISTRY_DIR"):
        Registry("", tmp_path / "file" / "registry")


@pytest.mark.parametrize(("new", "passed"), [(0.50, True), (0.491, True), (0.489, False)])
def test_a_metric_may_fall_by_so_much_and_no_more(new, passed):
    (gate,) = metric_gates(Gates(metrics={"a": 0.01}), {"a": new}, {"a": 0.5}, "here")

    assert gate.passed is passed


def test_a_metric_that_nobody_measured_fails_and_names_those_that_are():
    (gate,) = metric_gates(Gates(metrics={"typo": 0.01}), {"a": 1.0}, None, "")

    assert not gate.passed
    assert gate.told.endswith("measured were a")


def test_both_models_are_measured_on_rows_that_neither_has_learned_from(story, champion, challenger, tmp_path):
    story.table.drop("ms").write_parquet(tmp_path / "all.parquet")

    figures, told = measured_on(tmp_path / "all.parquet", {"old": champion, "new": challenger})

    assert challenger.manifest.split.validation.stop[:10] in told
    assert figures["new"]["average_precision"] > figures["old"]["average_precision"]


def test_a_history_that_ends_too_early_is_refused(story, champion, challenger, tmp_path):
    story.days(0, 80).drop("ms").write_parquet(tmp_path / "early.parquet")

    with pytest.raises(HistoryError, match="give a later one"):
        measured_on(tmp_path / "early.parquet", {"old": champion, "new": challenger})


class Slow:
    """A model that takes some times as long, by a clock that only it moves."""

    def __init__(self, us: float, clock: list[float]):
        self.us, self.clock = us, clock

    def predict(self, x):
        self.clock[0] += self.us * 1e-6 * len(x)


@pytest.mark.parametrize(
    ("us", "champion_us", "passed"), [(14, 10, True), (16, 10, False), (19, None, True), (21, None, False)]
)
def test_a_prediction_may_cost_so_much_more(us, champion_us, passed):
    clock = [0.0]
    old = None if champion_us is None else Slow(champion_us, clock)

    gate = cost_gate(Gates(), Slow(us, clock), old, np.ones((500, 3)), lambda: clock[0])

    assert gate.passed is passed


def test_the_load_test_runs_on_rows_like_those_of_training(story, champion):
    rows = sample_rows(story.champion, seed=1)

    assert rows.shape == (500, len(FEATURE_NAMES))
    assert np.isfinite(rows).all()
    gate = cost_gate(Gates(predict_cost_ratio=50), champion, champion, rows, time.perf_counter)
    assert gate.passed
    assert sample_rows(story.champion.parent, seed=1).shape == rows.shape
    assert isinstance(story.table, pl.DataFrame)
