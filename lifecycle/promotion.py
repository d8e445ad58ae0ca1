"""Who decides: promotion through gates, and the way back. Everything is recorded with the model in the registry."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from features.errors import ModelError, PromotionRefused
from features.times import format_rfc3339
from lifecycle.gates import Gate
from lifecycle.registry import CHALLENGER, CHAMPION, PREVIOUS, Registry, Version


class Decision(msgspec.Struct, frozen=True):
    """What was decided about a model.

    Attributes:
        at: when, RFC 3339.
        model: version.
        number: in the registry.
        accepted: whether it decides from now on.
        forced: why although a gate was not passed; empty where all were.
        replaced: number of the champion before; None where there was none.
        gates: what was found.
    """

    at: str
    model: str
    number: int
    accepted: bool
    forced: str
    replaced: int | None
    gates: tuple[Gate, ...]


def promote(registry: Registry, version: Version, gates: Sequence[Gate], *, now_ms: int, force: str = "") -> Decision:
    """Let a model decide, if it passed all gates.

    The champion so far becomes `previous`; where the promoted model was the challenger, the two change places, so that
    what was in force goes on being asked beside it.

    Args:
        registry: of the models.
        version: the model.
        gates: what was found of it.
        now_ms: the moment, epoch milliseconds.
        force: why it is promoted although a gate was not passed.

    Raises:
        PromotionRefused: a gate was not passed, and no reason was given; that is recorded too.
        ModelError: it decides already.
    """
    before = registry.holder(CHAMPION)
    if before is not None and before.number == version.number:
        raise ModelError(f"model {version.number} ({version.model}) is the champion already")
    failed = [gate.name for gate in gates if not gate.passed]
    accepted = not failed or bool(force)
    decision = Decision(
        format_rfc3339(now_ms), version.model, version.number, accepted, force if failed else "",
        None if before is None else before.number, tuple(gates),
    )  # fmt: skip
    _record(registry, version, decision)
    if not accepted:
        raise PromotionRefused(
            f"model {version.number} ({version.model}) is not promoted: {', '.join(failed)} not passed; nothing has "
            "changed. Train a better one, or give a reason with --force"
        )
    if before is not None:
        registry.call(PREVIOUS, before)
        if CHALLENGER in version.aliases:
            registry.call(CHALLENGER, before)
    registry.call(CHAMPION, version)
    return decision


def roll_back(registry: Registry, *, now_ms: int, reason: str) -> tuple[Version, Version]:
    """Let the champion before decide again; a second time takes the first back.

    Returns:
        The champion now, and the one that was.

    Raises:
        ModelError: there is nothing to go back to.
    """
    champion, previous = registry.holder(CHAMPION), registry.holder(PREVIOUS)
    if champion is None or previous is None:
        raise ModelError("there is no champion before this one; name a model: fraudstream model promote VERSION")
    registry.call(CHAMPION, previous)
    registry.call(PREVIOUS, champion)
    at = format_rfc3339(now_ms)
    registry.tag(champion, rolled_back_at=at, rolled_back_for=reason)
    registry.tag(previous, restored_at=at)
    return previous, champion


def _record(registry: Registry, version: Version, decision: Decision) -> None:
    text = msgspec.json.format(msgspec.json.encode(decision), indent=2).decode()
    registry.tag(
        version,
        decided_at=decision.at,
        decision=("promoted" if decision.accepted else "refused"),
        forced=decision.forced,
        gates=msgspec.json.encode(decision.gates).decode(),
    )
    registry.attach(version, f"decisions/{decision.at.replace(':', '')}.json", text)
