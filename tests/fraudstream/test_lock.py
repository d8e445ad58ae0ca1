"""The lock holds everything that pyproject.toml asks for, in a version that it allows, by its hash."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
LOCK = (ROOT / "requirements.lock").read_text()
PINS = {
    canonicalize_name(name): Version(version)
    for name, version in re.findall(r"(?m)^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", LOCK)
}


def asked_for() -> list[str]:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = pyproject["project"]
    extras = project["optional-dependencies"]
    optional = [*extras["local"], *extras["train"], *extras["console"]]
    return [*project["dependencies"], *optional, *pyproject["dependency-groups"]["dev"]]


@pytest.mark.parametrize("text", asked_for())
def test_what_is_asked_for_is_locked_in_a_version_that_will_do(text):
    requirement = Requirement(text)

    pinned = PINS.get(canonicalize_name(requirement.name))
    assert pinned is not None, f"{requirement.name} is not in requirements.lock; run: make lock"
    assert pinned in requirement.specifier, f"{requirement.name} {pinned} is locked; run: make lock"


def test_every_locked_package_has_a_hash():
    blocks = re.split(r"(?m)^(?=[A-Za-z0-9._-]+(?:\[[^\]]*\])?==)", LOCK)[1:]

    assert len(blocks) == len(re.findall(r"(?m)^\S+==", LOCK)) > 50
    assert all("--hash=sha256:" in block for block in blocks)


def test_the_lock_names_no_package_index():
    assert "://" not in LOCK
