"""A model folder that is right serves; one that is not is refused in one line."""

from __future__ import annotations

import hashlib
import json
import shutil

import numpy as np
import pytest
import xgboost as xgb

from features.catalogue import FEATURE_NAMES, FEATURE_SET
from features.errors import ModelError
from scoring.decision import decide
from scoring.model import Model


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "model")


def edit(folder, change):
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def test_a_probability_does_not_depend_on_the_batch(model, rows):
    # The most suspicious rows, so that they differ.
    batch = rows[np.argsort(model.predict(rows))[-500:]]
    together = model.predict(batch)
    one_by_one = np.concatenate([model.predict(batch[i : i + 1]) for i in range(len(batch))])
    assert together.dtype == np.float32
    assert together.tobytes() == one_by_one.tobytes()
    assert model.predict(batch[::-1])[::-1].tobytes() == together.tobytes()
    assert len(np.unique(together)) > 10


def test_an_empty_batch_has_no_probabilities(model):
    nothing = np.empty((0, len(FEATURE_NAMES)))
    assert model.predict(nothing).shape == (0,)
    assert model.contributions(nothing).shape == (0, len(FEATURE_NAMES) + 1)


def test_contributions_add_up_to_the_log_odds(model, rows):
    probability = model.raw(rows[:2_000]).astype(np.float64)
    contributions = model.contributions(rows[:2_000])
    assert contributions.shape == (2_000, len(FEATURE_NAMES) + 1)
    log_odds = np.log(probability / (1 - probability))
    np.testing.assert_allclose(contributions.sum(axis=1), log_odds, atol=1e-3)


def test_a_loaded_model_is_the_trained_one(model, folder):
    assert Model.load(folder).version == model.version
    assert model.version.startswith("xgb-")
    assert model.manifest.feature_set == FEATURE_SET
    assert 0 < model.thresholds.review <= model.thresholds.block


def test_the_version_follows_trees_and_thresholds(model, copy):
    edit(copy, lambda manifest: manifest["thresholds"].update(block=0.999))
    assert Model.load(copy).version != model.version


@pytest.mark.parametrize("amount", [100.0, 25.0, 64.5])
def test_a_new_cards_first_purchase_is_approved(model, new_card, amount):
    _, verdicts = decide(model.predict(new_card(amount)), model.thresholds)
    assert verdicts == ["approve"]


def damage_nothing_there(folder):
    shutil.rmtree(folder)


def damage_no_trees(folder):
    (folder / "model.ubj").unlink()


def damage_cut_trees(folder):
    path = folder / "model.ubj"
    path.write_bytes(path.read_bytes()[:-100])


def damage_flipped_bit(folder):
    path = folder / "model.ubj"
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def damage_other_trees(folder):
    """A sound model, but not the one of the manifest."""
    path = folder / "model.ubj"
    booster = xgb.Booster(model_file=path)
    path.write_bytes(booster[:50].save_raw("ubj"))


def damage_trees_that_are_none(folder):
    raw = b"not a model"
    (folder / "model.ubj").write_bytes(raw)
    edit(folder, lambda manifest: manifest.update(model_sha256=hashlib.sha256(raw).hexdigest()))


def damage_cut_manifest(folder):
    path = folder / "manifest.json"
    path.write_bytes(path.read_bytes()[:200])


def damage_manifest_is_a_list(folder):
    (folder / "manifest.json").write_text("[]")


def damage_manifest_is_binary(folder):
    (folder / "manifest.json").write_bytes(b"\xff\xfe\x00")


def damage_manifest_is_a_folder(folder):
    (folder / "manifest.json").unlink()
    (folder / "manifest.json").mkdir()


def damage_threshold_is_text(folder):
    edit(folder, lambda manifest: manifest["thresholds"].update(review="low"))


def damage_thresholds_are_swapped(folder):
    edit(folder, lambda manifest: manifest["thresholds"].update(review=0.9, block=0.1))


def damage_later_format(folder):
    edit(folder, lambda manifest: manifest.update(format=2))


def damage_other_feature_set(folder):
    edit(folder, lambda manifest: manifest.update(feature_set="fs-other"))


def damage_other_order(folder):
    edit(folder, lambda manifest: manifest["features"].reverse())


def damage_other_dtype(folder):
    edit(folder, lambda manifest: manifest["features"][0].update(dtype="float64"))


def damage_one_feature_less(folder):
    edit(folder, lambda manifest: manifest["features"].pop())


@pytest.mark.parametrize(
    "damage", [function for name, function in sorted(globals().items()) if name.startswith("damage_")]
)
def test_a_damaged_folder_is_refused_in_one_line(copy, damage):
    damage(copy)
    with pytest.raises(ModelError) as caught:
        Model.load(copy)
    message = str(caught.value)
    assert message.startswith("FRAUD_MODEL: ")
    assert "fraudstream train" in message
    assert str(copy) in message
    assert "\n" not in message
