"""The review console of a demo that is left running: a user, a port, a process."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Final

import msgspec

from local.demo_processes import Role, run_command
from local.keeper import Keeper
from local.ports import HOST, free_port

_NAME: Final = "demo"


class Login(msgspec.Struct, frozen=True):
    """Where the console is, and who may enter."""

    url: str
    name: str
    password: str


def console_variables(folder: Path) -> dict[str, str]:
    """Where the console shall be, for it and for the dashboards that link to it."""
    port = str(free_port())
    return {
        "FRAUD_CONSOLE_USERS": str(folder / "console-users.yaml"),
        "FRAUD_CONSOLE_PORT": port,
        "FRAUD_CONSOLE_URL": f"http://{HOST}:{port}",
    }


def start_console(keeper: Keeper, variables: dict[str, str], folder: Path) -> tuple[Role, Login]:
    """Make a user and start the console.

    Raises:
        DemoError: a command failed, or it is not ready in time.
    """
    password = secrets.token_urlsafe(9)
    words = ["console-user", "add", _NAME, "--role", "admin"]
    run_command(words, variables, folder, show=False, columns=100, stdin=f"{password}\n")
    role = Role("console", keeper, variables, folder)
    role.wait_ready()
    return role, Login(variables["FRAUD_CONSOLE_URL"], _NAME, password)
