"""`fraudstream` commands as processes of their own, forked from one that has imported everything.

A command spends a second or two on imports, and the tests start some hundreds. What is forked is the same program: its
own arguments, environment, folder and output, real signals, real exit codes. Some tests of the command line itself
(`tests/fraudstream/test_cli.py`) start Python afresh.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[1]
_LEFT_OUT = ("sklearn", "opentelemetry")
_IMPORTED = (
    "fraudstream.cli", "streams.app", "streams.wired.score", "streams.wired.index", "streams.wired.alert",
    "streams.beside.make", "scoring.rules.load", "streams.repair.replay", "typer.rich_utils", "rich.markdown",
)  # fmt: skip
_REGISTRY = ("mlflow.store.db.utils", "mlflow.tracking")  # seconds of imports, for the commands of models alone
_REAP_S = 0.02


class Forked:
    """A running command; the part of `subprocess.Popen` that tests use."""

    def __init__(self, arguments: Sequence[str], env: Mapping[str, str], cwd: Path, out: int, err: int) -> None:
        self.args = ["fraudstream", *arguments]
        self.returncode: int | None = None
        self._line = socket.socket(socket.AF_UNIX)
        self._line.connect(_parent())
        request = {"arguments": list(arguments), "env": dict(env), "cwd": str(cwd)}
        socket.send_fds(self._line, [json.dumps(request).encode() + b"\n"], [out, err])
        self._answers = self._line.makefile()
        self.pid = int(self._answers.readline())

    def poll(self) -> int | None:
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            with selectors.DefaultSelector() as selector:
                selector.register(self._line, selectors.EVENT_READ)
                if not selector.select(timeout):
                    raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = int(self._answers.readline())
            self._answers.close()
            self._line.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def run(
    arguments: Sequence[str], env: Mapping[str, str], cwd: Path, timeout_s: float
) -> subprocess.CompletedProcess[str]:
    """A command from its start to its end."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        forked = Forked(arguments, env, cwd, out.fileno(), err.fileno())
        try:
            code = forked.wait(timeout_s)
        except subprocess.TimeoutExpired:
            forked.kill()
            raise
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(forked.args, code, out.read(), err.read())


@cache
def _parent() -> str:
    """The address of the process that forks; it ends with this one."""
    address = str(Path(tempfile.mkdtemp(prefix="forked-")) / "socket")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FRAUD_")}
    made = subprocess.Popen(
        [sys.executable, __file__, address], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=_ROOT,
        env={**clean, "PYTHONPATH": os.pathsep.join([str(_ROOT), clean.get("PYTHONPATH", "")])},
    )  # fmt: skip
    assert made.stdout is not None
    assert made.stdout.readline() == b"ready\n"
    made.stdout.close()

    def end() -> None:
        assert made.stdin is not None
        made.stdin.close()
        made.wait(10)

    atexit.register(end)
    return address


class _Parent:
    """Forks a process for each connection, and tells it the process id and, once it has ended, its exit code."""

    def __init__(self, address: str) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(address)
        self._listener.listen(16)
        self._children: dict[int, socket.socket] = {}

    def run(self) -> None:
        os.write(1, b"ready\n")
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(0, selectors.EVENT_READ)
            while True:
                ready = {key.fileobj for key, _ in selector.select(_REAP_S)}
                if 0 in ready:
                    return
                if self._listener in ready:
                    self._fork()
                self._reap()

    def _fork(self) -> None:
        line, _ = self._listener.accept()
        raw, (out, err), _, _ = socket.recv_fds(line, 1 << 20, 2)
        while not raw.endswith(b"\n"):
            raw += line.recv(1 << 20)
        request = json.loads(raw)
        if request["arguments"][:1] == ["model"]:
            _import_registry()
        pid = os.fork()
        if pid == 0:
            self._listener.close()
            for other in (line, *self._children.values()):
                other.close()
            _become(request, out, err)
        os.close(out)
        os.close(err)
        self._children[pid] = line
        line.sendall(f"{pid}\n".encode())

    def _reap(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            line = self._children.pop(pid)
            with suppress(BrokenPipeError):  # nobody waits for it any more
                line.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
            line.close()


@cache
def _import_registry() -> None:
    edge = importlib.import_module("lifecycle.mlflow_edge")
    os.environ.update(edge._ENVIRONMENT)  # it is looked at while importing
    del sys.modules["opentelemetry"]
    for module in _REGISTRY:
        importlib.import_module(module)


def _become(request: dict[str, Any], out: int, err: int) -> None:
    """Be the command, in the child; never returns."""
    nowhere = os.open(os.devnull, os.O_RDONLY)
    for descriptor, target in ((nowhere, 0), (out, 1), (err, 2)):
        os.dup2(descriptor, target)
    for descriptor in (nowhere, out, err):
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    sys.argv = ["fraudstream", *request["arguments"]]
    for module in _LEFT_OUT:  # by what was imported before; a command may need them
        if sys.modules[module] is None:
            del sys.modules[module]
    code: object = 0
    try:
        importlib.import_module("fraudstream.cli").main()
    except SystemExit as exc:
        code = exc.code
    except BaseException:  # noqa: BLE001 - as the interpreter itself would
        sys.excepthook(*sys.exc_info())
        code = 1
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            code = code or 120
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)


if __name__ == "__main__":
    for _module in _LEFT_OUT:
        sys.modules[_module] = None  # type: ignore[assignment]
    for _module in _IMPORTED:
        importlib.import_module(_module)
    _Parent(sys.argv[1]).run()
