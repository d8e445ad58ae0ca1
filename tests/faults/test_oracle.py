"""The fast oracle of the fault matrix says what the naive one says."""

from __future__ import annotations

import pytest

from faults.oracle import CLOCK_SKEW_MS, Oracle
from faults.traffic import KINDS, Traffic
from tests.oracles.naive import Event as NaiveEvent
from tests.oracles.naive import NaiveCards

NOW_MS = 1_790_000_000_000


def naive_event(event, t_ms):
    return NaiveEvent(
        card=event.card,
        transaction_id=event.transaction_id,
        kind="authorization" if event.original is None else "reversal",
        t_ms=t_ms,
        amount_minor=event.amount_minor,
        exponent=event.exponent,
        currency=event.currency,
        original=event.original,
        mcc=event.mcc,
        country=event.country,
    )


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("kinds", [("copies", "late", "reversals"), tuple(KINDS)])
def test_both_oracles_agree(seed, kinds):
    traffic = Traffic(seed, 5_000, kinds, share=0.5, now_ms=NOW_MS, partitions=4)
    fast, naive = Oracle(), NaiveCards()
    flags = set()
    for offset, planned in enumerate(traffic.records(5_000)):
        event = planned.event
        if event is None:
            continue
        clamped = event.event_ms > NOW_MS + CLOCK_SKEW_MS
        said = fast.apply(event, NOW_MS, offset)
        wanted = naive.apply(naive_event(event, NOW_MS if clamped else event.event_ms))
        assert (said.reversal, said.duplicate) == (wanted.reversal, wanted.duplicate), event
        if event.original is not None:
            continue
        assert (said.late_by_ms, said.beyond_grace) == (wanted.late_by_ms, wanted.beyond_grace), event
        assert said.features == wanted.features, event
        # Of copies of a clamped first the two read the contract's words at different depth.
        assert clamped or said.conflict == wanted.conflict, event
        flags |= {name for name in ("duplicate", "conflict", "beyond_grace") if getattr(said, name)}
        flags |= {"late"} if said.late_by_ms else set()
    assert flags == {"duplicate", "conflict", "beyond_grace", "late"}
