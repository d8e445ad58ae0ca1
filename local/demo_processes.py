"""The demo's processes: `fraudstream` commands that find everything by FRAUD_* variables alone."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import ClassVar, Final

import psutil

from local import process as processes
from local.errors import LocalStackError
from local.keeper import Keeper
from local.ports import HOST, free_port

_READY_S: Final = 90.0
_POLL_S: Final = 0.1
_PREFIX: Final = "FRAUD_"


class DemoError(LocalStackError):
    """The demo did not show what it must; the message says what."""

    exit_code: ClassVar[int] = 1


def run_command(
    words: list[str], variables: dict[str, str], folder: Path, *, show: bool, columns: int, stdin: str = ""
) -> None:
    """Run a `fraudstream` command to its end.

    Args:
        words: the command and its options.
        variables: the FRAUD_* variables; those of our own environment do not count.
        folder: where it runs.
        show: whether its output is for people to see, or only where it fails.
        columns: width of what it prints.
        stdin: what it reads.

    Raises:
        DemoError: it ended with another code than 0.
    """
    environment = _without_ours() | variables | {"COLUMNS": str(columns)}
    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "fraudstream", *words],
        env=environment,
        cwd=folder,
        input=stdin,
        stdout=None if show else subprocess.PIPE,
        stderr=None if show else subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        said = "" if show else f":\n{done.stdout}"
        raise DemoError(f"`fraudstream {shlex.join(words)}` ended with {done.returncode}{said}")


def ask_command(words: list[str], variables: dict[str, str], folder: Path, *, code: int = 0) -> bytes:
    """Run a `fraudstream` command to its end; returns what it wrote to stdout.

    Args:
        words: the command and its options.
        variables: the FRAUD_* variables; those of our own environment do not count.
        folder: where it runs.
        code: what it must end with.

    Raises:
        DemoError: it ended with another code.
    """
    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "fraudstream", *words],
        env=_without_ours() | variables,
        cwd=folder,
        capture_output=True,
        check=False,
    )
    if done.returncode != code:
        said = (done.stdout + done.stderr).decode(errors="replace")
        raise DemoError(f"`fraudstream {shlex.join(words)}` ended with {done.returncode}, not {code}:\n{said}")
    return done.stdout


class Role:
    """A role in its own process, which ends with us unless the keeper lets it go."""

    def __init__(self, name: str, keeper: Keeper, variables: dict[str, str], folder: Path) -> None:
        """Start it.

        Args:
            name: `score` or `index`.
            keeper: its parent.
            variables: the FRAUD_* variables.
            folder: where it runs, and its log is.
        """
        self.name = name
        self.port = free_port()
        self.log = folder / f"{name}.log"
        mine = {**variables, "FRAUD_HTTP_PORT": str(self.port)}
        env = shutil.which("env") or "env"
        forgotten = [word for variable in os.environ if variable.startswith(_PREFIX) for word in ("-u", variable)]
        settings = [f"{variable}={value}" for variable, value in mine.items()]
        command = [env, *forgotten, *settings, sys.executable, "-m", "fraudstream", name]
        self.process = psutil.Process(keeper.spawn(command, self.log, folder))

    @property
    def url(self) -> str:
        """Where it answers to questions about its health."""
        return f"http://{HOST}:{self.port}"

    def wait_ready(self) -> None:
        """Wait until it says that it is ready.

        Raises:
            DemoError: it ended, or is not ready in time.
        """
        deadline_s = time.monotonic() + _READY_S
        while not self._is_ready():
            if not processes.is_alive(self.process):
                raise DemoError(f"`fraudstream {self.name}` ended; its last lines:\n{processes.tail(self.log)}")
            if time.monotonic() > deadline_s:
                raise DemoError(
                    f"`fraudstream {self.name}` is not ready after {_READY_S:.0f} s; its last lines:\n"
                    f"{processes.tail(self.log)}"
                )
            time.sleep(_POLL_S)

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=2) as answer:  # noqa: S310 - our own address
                return bool(json.load(answer)["ready"])
        except (urllib.error.URLError, OSError):
            return False  # not listening yet, or 503: not ready


def _without_ours() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(_PREFIX)}
