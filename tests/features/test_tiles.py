"""Hot cards: ten minutes stay exact, weeks stay within 1 %, and what is folded is answered and changes nothing."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.fold import fold_hot
from features.history import unpack
from features.tiles import NEVER_FOLDED
from features.windows import WEEK_MS
from tests.features.driver import FATES, Cards, assert_answered_again, but_the_flag, deaths, split
from tests.oracles.naive import Answer, Event, features_of
from tests.oracles.naive import NaiveCards as Oracle
from tests.properties import examples

MINUTE_MS = 60_000
BEGIN_MS = 1_700_000_000_000
EXACT = (
    "amount", "num_trans_last_10m", "avg_amt_last_10m", "secs_since_last", "prev_amt", "min_amt_last_10m",
    "max_amt_last_10m", "hour_of_day", "num_countries_last_10m", "num_mccs_last_10m",
)  # fmt: skip
WEEKLY = ("num_trans_last_1w", "avg_amt_last_1w", "amt_ratio1", "amt_ratio2", "count_ratio", "max_amt_last_1w")


def hot_traffic(seed: int, count: int, gap_ms: float, spread: float) -> list[Event]:
    """One card's authorizations, some up to eight minutes late; amounts log-normal."""
    dice = random.Random(seed)
    t_ms, events = BEGIN_MS, []
    for i in range(count):
        t_ms += int(dice.expovariate(1 / gap_ms))
        late_ms = dice.randrange(8 * MINUTE_MS) if dice.random() < 0.05 else 0
        amount = min(int(dice.lognormvariate(8, spread)) + 1, 10**12)
        events.append(
            Event("c", f"t-{i}", "authorization", t_ms - late_ms, amount, mcc=f"{dice.randrange(20):04}", country="DE")
        )
    return events


class Exact:
    """The card's windows over everything that ever came, looked for in a list."""

    def __init__(self) -> None:
        self.seen: list[Event] = []

    def features(self, event: Event) -> dict[str, int | float]:
        week = [e for e in self.seen if event.t_ms - WEEK_MS <= e.t_ms <= event.t_ms]
        self.seen.append(event)
        return features_of(event, week)


def assert_close(answer: Answer, wanted: dict[str, int | float], *, flagged: bool = False) -> None:
    assert answer.features is not None
    assert answer.beyond_grace is flagged
    for name in EXACT:
        assert answer.features[name] == wanted[name], name
    for name in WEEKLY:
        assert answer.features[name] == pytest.approx(wanted[name], rel=0.01), name


@pytest.mark.parametrize("spread", [0.3, 1.5, 3.0], ids=["even", "usual", "wild"])
def test_a_hot_card_over_three_weeks(spread: float) -> None:
    # 1,500 authorizations in three weeks, 64 kept singly: tiles fill, are joined, are cut by the week and leave.
    cards, exact = Cards(hot_card_records=64), Exact()
    events = hot_traffic(int(spread * 10), 1_500, 3 * WEEK_MS / 1_500, spread)
    sizes = random.Random(1).choices(range(1, 30), k=1_500)
    for batch in split(events, sizes):
        for event, answer in zip(batch, cards.apply(batch), strict=True):
            assert_close(answer, exact.features(event))
    (value,) = cards.values.values()
    kept = unpack([value])
    assert int(kept.counts[0]) <= 64 + 8 + 30
    assert 100 < len(kept.tiles.table) < 800


def test_the_largest_amount_of_the_week_leaves_it_in_time() -> None:
    """Each large amount is a little smaller than the one before: which is the largest depends on the left edge."""
    cards, exact = Cards(hot_card_records=16), Exact()
    events = [
        replace(e, amount_minor=int(80_000 * 0.98 ** (i / 40)) if i % 40 == 0 else 10_000 + i % 7)
        for i, e in enumerate(hot_traffic(9, 4_000, 2 * WEEK_MS / 4_000, 1.0))
    ]
    for batch in split(events, [50] * 80):
        for event, answer in zip(batch, cards.apply(batch), strict=True):
            assert_close(answer, exact.features(event))


def test_a_burst_that_ends_leaves_no_large_tile_behind() -> None:
    """A week after a burst its last tiles are all that the window holds beside a few: they must be small."""
    cards, exact = Cards(hot_card_records=16), Exact()
    burst = hot_traffic(5, 1_500, 120_000, 1.0)
    quiet = [Event("c", f"q-{i}", "authorization", burst[-1].t_ms + i * 20_000_000, 500 + i) for i in range(1, 70)]
    for batch in split(burst + quiet, [100] * 100):
        for event, answer in zip(batch, cards.apply(batch), strict=True):
            assert_close(answer, exact.features(event), flagged=answer.beyond_grace)
    assert cards.values["c"][7] == 2, "the card is still folded"
    later = burst[-1].t_ms + 4 * WEEK_MS
    cards.apply([Event("c", "x", "authorization", later, 1)])
    cards.apply([Event("c", "y", "authorization", later + 1, 1)])
    assert cards.values["c"][7] == 1, "what was folded has left with the retention"


