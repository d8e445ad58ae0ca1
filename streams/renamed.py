"""Cards that have another token than before, because the key of the card numbers was changed.

Where a card has no history under its token, the one under a token of an older key is taken. It is stored under the
token of today, and the older key is deleted in the same atomic commit, so nothing is ever there twice. Every worker
knows every key of a rotation, so this works in both directions while workers with the new key and with the old one run
side by side (docs/security.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from features.store import Snapshot
from streams.columns import Roster


class Renamed(msgspec.Struct, frozen=True):
    """What a commit must move.

    Attributes:
        taken: partition -> card -> packed history that was found under an older token.
        dropped: partition -> older tokens under which something was found.
    """

    taken: dict[int, dict[str, bytes]]
    dropped: dict[int, list[str]]


def names_to_read(roster: Roster) -> Mapping[int, Sequence[str]]:
    """The cards of a batch, each partition's followed by the older tokens of its cards."""
    if not roster.older:
        return roster.cards
    return {
        partition: [*names, *(old for olds in roster.older.get(partition, {}).values() for old in olds)]
        for partition, names in roster.cards.items()
    }


def settle(roster: Roster, snapshots: Mapping[int, Snapshot]) -> tuple[Mapping[int, Snapshot], Renamed]:
    """One history per card, of what was read for `names_to_read`."""
    renamed = Renamed({}, {})
    if not roster.older:
        return snapshots, renamed
    settled = dict(snapshots)
    for partition, older in roster.older.items():
        names = roster.cards[partition]
        rank = {name: k for k, name in enumerate(names)}
        histories = snapshots[partition].histories
        own, others = histories[: len(names)], iter(histories[len(names) :])
        taken, dropped = renamed.taken.setdefault(partition, {}), renamed.dropped.setdefault(partition, [])
        for name, olds in older.items():
            for old in olds:
                history = next(others)
                if history is None:
                    continue
                dropped.append(old)
                if own[rank[name]] is None:
                    own[rank[name]] = taken[name] = history
        settled[partition] = msgspec.structs.replace(snapshots[partition], histories=own)
    return settled, renamed
