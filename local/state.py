"""The note of which servers an `up` left running."""

from __future__ import annotations

from pathlib import Path

import msgspec

from local.errors import LocalStackError
from local.process import Identity

_FILE = "state.json"


class ServerState(msgspec.Struct, frozen=True):
    """One running server.

    Attributes:
        identity: its process.
        port: where it listens on the loopback address.
        log: path of the file with its output.
    """

    identity: Identity
    port: int
    log: str


class State(msgspec.Struct, frozen=True):
    """Everything that `down`, `status` and `env` need.

    Attributes:
        env: the variables that point at the servers.
        servers: by service name.
    """

    env: dict[str, str]
    servers: dict[str, ServerState]


def save_state(directory: Path, state: State) -> None:
    """Write the note, whole or not at all."""
    part = directory / f"{_FILE}.part"
    part.write_bytes(msgspec.json.format(msgspec.json.encode(state), indent=1))
    part.replace(directory / _FILE)


def load_state(directory: Path) -> State | None:
    """Return the note, or None where nothing was left running.

    Raises:
        LocalStackError: the note cannot be read.
    """
    file = directory / _FILE
    try:
        return msgspec.json.decode(file.read_bytes(), type=State)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise LocalStackError(f"cannot read {file}: {error}; stop the servers by hand and remove it") from error


def forget_state(directory: Path) -> None:
    """Remove the note."""
    (directory / _FILE).unlink(missing_ok=True)