def test_what_is_folded_is_answered_flagged_and_changes_nothing() -> None:
    cards = Cards(hot_card_records=32)
    events = hot_traffic(3, 400, 120_000, 1.0)
    for batch in split(events, [20] * 20):
        cards.apply(batch)
    cards.apply([replace(events[-1], transaction_id="last", t_ms=events[-1].t_ms + 1)])
    value = cards.values["c"]

    (copy,) = cards.apply([events[10]])
    assert copy.beyond_grace
    assert copy.features is not None
    assert copy.features["amount"] == events[10].amount_minor / 100
    (late,) = cards.apply([replace(events[10], transaction_id="new")])
    assert late.beyond_grace
    assert late.late_by_ms == events[-1].t_ms + 1 - events[10].t_ms
    assert cards.values["c"] == value

    (reversal,) = cards.apply([Event("c", "r-1", "reversal", events[-1].t_ms, 1, original="t-10")])
    assert (reversal.reversal, reversal.beyond_grace) == ("unknown_original", True)
    (again,) = cards.apply([Event("c", "r-2", "reversal", events[-1].t_ms, 1, original="t-10")])
    assert (again.reversal, again.beyond_grace) == ("repeated", True)
    # A record that is still kept singly is known.
    (recent,) = cards.apply([events[-1]])
    assert (recent.duplicate, recent.beyond_grace) == (True, False)


@examples(8)
@given(
    st.integers(0, 10_000), st.lists(st.integers(1, 40), min_size=10, max_size=30), st.integers(1, 9),
    st.sampled_from([2_000.0, 60_000.0, 1_500_000.0]),
)  # fmt: skip
def test_a_hot_batch_delivered_again_gets_the_same_answers(
    seed: int, sizes: list[int], part: int, gap_ms: float
) -> None:
    """With copies, reversals and records of any lateness; the second time in other batches."""
    events = mixed_hot_traffic(seed, sum(sizes), gap_ms)
    assert_answered_again(Cards(hot_card_records=16), split(events, sizes), part)


@examples(8)
@given(
    st.integers(0, 10_000), st.lists(st.tuples(st.integers(1, 40), st.sampled_from(FATES)), min_size=10, max_size=30),
    st.sampled_from([2_000.0, 60_000.0, 1_500_000.0]), st.booleans(),
)  # fmt: skip
def test_deaths_in_a_row_change_no_answer_of_a_hot_card(
    seed: int, plan: list[tuple[int, str]], gap_ms: float, in_halves: bool
) -> None:
    events = mixed_hot_traffic(seed, 300, gap_ms)
    first: dict[int, Answer] = {}
    for offset, answer in deaths(Cards(hot_card_records=16), events, plan, in_halves=in_halves):
        assert but_the_flag(answer) == but_the_flag(first.setdefault(offset, answer)), events[offset]


def mixed_hot_traffic(seed: int, count: int, gap_ms: float) -> list[Event]:
    """A hot card with copies, reversals and records of any lateness."""
    dice = random.Random(seed)
    events = hot_traffic(seed, count, gap_ms, 1.0)
    for i in range(30, len(events), 7):
        old = events[dice.randrange(i)]
        what = dice.randrange(3)
        if what == 0:
            events[i] = old
        elif what == 1:
            events[i] = Event("c", f"r-{i}", "reversal", events[i].t_ms, 1, original=old.transaction_id)
        else:
            events[i] = replace(events[i], t_ms=old.t_ms)
    return events


@examples(15)
@given(st.integers(0, 10_000), st.lists(st.integers(1, 12), max_size=40))
def test_below_the_limit_nothing_changes(seed: int, sizes: list[int]) -> None:
    events = hot_traffic(seed, 60, 600_000, 1.0)
    cards, oracle = Cards(hot_card_records=60), Oracle()
    answers = [a for batch in split(events, sizes) for a in cards.apply(batch)]
    assert answers == [oracle.apply(e) for e in events]


def test_a_card_faster_than_anything_keeps_its_ten_minutes() -> None:
    """All within the margin: nothing may be folded, however many there are."""
    cards = Cards(hot_card_records=16)
    for batch in split(hot_traffic(1, 500, 1_000, 1.0), [50] * 10):
        cards.apply(batch)
    kept = unpack([cards.values["c"]])
    assert kept.counts.tolist() == [500]
    assert kept.tiles.folded_ms.tolist() == [NEVER_FOLDED]


def test_one_card_cannot_grow_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("features.fold._MOST_ENTRIES", 200)
    cards = Cards(hot_card_records=16)
    for batch in split(hot_traffic(1, 1_000, 100, 1.0), [50] * 20):
        answers = cards.apply(batch)
    assert int(unpack([cards.values["c"]]).counts[0]) <= 250
    assert all(a.beyond_grace for a in answers), "its ten minutes are not whole any more, and it says so"


def test_a_folded_history_survives_packing() -> None:
    cards = Cards(hot_card_records=16)
    for batch in split(hot_traffic(8, 300, 300_000, 2.0), [25] * 12):
        cards.apply(batch)
    histories = unpack([None, cards.values["c"], None])
    folded = fold_hot(histories, np.zeros(3, np.bool_), limit=16, retention_ms=cards.limits.retention_ms)
    table = folded.tiles.of(1)
    assert folded.tiles.start.tolist() == [0, 0, len(table), len(table)]
    assert (table[1:, 0] > table[:-1, 1] - 1).all(), "tiles follow each other in time"
    assert folded.tiles.folded_ms.tolist() == [NEVER_FOLDED, int(table[-1, 1]), NEVER_FOLDED]
    assert (folded.entries.time_ms > folded.tiles.folded_ms[1]).all()
