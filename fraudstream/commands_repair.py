"""Repair: rebuild the feature store, and recompute past scores."""

# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it, so that --help answers at once
from __future__ import annotations

import asyncio
import time
import uuid
from typing import TYPE_CHECKING, Annotated

import typer

from fraudstream.commands_roles import logged_settings
from fraudstream.progress import progress
from fraudstream.rescored import lines

if TYPE_CHECKING:
    from streams.repair.replay import Replayed
    from streams.repair.rescore import Report
    from streams.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(replay)


def replay(
    *,
    partition: Annotated[
        list[int] | None, typer.Option(min=0, help="A partition; may be repeated. Without it: all of them.")
    ] = None,
    moved: Annotated[
        bool,
        typer.Option(
            "--moved",
            help="Read all partitions together, as after a change of their number, also where neither Redis nor Kafka "
            "tells of one.",
        ),
    ] = False,
    rescore: Annotated[
        tuple[str, str] | None,
        typer.Option(
            metavar="FROM TO",
            help="Rebuild nothing; compute the outcomes of the records between two broker times (RFC 3339), or two "
            "offsets of one --partition, again, and compare them with what was published.",
        ),
    ] = None,
) -> None:
    """Rebuild the feature store from the topic, publishing nothing; stop the score roles first.

    Every history is forgotten and made anew from the records that can still matter, up to what was scored. After a
    change of FRAUD_PARTITIONS every card is moved to its present home. Needs FRAUD_KAFKA_BOOTSTRAP and FRAUD_REDIS_URL.
    Interrupted, it is simply run again. --rescore needs FRAUD_MODEL too and ends with 1 where something differs.

    Example: fraudstream replay
    """
    settings = logged_settings()
    if rescore is not None:
        raise typer.Exit(_rescored(settings, rescore, set(partition or ())))
    began_s = time.monotonic()
    done = asyncio.run(_rebuild(settings, set(partition or ()), moved=moved))
    tally = done.tally
    typer.echo(
        f"rebuilt {done.partitions} partitions{' together, every card in its present home' if done.moved else ''}: "
        f"{tally.records:,} records read, {tally.applied:,} applied, {len(tally.cards):,} cards, "
        f"{time.monotonic() - began_s:.1f} s"
    )


def _rescored(settings: Settings, between: tuple[str, str], only: set[int]) -> int:
    began_s = time.monotonic()
    report = asyncio.run(_rescore(settings, between, only))
    for line in lines(report, time.monotonic() - began_s):
        typer.echo(line)
    return 0 if report.agrees else 1


async def _rescore(settings: Settings, between: tuple[str, str], only: set[int]) -> Report:
    from sinks.topics import DEAD_LETTERS, PROCESSED, TRANSACTIONS
    from streams.brokers import wait_for_topics
    from streams.repair.ranges import spans_between
    from streams.repair.replay import committed_offsets
    from streams.repair.topic_reader import in_thread, reading
    from streams.wired.score import make_rescorer, make_state

    topic = settings.topic(TRANSACTIONS)
    await wait_for_topics(settings, [topic, settings.topic(PROCESSED)], [settings.topic(DEAD_LETTERS)])
    # Histories of its own: those of the score role are not touched.
    own = settings.model_copy(update={"key_prefix": f"{settings.key_prefix}rescore-{uuid.uuid4().hex[:8]}-"})
    state = make_state(own)
    rescorer = make_rescorer(own, state)
    await state.store.start()
    try:
        committed = await in_thread(lambda: committed_offsets(settings, topic))
        homes = await in_thread(state.note.read)
        with reading(settings.kafka(), topic) as reader:
            spans = await reader.run(lambda: spans_between(reader, *between, only=only, committed=committed))
        jobs = await in_thread(lambda: rescorer.plan(spans, homes))
        with progress("rescore") as show:
            return await rescorer.run(jobs, show)
    finally:
        await state.store.stop()


async def _rebuild(settings: Settings, only: set[int], *, moved: bool) -> Replayed:
    from sinks.topics import TRANSACTIONS
    from streams.brokers import wait_for_topics
    from streams.repair.replay import Replay
    from streams.wired.score import make_state

    topic = settings.topic(TRANSACTIONS)
    await wait_for_topics(settings, [topic])
    state = make_state(settings)
    await state.store.start()
    work = Replay(
        settings, topic=topic, store=state.store, rebuilder=state.rebuilder, rehomer=state.rehomer, note=state.note
    )
    try:
        with progress("replay") as show:
            return await work.run(only, moved=moved, progress=show)
    finally:
        await state.store.stop()
