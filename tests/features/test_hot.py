"""Many records of one card in a batch: the same answers as one by one, at a cost that grows with them alone."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features import layers, runs, windows
from features.log import Log, build_log
from features.runs import extremes
from features.tiles import tiles_in, tiles_of
from features.windows import TEN_MINUTES_MS, WEEK_MS, aggregate
from features.words import WORD
from tests.features.driver import Cards, split
from tests.oracles.naive import Answer, Event, NaiveCards
from tests.oracles.traffic import small_streams
from tests.properties import examples

BEGIN_MS = 1_700_000_000_000
DAY_MS = 86_400_000


@pytest.fixture
def layers_always() -> Iterator[None]:
    """Let short histories take the road of long ones, to its last turn."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name, value in (
            (windows, "_LONG", 0), (windows, "_PAIRS_WORTH_LAYERS", 0), (runs, "_SHORT", 1),
            (layers, "_WORTH_A_LAYER", 2), (layers, "_LEFT_PER_QUERY", 2),
        ):  # fmt: skip
            patch.setattr(module, name, value)
        yield


def hot(seed: int, count: int, late_share: float, late_ms: int) -> list[Event]:
    """One card's records: some late, some copies, some reversals, before and after their originals."""
    dice = random.Random(seed)
    t_ms, events = BEGIN_MS, []
    for i in range(count):
        t_ms += dice.randrange(3) * dice.randrange(20_000)
        late = dice.randrange(late_ms) if dice.random() < late_share else 0
        events.append(
            Event(
                "c", f"t-{i}", "authorization", t_ms - late, dice.randrange(1, 10**6),
                mcc=dice.choice([None, "0001", "0002", "0003"]), country=dice.choice([None, "DE", "FR"]),
            )
        )  # fmt: skip
    for i in dice.sample(range(count), count // 12):
        other = events[dice.randrange(count)]
        reverse = Event("c", f"r-{i}", "reversal", events[i].t_ms, 1, original=other.transaction_id)
        events[i] = reverse if other.kind == "authorization" and dice.random() < 0.6 else other
    return events


def promised(answer: Answer) -> Answer:
    return replace(answer, features=None) if answer.duplicate and answer.beyond_grace else answer


@pytest.mark.usefixtures("layers_always")
@examples(60)
@given(small_streams(), st.lists(st.integers(1, 30), max_size=40))
def test_any_stream_is_answered_by_layers_as_the_oracle_does(events: list[Event], sizes: list[int]) -> None:
    cards, oracle = Cards(), NaiveCards()
    answers = [a for batch in split(events, sizes) for a in cards.apply(batch)]
    assert [promised(a) for a in answers] == [promised(oracle.apply(e)) for e in events]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("folded", [False, True])
def test_a_hot_cards_batch_is_answered_as_its_records_one_by_one(seed: int, *, folded: bool) -> None:
    late_share, late_ms = [(0.05, 500_000), (0.5, 3_600_000), (0.9, DAY_MS), (0.0, 1)][seed]
    events = hot(seed, 1_000, late_share, late_ms)
    # The first batch folds nothing and the second does: what comes after that must not be folded between.
    fresh = Event("c", "fresh", "authorization", max(e.t_ms for e in events[:600]), 5)
    whole, single = (Cards(hot_card_records=300 if folded else 10_000) for _ in range(2))
    for cards in (whole, single):
        cards.apply(events[:600])
        cards.apply([fresh])
        cards.limits = msgspec.structs.replace(cards.limits, hot_card_records=10_000)
    assert whole.values == single.values
    assert (whole.values["c"][7] == 2) is folded
    answers = whole.apply(events[600:])
    assert [_told(a) for a in answers] == [_told(a) for e in events[600:] for a in single.apply([e])]
    assert whole.values["c"][8:] == single.values["c"][8:]


def _told(answer: Answer) -> Answer:
    """How late a record is that left no trace is told from the batch it comes in."""
    return replace(answer, late_by_ms=None) if answer.beyond_grace else answer


@examples(80)
@given(st.data())
def test_extremes_of_any_runs(data: st.DataObject) -> None:
    values = data.draw(st.lists(st.integers(-50, 50), min_size=1, max_size=60))
    ends = st.tuples(st.integers(0, len(values) - 1), st.integers(0, len(values) - 1)).map(sorted)
    begin, end = np.array(data.draw(st.lists(ends, min_size=1, max_size=80)), np.int64).T.copy()
    also = np.array(data.draw(st.lists(st.integers(-50, 50), min_size=len(begin), max_size=len(begin))), np.int64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "_SHORT", data.draw(st.sampled_from([0, 3, 100])))
        for extreme, plain in ((np.maximum, max), (np.minimum, min)):
            found = extremes(extreme, np.array(values, np.int64), begin, end, also)
            assert found.tolist() == [
                plain([a, *values[b:e]]) for a, b, e in zip(also.tolist(), begin.tolist(), end.tolist(), strict=True)
            ]


@examples(80)
@given(st.data())
def test_tiles_between_any_times(data: st.DataObject) -> None:
    tables = [_table(data.draw(st.lists(_TILE, max_size=12))) for _ in range(3)]
    queries = data.draw(
        st.lists(st.tuples(st.integers(0, 2), st.integers(0, 400), st.integers(0, 400)), min_size=1, max_size=20)
    )
    card, begin, end = np.array(queries, np.int64).T.copy()
    tiles = tiles_of([np.array(t, np.int64).reshape(-1, 5) for t in tables], np.zeros(3, np.int64))
    answers = zip(*(a.tolist() for a in tiles_in(tiles, card, begin, end)), strict=True)
    assert list(answers) == [_between(tables[c], b, e) for c, b, e in queries]


_TILE = st.tuples(st.integers(0, 20), st.integers(0, 30), st.integers(1, 9), st.integers(1, 900), st.integers(1, 99))


def _table(drawn: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Tiles one after the other in time; a single authorization has one time."""
    rows, t_ms = list[tuple[int, ...]](), 0
    for gap, length, count, total, largest in drawn:
        first = t_ms + gap
        t_ms = first + (length if count > 1 else 0)
        rows.append((first, t_ms, count, total, largest))
    return rows


def _between(table: list[tuple[int, ...]], begin: int, end: int) -> tuple[int, int, int]:
    """Tile by tile: whole, not at all, or an even spread of which the end inside is in and the end outside is out."""
    counted = summed = most = 0
    for first, last, count, total, largest in table:
        overlap = min(last, end) - max(first, begin)
        if overlap < 0:
            continue
        inside = count
        if first < begin or last > end:
            least = int(first >= begin or last <= end)
            inside = min(max(count * overlap // max(last - first, 1), least), count - 1)
        counted += inside
        summed += total // count * inside + total % count * inside // count
        most = max(most, largest if inside else 0)
    return counted, summed, most


def _cpu_s(log: Log, position: np.ndarray) -> float:
    spent = []
    for _ in range(5):
        began = time.process_time()
        aggregate(log, position, WEEK_MS + DAY_MS)
        spent.append(time.process_time() - began)
    return min(spent)


def _log(times: np.ndarray) -> Log:
    n = len(times)
    words = np.empty((n, 3), WORD)
    words[:, 0] = (times.astype(np.uint64) << np.uint64(16)) | np.uint64(1)
    words[:, 1] = (np.arange(1, n + 1).astype(np.uint64) << np.uint64(14)) | (np.arange(n) % 5).astype(np.uint64)
    words[:, 2] = np.arange(n)
    return build_log(words, np.array([n]), WEEK_MS + DAY_MS)


@pytest.mark.parametrize("order", ["in order", "a tenth late", "a batch late", "backwards"])
def test_eight_times_the_records_of_a_card_do_not_cost_each_of_them_three_times_as_much(order: str) -> None:
    """A batch brings as many as the card has; that each looks at all of them would make it eight times."""
    spent = []
    for count in (2_000, 16_000):
        dice = np.random.default_rng(1)
        times = BEGIN_MS + np.arange(2 * count) * 10_000
        if order == "a tenth late":
            times = times - np.where(dice.random(2 * count) < 0.1, dice.integers(0, TEN_MINUTES_MS, 2 * count), 0)
        elif order == "a batch late":
            times[count:] -= 3_600_000
        elif order == "backwards":
            times[count:] = times[count:][::-1].copy()
        spent.append(_cpu_s(_log(times), np.arange(count, 2 * count)))
    assert spent[1] / spent[0] < 8 * 3
