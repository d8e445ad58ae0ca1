"""Models by name on one machine: what a link means, and that it moves in one step."""

from __future__ import annotations

import shutil
import threading

import pytest

from features.errors import ModelError
from scoring.manifest import MANIFEST_FILE, MODEL_FILE
from scoring.model import Model
from scoring.registry_uri import ModelName, check_folder, keep_copy, parse_uri, point, resolve_model

CHAMPION = ModelName("fraud", "champion")


@pytest.mark.parametrize("uri", ["models:/fraud@champion", "registry:champion", "registry:fraud@champion"])
def test_a_name_means_the_copy_that_its_link_points_at(uri, folder, tmp_path):
    copy = keep_copy(folder, tmp_path, "fraud-1-x")
    point(tmp_path, CHAMPION, copy)

    assert resolve_model(uri, tmp_path) == copy.resolve()
    assert Model.load(resolve_model(uri, tmp_path)).version == Model.load(folder).version


def test_a_folder_means_itself(tmp_path):
    assert resolve_model("some/model", tmp_path).as_posix() == "some/model"


@pytest.mark.parametrize("uri", ["models:/fraud", "models:/../x@y", "models:/fraud@", "registry:", "registry:a/b"])
def test_what_is_no_name_is_refused(uri):
    with pytest.raises(ModelError, match="no model of a registry"):
        parse_uri(uri)


def test_a_name_without_a_link_says_what_to_do(tmp_path):
    with pytest.raises(ModelError, match="fraudstream model pull"):
        resolve_model("registry:champion", tmp_path)


def test_a_damaged_model_is_not_kept(folder, tmp_path):
    damaged = tmp_path / "damaged"
    shutil.copytree(folder, damaged)
    (damaged / MODEL_FILE).write_bytes(b"something else")

    with pytest.raises(ModelError, match="SHA-256 differs"):
        keep_copy(damaged, tmp_path, "fraud-1-x")

    assert not list((tmp_path / "models").iterdir())


def test_a_copy_that_was_damaged_later_is_noticed(folder, tmp_path):
    copy = keep_copy(folder, tmp_path, "fraud-1-x")
    (copy / MODEL_FILE).write_bytes(b"something else")

    with pytest.raises(ModelError, match="SHA-256 differs"):
        keep_copy(folder, tmp_path, "fraud-1-x")


def test_whoever_asks_while_the_link_moves_finds_a_whole_model(folder, tmp_path):
    copies = [keep_copy(folder, tmp_path, name) for name in ("fraud-1-x", "fraud-2-y")]
    point(tmp_path, CHAMPION, copies[0])
    done, problems, seen = threading.Event(), [], set()

    def ask():
        while not done.is_set():
            try:
                found = resolve_model("registry:champion", tmp_path)
                seen.add(found)
                assert (found / MANIFEST_FILE).is_file()
            except (ModelError, AssertionError) as problem:
                problems.append(problem)

    asking = threading.Thread(target=ask)
    asking.start()
    for turn in range(2000):
        point(tmp_path, CHAMPION, copies[turn % 2])
    done.set()
    asking.join()

    assert not problems
    assert seen == {copy.resolve() for copy in copies}


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(ModelError, match="no model in"):
        check_folder(tmp_path)
