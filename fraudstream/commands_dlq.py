"""Dead letters: list them, show one, send their records again."""

# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it, so that --help answers at once
from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from fraudstream.commands_roles import logged_settings
from fraudstream.progress import progress

if TYPE_CHECKING:
    from streams.repair.dlq import Letter, Wanted
    from streams.repair.resend import Plan

dlq = typer.Typer(name="dlq", help="Look through the dead letters, and send their records again.", no_args_is_help=True)

Reasons = Annotated[list[str] | None, typer.Option("--reason", help="Only of this reason; may be repeated.")]
Since = Annotated[str, typer.Option(help="Only those written since, an RFC 3339 time.")]
Partitions = Annotated[
    list[int] | None, typer.Option("--partition", min=0, help="Only of records of this partition; may be repeated.")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(dlq)


@dlq.command("list")
def list_letters(
    *,
    reason: Reasons = None,
    since: Since = "",
    partition: Partitions = None,
    newest: Annotated[int, typer.Option(min=0, help="How many to show, the newest first.")] = 20,
) -> None:
    """Count the dead letters by reason, and show the newest.

    Needs FRAUD_KAFKA_BOOTSTRAP.

    Example: fraudstream dlq list --reason pan_without_key --since 2024-03-01T00:00:00Z
    """
    settings = logged_settings()
    from sinks.topics import DEAD_LETTERS
    from streams.repair.dlq import DeadLetters

    _meet(settings.topic(DEAD_LETTERS))
    letters = DeadLetters(settings.kafka(), settings.topic(DEAD_LETTERS))
    with progress("dead letters") as show:
        found = letters.listing(_wanted(reason, since, partition), newest, show)
    for name, count in found.counts.most_common():
        typer.echo(f"{count:>10,}  {name}")
    if found.unreadable:
        typer.echo(f"{found.unreadable:>10,}  (records that are no dead letters)")
    typer.echo(f"{found.counts.total():>10,}  in all")
    for letter in found.newest:
        typer.echo(_line(letter))


@dlq.command()
def show(
    place: Annotated[str, typer.Argument(help="partition:offset of the dead letter.")],
    *,
    source: Annotated[bool, typer.Option("--source", help="The place is that of the record that was refused.")] = False,
) -> None:
    """Show a dead letter as JSON; card numbers are not in it.

    Needs FRAUD_KAFKA_BOOTSTRAP. Of a record with several dead letters, each is shown.

    Example: fraudstream dlq show 0:17
    """
    settings = logged_settings()
    import msgspec

    from features.errors import ConfigError
    from features.pan import scrub
    from sinks.topics import DEAD_LETTERS
    from streams.repair.dlq import DeadLetters, Wanted, place_of

    where = place_of(place)
    _meet(settings.topic(DEAD_LETTERS))
    wanted = Wanted(source=where) if source else Wanted(places=[where])
    shown = 0
    with progress("dead letters") as bar:
        for letter in DeadLetters(settings.kafka(), settings.topic(DEAD_LETTERS)).letters(wanted, bar):
            raw = msgspec.json.encode({"place": "{}:{}".format(*letter.place), **msgspec.to_builtins(letter.body)})
            typer.echo(scrub(msgspec.json.format(raw, indent=2).decode()))
            shown += 1
    if not shown:
        raise ConfigError(f"{place}: there is no such dead letter in {settings.topic(DEAD_LETTERS)}")


@dlq.command()
def resend(
    places: Annotated[
        list[str] | None, typer.Argument(help="partition:offset of dead letters; or choose below.")
    ] = None,
    *,
    reason: Reasons = None,
    since: Since = "",
    partition: Partitions = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent, and send nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Send the records of dead letters again, once what was wrong has been mended.

    A record goes to its partition as it was sent, as long as its topic holds it; else the payload does, where it is
    whole. One that was sent again before is left out. Needs FRAUD_KAFKA_BOOTSTRAP.

    Example: fraudstream dlq resend --reason pan_without_key --dry-run
    """
    settings = logged_settings()
    from features.errors import ConfigError
    from sinks.publisher import Publisher
    from sinks.topics import DEAD_LETTERS, LABELS, PROCESSED, TRANSACTIONS
    from streams.repair.dlq import DeadLetters
    from streams.repair.resend import Resender

    if not (places or reason or since or partition):
        raise ConfigError("say which: partition:offset of dead letters, --reason, --since or --partition")
    wanted = _wanted(reason, since, partition, places)
    topics = (settings.topic(TRANSACTIONS), settings.topic(PROCESSED), settings.topic(LABELS))
    _meet(settings.topic(DEAD_LETTERS), *topics)
    resender = Resender(settings.kafka(), topics)
    letters = DeadLetters(settings.kafka(), settings.topic(DEAD_LETTERS))
    with progress("looking") as bar:
        plan = resender.plan(letters.letters(wanted, bar), bar)
    _say(plan)
    if dry_run or not plan.count():
        return
    if not yes:
        typer.confirm("Send them?", abort=True, err=True)
    publisher = Publisher(settings.kafka())

    async def send() -> int:
        try:
            with progress("sending") as bar:
                return await resender.send(plan, publisher, bar)
        finally:
            publisher.close()

    typer.echo(f"{asyncio.run(send()):,} sent")


def _meet(*topics: str) -> None:
    """Wait for Kafka as a role does."""
    from streams.brokers import wait_for_topics
    from streams.settings import load_settings

    asyncio.run(wait_for_topics(load_settings(), [], topics))


def _wanted(
    reason: list[str] | None, since: str, partition: list[int] | None, places: list[str] | None = None
) -> Wanted:
    from typing import get_args

    from features.errors import ConfigError
    from features.times import parse_rfc3339
    from sinks.deadletter import Reason
    from streams.repair.dlq import Wanted, place_of

    for name in reason or ():
        if name not in get_args(Reason):
            raise ConfigError(f"--reason {name}: there is none such; there are {', '.join(get_args(Reason))}")
    since_ms = parse_rfc3339(since) if since else 0
    if since_ms is None:
        raise ConfigError("--since takes an RFC 3339 time, such as 2024-03-01T00:00:00Z")
    return Wanted(reason or (), since_ms, partition or (), [place_of(place) for place in places or ()])


def _line(letter: Letter) -> str:
    from features.pan import scrub
    from features.times import format_rfc3339

    source = letter.body.source
    place = "{}:{}".format(*letter.place)
    told = f"{letter.body.reason}: {letter.body.detail}"
    return scrub(
        f"{place}  {format_rfc3339(max(letter.time_ms, 0))}  {source.topic} {source.partition}:{source.offset}  {told}"
    )


def _say(plan: Plan) -> None:
    for reason, count in plan.reasons.most_common():
        typer.echo(f"{count:>10,}  {reason}")
    typer.echo(f"{plan.count():>10,}  to send")
    for why, count in plan.skipped.most_common():
        typer.echo(f"{count:>10,}  not: {why}")
