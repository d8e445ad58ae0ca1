"""The native pieces that a role works with are the ones there are, and a checkout that was installed has them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
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


@pytest.mark.parametrize("compiler", ["false", "no-such-compiler"])
def test_without_a_compiler_nothing_is_built_and_nothing_fails(tmp_path: Path, compiler: str) -> None:
    """Nor does what an older source became pass for built."""
    shutil.copy(ROOT / "hatch_build.py", tmp_path)
    room = tmp_path / "features"
    room.mkdir()
    shutil.copy(ROOT / "features" / "_quiet.c", room)
    old = room / f"_quiet{sysconfig.get_config_var('EXT_SUFFIX')}"
    old.write_bytes(b"")
    program = "import hatch_build as h, pathlib as p; r = p.Path.cwd(); print(h._built(r / 'features/_quiet.c', r))"
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "CC": compiler}, cwd=tmp_path, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "None"
    assert "_quiet.c was not compiled" in done.stderr
    assert not old.exists()
