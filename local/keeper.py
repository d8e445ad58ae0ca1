"""Our end of the keeper: a tiny process per stack that starts the servers and stops them when we are gone."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

from local import keeper_main
from local.errors import LocalStackError

CLOSE_TIMEOUT_S = keeper_main.GRACE_S + 10.0
# Variables that would slip options or classes of the user's own into the servers' Java.
_NOT_INHERITED = ("CLASSPATH", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS")


class Keeper:
    """The keeper process of a stack; however this process ends, what the keeper started ends with it."""

    def __init__(self) -> None:
        environment = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
        self._process = subprocess.Popen(  # noqa: S603 - our own file
            [sys.executable, "-I", "-S", str(Path(keeper_main.__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,  # a Ctrl-C at the terminal is for us: we stop the servers in good order
        )
        self._lock = threading.Lock()

    def spawn(self, command: list[str], log: Path, directory: Path) -> int:
        """Start a server and return its process id.

        Args:
            command: program and arguments.
            log: file that takes its output, appended to.
            directory: its working directory.

        Raises:
            LocalStackError: the program cannot be started, or the keeper is dead.
        """
        request: dict[str, object] = {"command": command, "log": str(log), "cwd": str(directory)}
        with self._lock:
            try:
                self._send(request)
                answer = json.loads(self._pipe(self._process.stdout).readline() or b"{}")
            except (OSError, ValueError) as error:
                raise LocalStackError(f"the keeper process of the local servers has died: {error}") from error
        if "pid" not in answer:
            reason = answer.get("error", "the keeper process has died")
            raise LocalStackError(f"cannot start {command[0]}: {reason}")
        return int(answer["pid"])

    def release(self) -> None:
        """End the keeper and let its servers live on."""
        with self._lock:
            self._send({"release": True})
        self.close()

    def close(self) -> None:
        """End the keeper, and with it every server that it started and that still runs."""
        with contextlib.suppress(BrokenPipeError):  # if it died before us, there is nobody left to tell
            self._pipe(self._process.stdin).close()
        try:
            self._process.wait(CLOSE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._pipe(self._process.stdout).close()

    def _send(self, request: dict[str, object]) -> None:
        pipe = self._pipe(self._process.stdin)
        pipe.write(json.dumps(request).encode() + b"\n")
        pipe.flush()

    @staticmethod
    def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
        assert pipe is not None  # both were asked for
        return pipe
