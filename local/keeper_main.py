"""The keeper process: parent of the servers, and their end when its own parent is gone.

Run by path, with the standard library alone, so that it starts in a few milliseconds. Reads one JSON object a line:
`{"command": [...], "log": path, "cwd": path}` starts a server and answers `{"pid": n}` or `{"error": text}`;
`{"release": true}` lets the servers live on and ends the keeper. The end of its input, or of its parent, ends them.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

GRACE_S = 3.0
POLL_S = 0.5


def spawn(request: dict[str, object], children: list[subprocess.Popen[bytes]]) -> dict[str, object]:
    """Start the command that a request names; its output goes to the end of the log."""
    command = [str(word) for word in request["command"]]  # type: ignore[attr-defined]
    try:
        with Path(str(request["log"])).open("ab") as log:
            child = subprocess.Popen(  # noqa: S603 - what our own parent asks for
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=str(request["cwd"]),
                start_new_session=True,
            )
    except OSError as error:
        return {"error": str(error)}
    children.append(child)
    return {"pid": child.pid}


def stop_all(children: list[subprocess.Popen[bytes]]) -> None:
    """End every child: politely, then not."""
    for child in children:
        if child.poll() is None:
            child.terminate()
            child.send_signal(signal.SIGCONT)
    for child in children:
        try:
            child.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def main() -> None:
    """Serve requests until released, or until the parent is gone."""
    parent = os.getppid()
    children: list[subprocess.Popen[bytes]] = []
    buffer = b""
    # A fork of the parent may hold the other end of the pipe open for longer than the parent lives.
    while os.getppid() == parent:
        for child in children:
            child.poll()  # so that a dead server does not stay a zombie
        if not select.select([0], [], [], POLL_S)[0]:
            continue
        chunk = os.read(0, 65_536)
        if not chunk:
            break
        *lines, buffer = (buffer + chunk).split(b"\n")
        for line in lines:
            request = json.loads(line)
            if request.get("release"):
                os._exit(0)
            sys.stdout.write(json.dumps(spawn(request, children)) + "\n")
            sys.stdout.flush()
    stop_all(children)


if __name__ == "__main__":
    main()
