"""The windows against the naive oracle: any traffic, any batch boundaries, any redelivery."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.features.driver import FATES, Cards, assert_answered_again, but_the_flag, deaths, split
from tests.oracles.naive import Answer, Event, NaiveCards
from tests.oracles.traffic import awkward, small_streams
from tests.properties import examples


def promised(answer: Answer) -> Answer:
    """What the contract promises: the features of a copy beyond grace are only as good as what is left."""
    return replace(answer, features=None) if answer.duplicate and answer.beyond_grace else answer


def expected(events: list[Event]) -> list[Answer]:
    oracle = NaiveCards()
    return [oracle.apply(e) for e in events]


@examples(80)
@given(small_streams(), st.lists(st.integers(1, 12), max_size=40))
def test_any_stream_in_any_batches_is_answered_as_the_oracle_does(events: list[Event], sizes: list[int]) -> None:
    cards = Cards()
    answers = [a for batch in split(events, sizes) for a in cards.apply(batch)]
    for event, answer, wanted in zip(events, answers, expected(events), strict=True):
        assert promised(answer) == promised(wanted), event


@examples(150)
@given(small_streams(), st.lists(st.integers(1, 12), max_size=40), st.integers(1, 12))
def test_a_batch_delivered_again_whole_or_in_parts_gets_the_same_answers(
    events: list[Event], sizes: list[int], part: int
) -> None:
    assert_answered_again(Cards(), split(events, sizes), part)


@examples(100)
@given(
    small_streams(),
    st.lists(st.tuples(st.integers(1, 12), st.sampled_from(FATES))),
    st.booleans(),
)
def test_whatever_is_killed_whenever_everything_is_answered_as_the_oracle_does(
    events: list[Event], plan: list[tuple[int, str]], in_halves: bool
) -> None:
    """Several deaths in a row, each with something in hand; what comes again is cut otherwise than it was."""
    wanted = expected(events)
    for offset, answer in deaths(Cards(), events, plan, in_halves=in_halves):
        assert _as_promised(answer, wanted[offset]) == but_the_flag(promised(wanted[offset])), events[offset]


def _as_promised(answer: Answer, wanted: Answer) -> Answer:
    """As `promised` where it may come again: a copy has no flag then."""
    return but_the_flag(replace(answer, features=promised(wanted).features and answer.features))


@pytest.mark.parametrize("seed", [1, 2])
def test_awkward_traffic_at_length(seed: int) -> None:
    events = awkward(seed, 5_000, 60, 1_700_000_000_000)
    rng = random.Random(seed)
    cards = Cards()
    answers = [a for batch in split(events, iter(lambda: rng.randint(1, 700), 0)) for a in cards.apply(batch)]
    for event, answer, wanted in zip(events, answers, expected(events), strict=True):
        assert promised(answer) == promised(wanted), event


def test_a_copy_beyond_the_grace_is_answered_the_same_when_its_batch_comes_again() -> None:
    """What has left the history is gone before the batch, and not once the batch has been stored."""
    day_ms = 86_400_000
    begin_ms = 1_700_000_000_000
    first, second, newest, after = (
        Event("c", name, "authorization", begin_ms + int(days * day_ms), 100)
        for name, days in (("a", 0), ("b", 6), ("n", 9), ("z", 9.5))
    )
    cards = Cards()
    for event in (first, second, newest):
        cards.apply([event])
    begin = cards.offset
    answers = cards.apply([second, after])
    assert answers[0].beyond_grace
    again = cards.apply([second, after], first_offset=begin)
    assert [replace(a, duplicate=False) for a in again] == [replace(a, duplicate=False) for a in answers]


def test_a_batch_that_was_applied_in_halves_comes_again_as_a_whole() -> None:
    """The second half must not settle what the first one appended: nothing of the batch is acknowledged yet."""
    begin_ms = 1_700_000_000_000
    events = [
        Event("c", name, "authorization", begin_ms + days * 86_400_000, 100)
        for name, days in (("a", 0), ("x", 2), ("y", 3))
    ]
    cards = Cards()
    first = cards.apply(events[:2], whole=0) + cards.apply(events[2:], whole=0)
    cards.begin()
    assert cards.apply(events, first_offset=0) == first == expected(events)


def test_what_comes_again_in_parts_finds_the_history_of_its_moment() -> None:
    """The copy's first came again in the part before; and the id is used anew when it has left the history."""
    begin_ms = 1_700_000_000_000
    events = [
        Event("c", name, "authorization", begin_ms + days * 86_400_000, 100)
        for name, days in (("a", 0), ("x", 2), ("a", 0), ("y", 9), ("a", 0))
    ]
    cards, wanted = Cards(), expected(events)
    assert [promised(a) for a in cards.apply(events)] == [promised(a) for a in wanted]
    cards.begin()
    for offset, event in enumerate(events):
        (again,) = cards.apply([event], first_offset=offset)
        assert _as_promised(again, wanted[offset]) == but_the_flag(promised(wanted[offset])), offset


@pytest.mark.parametrize("sizes", [[1, 1, 1], [3], [2, 1], [1, 2]])
def test_an_original_that_its_reversal_preceded_is_out_where_a_week_begins_with_it(sizes: list[int]) -> None:
    """The reversal stands before all that the last one's week can reach, and what it took out is the first of it."""
    hour_ms, begin_ms = 3_600_000, 1_700_000_000_000
    events = [
        Event("c", "r", "reversal", begin_ms, 1, original="o"),
        Event("c", "o", "authorization", begin_ms + hour_ms, 700),
        Event("c", "x", "authorization", begin_ms + 2 * hour_ms, 900),
    ]
    cards = Cards()
    answers = [a for batch in split(events, sizes) for a in cards.apply(batch)]
    assert answers == expected(events)
    assert answers[2].features
    assert answers[2].features["num_trans_last_1w"] == 1
