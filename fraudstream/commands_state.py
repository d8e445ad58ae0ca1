"""The feature store: prove that it serves what training sees."""

# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it, so that --help answers at once
from __future__ import annotations

import asyncio
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fraudstream.commands_roles import logged_settings
from fraudstream.progress import progress

if TYPE_CHECKING:
    from streams.parity import Parity
    from streams.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(parity)


def parity(
    transactions: Annotated[int, typer.Option(min=10, help="Events to compare.")] = 1_000_000,
    cards: Annotated[int, typer.Option(min=1, help="Cards that they are spread over.")] = 2_000,
    seed: Annotated[int, typer.Option(min=0, help="Of the events and of the batch sizes.")] = 1,
) -> None:
    """Feed generated events through the online path and compare every feature, bit for bit, with the offline table.

    Needs FRAUD_REDIS_URL; its keys have a prefix of their own and are removed afterwards.

    Example: fraudstream parity --transactions 1000000
    """
    found = prove_parity(logged_settings(), transactions, cards, seed)
    typer.echo(f"{found.events:,} events, {found.values:,} feature values, {found.different:,} different")
    for example in found.examples:
        typer.echo(
            f"  {example.transaction_id} {example.feature}: {example.served!r} served, {example.offline!r} offline"
        )
    raise typer.Exit(1 if found.different else 0)


def prove_parity(settings: Settings, transactions: int, cards: int, seed: int, patience_s: float = 0) -> Parity:
    """Compare features served with those of the offline table, on generated events.

    Args:
        settings: where Redis is.
        transactions: events to compare.
        cards: cards that they are spread over.
        seed: of the events and of the batch sizes.
        patience_s: how long a call to Redis may take before StoreAway is raised; 0: it is waited for.
    """
    from features.offline import build_table
    from local.generator import generate

    with tempfile.TemporaryDirectory(prefix="fraudstream-parity-") as folder:
        history, table = Path(folder) / "history", Path(folder) / "table.parquet"
        generate(transactions, cards, seed, history)
        build_table(history, table, grace_ms=settings.grace_s * 1000)
        own = settings.model_copy(update={"key_prefix": f"{settings.key_prefix}parity-{uuid.uuid4().hex[:8]}-"})
        return asyncio.run(_compare(own, history, table, seed, patience_s))


async def _compare(settings: Settings, history: Path, table: Path, seed: int, patience_s: float) -> Parity:
    from features.decode import Decoder
    from streams.parity import compare
    from streams.wired.score import make_state

    state = make_state(settings, patience_s)
    await state.store.start()
    try:
        with progress("parity") as show:
            return await compare(
                history, table, store=state.store, cards=state.cards, decoder=Decoder(None), seed=seed, progress=show
            )
    finally:
        await state.store.forget(0)
        await state.store.unclaim(0)
        await state.store.stop()
