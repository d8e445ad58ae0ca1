"""Live traffic, and the demo."""

# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it, so that --help answers at once
from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Annotated

import typer

from features.errors import ConfigError
from fraudstream.commands_roles import logged_settings
from fraudstream.progress import progress


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (simulate, demo, lifecycle):
        app.command()(command)


def simulate(
    rate: Annotated[float, typer.Option(min=0.001, help="Transactions per second.")] = 50.0,
    seconds: Annotated[float | None, typer.Option(min=0.001, help="How long; default: until stopped.")] = None,
    transactions: Annotated[int | None, typer.Option(min=1, help="How many; default: until stopped.")] = None,
    cards: Annotated[
        int | None, typer.Option(min=1, help="Cards in use; default: as many as make the rate natural for each.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the draws.")] = 1,
    attack_share: Annotated[
        float, typer.Option(min=0, max=0.99, help="Share of the transactions that belong to an attack.")
    ] = 0.0025,
    labels: Annotated[
        Path | None, typer.Option(help="File that takes the truth, a JSON line per fraudulent transaction.")
    ] = None,
) -> None:
    """Publish live labelled traffic to `transactions`, attacks included, until stopped.

    Needs FRAUD_KAFKA_BOOTSTRAP. Ctrl-C and SIGTERM end it after the last confirmation.

    Example: fraudstream simulate --rate 100 --seconds 60
    """
    from local import simulate as simulator
    from local.traffic import Traffic, natural_cards

    settings = logged_settings()
    now_ms = time.time_ns() // 1_000_000
    traffic = Traffic(cards or natural_cards(rate), seed, now_ms, rate, attack_share)
    total = transactions or (None if seconds is None else round(rate * seconds))
    stop = threading.Event()
    with simulator.stopped_by_signals(stop), progress("simulate") as show:
        done = simulator.simulate(
            traffic,
            settings.kafka(),
            settings.topic("transactions"),
            stop=stop,
            most=transactions,
            until_ms=None if seconds is None else now_ms + round(seconds * 1000),
            labels=labels,
            progress=lambda sent: show(sent, total),
        )
    typer.echo(
        f"{done.transactions:,} transactions confirmed in {done.seconds:.1f} s: "
        f"{done.frauds:,} fraudulent, of {done.attacks:,} attacks"
    )


def demo(
    *,
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running and print its addresses.")] = False,
    stop: Annotated[bool, typer.Option("--stop", help="Stop what --keep left running, and remove its data.")] = False,
) -> None:
    """Watch an attack being caught while it happens, on real servers that are gone afterwards.

    Starts Kafka, Redis and OpenSearch, trains a model, runs the roles, plays a scenario, checks that all counts add up.

    Example: fraudstream demo
    """
    from local.demo import run_demo, stop_kept

    if keep and stop:
        raise ConfigError("--keep and --stop exclude each other")
    if stop:
        stop_kept()
    else:
        run_demo(keep=keep)


def lifecycle() -> None:
    """Watch a model grow old and be replaced: new attacks, drift, retraining, shadow, promotion, roll-back.

    On real servers that are gone afterwards; every step is checked. Under ten minutes.

    Example: fraudstream lifecycle
    """
    from local.lifecycle import run_lifecycle

    run_lifecycle()
