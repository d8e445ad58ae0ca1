"""The native pieces that a role works with are the ones there are, and a checkout that was installed has them."""

from __future__ import annotations

import shutil
import sysconfig
from pathlib import Path

import pytest

from features.native import missing
from streams.wired.score import NATIVE

ROOT = Path(__file__).resolve().parents[1]


def test_every_piece_is_named() -> None:
    sources = {f"{path.parent.name}.{path.stem}" for path in ROOT.glob("*/_*.c")}
    assert set(NATIVE) == sources


@pytest.mark.skipif(
    shutil.which("cc") is None or not Path(sysconfig.get_paths()["include"], "Python.h").exists(),
    reason="nothing to compile with here",
)
def test_an_installed_checkout_has_them() -> None:
    assert missing(NATIVE) == []
