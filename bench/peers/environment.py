"""An environment of its own for each framework, made when it is first needed and kept until its pins change.

`requirements/<name>.txt` holds the pins with their hashes; written anew from `requirements/<name>.in` by

    uv pip compile bench/peers/requirements/<name>.in --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-annotate --output-file bench/peers/requirements/<name>.txt
"""

from __future__ import annotations

import hashlib
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bench.lab import ROOT, BenchError

_HERE: Final = Path(__file__).resolve().parent
_FOLDER: Final = ROOT / ".stack" / "peers"
_PIN: Final = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)", re.MULTILINE)
_STAMP: Final = "installed"
_TIMEOUT_S: Final = 600


def python_of(name: str, say: Callable[[str], None]) -> Path:
    """The interpreter of an environment, which is made where it is missing.

    Raises:
        BenchError: it cannot be made; what pip said last is in the text.
    """
    pins = _pins(name)
    key = hashlib.sha256(f"{platform.python_version()}\n{pins.read_text()}".encode()).hexdigest()[:12]
    folder = _FOLDER / f"{name}-{key}"
    python = folder / "bin" / "python"
    if not (folder / _STAMP).is_file():
        say(f"installing the packages of {name}, once ...")
        shutil.rmtree(folder, ignore_errors=True)
        _run([sys.executable, "-m", "venv", str(folder)], name)
        install = ["-m", "pip", "install", "--no-input", "--quiet", "--disable-pip-version-check", "--require-hashes"]
        _run([str(python), *install, "-r", str(pins)], name)
        (folder / _STAMP).touch()
    return python


def pinned(name: str, package: str) -> str:
    """The version of a package that an environment's pins name.

    >>> pinned("quix", "confluent-kafka") < "2.13"
    True
    """
    found: dict[str, str] = dict(_PIN.findall(_pins(name).read_text()))
    return found[package]


def _pins(name: str) -> Path:
    return _HERE / "requirements" / f"{name}.txt"


def _run(command: list[str], name: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)  # noqa: S603 - ours
    except subprocess.TimeoutExpired as exc:
        raise BenchError(f"the packages of {name} were not installed within {_TIMEOUT_S} s") from exc
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-8:])
        raise BenchError(f"the packages of {name} cannot be installed:\n{said}")
