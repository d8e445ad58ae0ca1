"""Builds the native pieces of the rooms: each `<room>/_<name>.c` becomes the module beside it.

They are optional. Without a compiler or Python's headers the installation goes on and says so: every native piece has a
Python twin that gives the same answers, slower.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from setuptools import Distribution, Extension
from setuptools.command.build_ext import build_ext

_FLAGS = ["-O2", "-std=c11", "-Wall", "-Wextra", "-Werror=implicit-function-declaration"]


class NativeHook(BuildHookInterface):
    """Compiles before a wheel or an editable installation is made."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's signature
        """Compile what there is, in place."""
        root = Path(self.root)
        built = [path for source in sorted(root.glob("*/_*.c")) if (path := _built(source, root)) is not None]
        if built:
            build_data["pure_python"] = False
            build_data["infer_tag"] = True
            build_data["force_include"].update({str(path): str(path.relative_to(root)) for path in built})


def _built(source: Path, root: Path) -> Path | None:
    """The compiled module; None where it cannot be compiled."""
    name = f"{source.parent.name}.{source.stem}"
    extension = Extension(name, [str(source)], extra_compile_args=_FLAGS, optional=True)
    command = build_ext(Distribution({"name": "fraudstream", "ext_modules": [extension]}))
    command.inplace = True
    made = root / command.get_ext_filename(name)
    made.unlink(missing_ok=True)  # one of an older source must not pass for this one's
    with tempfile.TemporaryDirectory() as folder:
        command.build_lib = command.build_temp = folder
        command.ensure_finalized()
        command.run()
    if made.exists():
        return made
    sys.stderr.write(f"{source.name} was not compiled, its Python twin serves instead\n")
    return None
