"""The demo that is left running: what `make up` leaves and `make down` stops."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console

from local import process as processes
from local import stack as servers
from local.demo_console import Login
from local.demo_processes import Role
from local.errors import LocalStackError
from local.keeper import Keeper
from local.process import Identity
from local.stack import Stack

_NOTE: Final = "demo.json"


class _RunningRole(msgspec.Struct, frozen=True):
    identity: Identity
    url: str


class _Note(msgspec.Struct, frozen=True):
    """What runs: the roles by name, the variables that point at everything, and the way into the console."""

    roles: dict[str, _RunningRole]
    variables: dict[str, str]
    login: Login | None = None


def home() -> Path:
    """`.stack` of the checkout, or of the working directory where this is none."""
    root = Path(__file__).resolve().parent.parent
    return (root if (root / "pyproject.toml").is_file() else Path.cwd()) / ".stack"


def fresh_folder() -> Path:
    """The folder of the kept demo, empty; what an earlier one left behind is stopped and removed."""
    stop()
    folder = _folder()
    folder.mkdir(parents=True)
    return folder


def is_running() -> bool:
    """Say whether a kept demo runs, all of it."""
    note = _note()
    if note is None or any(processes.find(role.identity) is None for role in note.roles.values()):
        return False
    return all(server.running for server in servers.status(_folder() / "servers").values())


def keep(stack: Stack, keeper: Keeper, roles: list[Role], variables: dict[str, str], login: Login) -> None:
    """Let servers and roles live on, and write down what runs."""
    running = {role.name: _RunningRole(processes.identify(role.process), role.url) for role in roles}
    file = _folder() / _NOTE
    file.touch(mode=0o600)  # it holds the key of the card-number tokens, and a password
    file.write_bytes(msgspec.json.encode(_Note(running, variables, login)))
    keeper.release()
    stack.detach()


def stop() -> list[str]:
    """Stop the kept demo, remove its folder, and return the names of what was running."""
    note, folder = _note(), _folder()
    found = {} if note is None else {name: processes.find(role.identity) for name, role in note.roles.items()}
    running = {name: process for name, process in found.items() if process is not None}
    processes.stop(list(running.values()))
    stopped = [*running, *servers.down(folder / "servers")]
    shutil.rmtree(folder, ignore_errors=True)
    return stopped


def print_addresses(console: Console) -> None:
    """Print where everything is, and what to do with it."""
    note = _note()
    if note is None:
        raise LocalStackError("no demo is running; start it with: make up")
    exports = _folder() / "env"
    exports.touch(mode=0o600)
    exports.write_text("".join(f"export {name}={shlex.quote(value)}\n" for name, value in note.variables.items()))
    opensearch = note.variables["FRAUD_OPENSEARCH_URL"]
    lines = [
        "",
        "[bold]Running until `make down`:[/bold]",
        f"  Kafka       {note.variables['FRAUD_KAFKA_BOOTSTRAP']}",
        f"  Redis       {note.variables['FRAUD_REDIS_URL']}",
        f"  OpenSearch  {opensearch}",
        *(f"  {name:<11} {role.url}/health and /metrics" for name, role in note.roles.items()),
        *_entrance(note.login),
        "[bold]Try:[/bold]",
        f"  source {exports}",
        "  .venv/bin/fraudstream simulate --rate 50",
        f"  curl '{opensearch}/processed_transactions/_search?q=fraud.outcome:block&size=1&pretty'",
    ]
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)


def login() -> Login:
    """The way into the console of the kept demo; raises LocalStackError where none runs."""
    note = _note()
    if note is None or note.login is None:
        raise LocalStackError("no demo is running; start it with: make up")
    return note.login


def _entrance(login: Login | None) -> list[str]:
    if login is None:
        return []
    return [f"[bold]Review console:[/bold] {login.url}   name: {login.name}   password: {login.password}"]


def _folder() -> Path:
    return home() / "up"


def _note() -> _Note | None:
    file = _folder() / _NOTE
    try:
        return msgspec.json.decode(file.read_bytes(), type=_Note)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise LocalStackError(
            f"cannot read {file}: {error}; stop the processes by hand and remove its folder"
        ) from error
