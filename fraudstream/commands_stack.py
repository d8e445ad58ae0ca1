"""`fraudstream stack`: local Kafka, Redis and OpenSearch without containers."""

# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it, so that --help answers at once
from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

DIRECTORY = Path(".stack")

stack = typer.Typer(
    no_args_is_help=True,
    help="Local Kafka, Redis and OpenSearch without containers: for a look, for tests, for development.",
)

Directory = Annotated[Path, typer.Option(help="Folder of their data, logs and configuration.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Where it shall listen; 0: a free port.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(stack, name="stack")


@stack.command()
def up(
    directory: Directory = DIRECTORY,
    kafka_port: Port = 0,
    redis_port: Port = 0,
    opensearch_port: Annotated[
        int, typer.Option(min=0, max=9299, help="Where it shall listen, 9201 to 9299; 0: a free port.")
    ] = 0,
) -> None:
    """Start them, wait until they answer, leave them running.

    Example: fraudstream stack up && export $(fraudstream stack env)
    """
    from local import stack as servers

    state = servers.up(directory, kafka_port, redis_port, opensearch_port, progress=_say)
    _print_environment(state.env)


@stack.command()
def down(directory: Directory = DIRECTORY) -> None:
    """Stop them; data and logs stay.

    Example: fraudstream stack down
    """
    from local import stack as servers

    stopped = servers.down(directory)
    _say(f"stopped: {', '.join(stopped)}" if stopped else f"nothing was running in {directory}")


@stack.command()
def status(directory: Directory = DIRECTORY) -> None:
    """Show which of them run; ends with 1 where one does not.

    Example: fraudstream stack status
    """
    from local import stack as servers

    found = servers.status(directory)
    if not found:
        _say(f"nothing was started in {directory}; start it with: fraudstream stack up")
        raise typer.Exit(1)
    table = Table("server", "state", "pid", "address", "log", box=None, pad_edge=False)
    for name, server in found.items():
        state = "running" if server.running else "not running"
        table.add_row(name, state, str(server.pid), f"127.0.0.1:{server.port}", server.log)
    # A path that is cut at the edge of a narrow terminal helps nobody.
    Console(soft_wrap=True).print(table)
    if not all(server.running for server in found.values()):
        raise typer.Exit(1)


@stack.command()
def env(directory: Directory = DIRECTORY) -> None:
    """Print the variables that point every command at them, one a line.

    Example: export $(fraudstream stack env)
    """
    from local import stack as servers
    from local.errors import LocalStackError

    state = servers.load_state(directory)
    if state is None:
        raise LocalStackError(f"nothing was started in {directory}; start it with: fraudstream stack up")
    _print_environment(state.env)


def _print_environment(variables: dict[str, str]) -> None:
    for name, value in variables.items():
        typer.echo(f"{name}={shlex.quote(value)}")


def _say(line: str) -> None:
    """Lines for people go to stderr: stdout is for what a shell takes."""
    sys.stderr.write(f"{line}\n")
