"""The `fraudstream` command: every command in its place, and every expected failure as one clear line."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from features.errors import FraudstreamError
from features.pan import scrub
from fraudstream import (
    commands_alert,
    commands_console,
    commands_dlq,
    commands_explain,
    commands_history,
    commands_indices,
    commands_lists,
    commands_model,
    commands_promotion,
    commands_reload,
    commands_repair,
    commands_retrain,
    commands_roles,
    commands_rules,
    commands_security,
    commands_stack,
    commands_state,
    commands_thresholds,
    commands_traffic,
    commands_train,
    commands_watch,
)
from fraudstream.terminal import keep_standard_streams, say
from local.errors import LocalStackError

INTERRUPTED = 130

app = typer.Typer(
    name="fraudstream",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:  # noqa: FBT001 - typer passes a flag's value by position
    if asked:
        typer.echo(version("fraudstream"))
        raise typer.Exit


@app.callback()
def _fraudstream(
    *,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Streaming card-fraud detection.

    Servers are found by FRAUD_* variables (see `fraudstream config`), whatever the working directory.
    """


commands_stack.register(app)
commands_roles.register(app)
commands_alert.register(app)
commands_console.register(app)
commands_model.register(app)
commands_train.register(app)
commands_history.register(app)
commands_promotion.register_commands(app)
commands_watch.register(app)
commands_retrain.register(app)
commands_rules.register(app)
commands_thresholds.register(app)
commands_explain.register(app)
commands_lists.register(app)
commands_reload.register(app)
commands_state.register(app)
commands_repair.register(app)
commands_dlq.register(app)
commands_indices.register(app)
commands_traffic.register(app)
commands_security.register(app)


def main() -> None:
    """Run the command line; an expected failure becomes a line on stderr and its exit code, never a traceback."""
    keep_standard_streams()
    try:
        app()
    except (FraudstreamError, LocalStackError) as error:
        say(f"fraudstream: {scrub(str(error))}")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
