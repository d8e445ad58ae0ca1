"""The analysts' review screen, and who may use it."""

# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it, so that --help answers at once
from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from features.errors import ConfigError
from fraudstream.commands_roles import logged_settings

if TYPE_CHECKING:
    from console.users import User

_NEEDS: Final = ("argon2", "fastapi", "jinja2", "python_multipart", "uvicorn")

Name = Annotated[str, typer.Argument(help="Name of the user.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(console)
    users = typer.Typer(no_args_is_help=True, help="Who may use the console: entries of FRAUD_CONSOLE_USERS.")
    users.command()(add)
    users.command()(token)
    users.command()(remove)
    users.command("list")(list_users)
    app.add_typer(users, name="console-user")


def console() -> None:
    """Serve the review screen: queue, cases, overview, audit trail, and a JSON API.

    Needs FRAUD_CONSOLE_USERS, FRAUD_REDIS_URL, FRAUD_OPENSEARCH_URL and FRAUD_KAFKA_BOOTSTRAP. SIGTERM drains and
    ends it.

    Example: fraudstream console-user add ana --role analyst && fraudstream console
    """
    settings = logged_settings()
    _check_installed()
    from console.server import run_console

    raise typer.Exit(run_console(settings))


def add(
    name: Name,
    role: Annotated[
        Literal["viewer", "analyst", "admin"], typer.Option(help="Viewers read, analysts answer, admins oversee.")
    ] = "analyst",
) -> None:
    """Add a user, or give one another role and password; the password is asked for, or read from stdin.

    Example: fraudstream console-user add ana --role analyst
    """
    _check_installed()
    from console.users import User, checked_name, hash_password

    path, users = _users()
    known = users.get(checked_name(name))
    password = hash_password(_password())
    users[name] = User(role=role, password=password, tokens=() if known is None else known.tokens)
    _write(path, users)
    typer.echo(f"{name}: {role}, {'changed' if known is not None else 'added'} in {path}")


def token(name: Name) -> None:
    """Make an API token for a user and print it; it is shown this once, the file keeps its hash.

    Example: fraudstream console-user token ana
    """
    _check_installed()
    from msgspec.structs import replace

    from console.users import new_token

    path, users = _users()
    user = _known(users, name)
    made, digest = new_token()
    users[name] = replace(user, tokens=(*user.tokens, digest))
    _write(path, users)
    typer.echo(made)


def remove(name: Name) -> None:
    """Remove a user; their sessions and tokens end at once.

    Example: fraudstream console-user remove ana
    """
    _check_installed()
    path, users = _users()
    _known(users, name)
    if len(users) == 1:
        raise ConfigError(f"{name} is the last user; without any, the console does not start")
    del users[name]
    _write(path, users)
    typer.echo(f"{name}: removed from {path}")


def list_users() -> None:
    """Show the users and their roles.

    Example: fraudstream console-user list
    """
    _check_installed()
    _, users = _users()
    for name, user in sorted(users.items()):
        ways = [*(["password"] if user.password else []), *([f"{len(user.tokens)} tokens"] if user.tokens else [])]
        typer.echo(f"{name}\t{user.role}\t{', '.join(ways) or 'no login'}")


def _users() -> tuple[Path, dict[str, User]]:
    from console.users import read_users
    from streams.settings import load_settings

    path = Path(load_settings().console_users)
    return path, read_users(path) if path.exists() else {}


def _known(users: dict[str, User], name: str) -> User:
    if name not in users:
        raise ConfigError(f"FRAUD_CONSOLE_USERS: there is no user {name!r}")
    return users[name]


def _write(path: Path, users: dict[str, User]) -> None:
    from console.users import write_users

    write_users(path, users)


def _password() -> str:
    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    return sys.stdin.readline().rstrip("\r\n")


def _check_installed() -> None:
    missing = [name for name in _NEEDS if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"the console needs {', '.join(missing)}; install it with: pip install 'fraudstream[console]'"
        )
