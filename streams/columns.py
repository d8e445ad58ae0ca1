"""From decoded records to the columns that the window code takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from features.codes import country_codes, identities, mcc_codes
from features.history import Bool, Entries, Int64
from features.store import Snapshot
from features.transaction import REVERSAL
from features.walk import Batch, Delivery
from streams.intake import Incoming, Reach


class MetAgain(msgspec.Struct, frozen=True):
    """Records of a partition that come again.

    Attributes:
        since: offset of the first of them.
        until: of the last.
        met: card -> how many of its entries have met theirs again.
    """

    since: int
    until: int
    met: dict[str, int]


class Roster:
    """The cards of a batch, ranked: one partition's after the other, each in order of first appearance.

    Attributes:
        cards: partition -> its cards.
        first_rank: partition -> rank of its first card.
        rank: rank of each record's card, shape (n,).
        reach: partition -> offsets of the batch.
        older: partition -> card -> its tokens under older keys; cards without any are left out.
    """

    def __init__(self, incoming: Sequence[Incoming], reach: Mapping[int, Reach]) -> None:
        self.reach = dict(reach)
        places: dict[int, dict[str, int]] = {partition: {} for partition in reach}
        own = []
        for item in incoming:
            ranks = places[item.partition]
            own.append(ranks.setdefault(item.transaction.card_id, len(ranks)))
        self.cards = {partition: list(names) for partition, names in places.items()}
        self.first_rank: dict[int, int] = {}
        ranked = 0
        for partition, names in self.cards.items():
            self.first_rank[partition] = ranked
            ranked += len(names)
        first_ranks = [self.first_rank[item.partition] for item in incoming]
        self.rank: Int64 = np.array(own, np.int64) + np.array(first_ranks, np.int64)
        self.older: dict[int, dict[str, tuple[str, ...]]] = {}
        for item in incoming:
            if item.transaction.old_card_ids:
                cards = self.older.setdefault(item.partition, {})
                cards[item.transaction.card_id] = item.transaction.old_card_ids

    def delivery(self, again: Mapping[int, MetAgain]) -> Delivery:
        """Where the batch stands, in partitions of which some may be in the middle of a redelivery."""
        counts = [len(names) for names in self.cards.values()]
        since = [again[p].since if p in again else reach.first for p, reach in self.reach.items()]
        met = {
            self.first_rank[partition] + rank: again[partition].met[name]
            for partition in again.keys() & self.cards.keys()
            for rank, name in enumerate(self.cards[partition])
            if name in again[partition].met
        }
        last = [reach.last for reach in self.reach.values()]
        return Delivery(np.array(since, np.int64).repeat(counts), np.array(last, np.int64).repeat(counts), met)


def batch_columns(
    incoming: Sequence[Incoming], card: Int64, snapshots: Mapping[int, Snapshot], clock_skew_ms: int
) -> Batch:
    """The batch as columns; an event whose own time lies too far ahead takes its record's (contract, section 3.5).

    Args:
        incoming: the records, length n.
        card: rank of each record's card; shape (n,).
        snapshots: what was applied of each partition; a partition that is not there had nothing.
        clock_skew_ms: how far an event's own time may lie after its record's.
    """
    transactions = [i.transaction for i in incoming]
    offset = np.array([i.offset for i in incoming], np.int64)
    event_ms = np.array([t.event_ms for t in transactions], np.int64)
    broker_ms = np.array([i.broker_ms for i in incoming], np.int64)
    clamped: Bool = event_ms > broker_ms + clock_skew_ms
    reversal: Bool = np.array([t.type == REVERSAL for t in transactions], np.bool_)
    applied = {p: s.applied for p, s in snapshots.items() if s.applied is not None}
    entries = Entries(
        time_ms=np.where(clamped, broker_ms, event_ms),
        amount_minor=np.where(reversal, offset, np.array([t.amount_minor for t in transactions], np.int64)),
        reversal=reversal,
        clamped=clamped,
        identity=identities([t.original_transaction_id or t.transaction_id for t in transactions]),
        country=country_codes([t.country for t in transactions]),
        mcc=mcc_codes([t.merchant_category for t in transactions]),
    )
    redelivered = offset <= np.array([applied.get(i.partition, -1) for i in incoming], np.int64)
    return Batch(entries=entries, card=card, event_ms=event_ms, offset=offset, redelivered=redelivered)
