"""A few records go a road of their own, and nobody can tell."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features import apply
from features import few as few_module
from features.catalogue import FEATURES, feature_matrix
from features.few import FEW, NATIVE, append_few, append_in_python
from features.history import Entries, pack_words, unpack
from features.walk import Batch
from features.windows import WEEK_MS
from tests.features.driver import Cards, split
from tests.oracles.naive import Event
from tests.oracles.traffic import small_streams
from tests.properties import examples

BEGIN_MS = 1_700_000_000_000


@examples(80)
@given(small_streams(), st.lists(st.integers(1, 10) | st.just(FEW + 2), max_size=40))
def test_few_records_are_answered_and_stored_as_many_are(events: list[Event], sizes: list[int]) -> None:
    one, other = Cards(), Cards()
    for batch in split(events, [*sizes, *[1] * len(events)]):
        answers = one.apply(batch)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(apply, "FEW", 0)
            assert other.apply(batch) == answers
        assert one.values == other.values


def entries(times_ms: list[int]) -> Entries:
    n = len(times_ms)
    no, codes = np.zeros(n, np.bool_), np.arange(1, n + 1)
    times = np.array(times_ms, np.int64)
    return Entries(
        times, times % 997 + 1, no, no, times.astype(np.uint64) + np.arange(n).astype(np.uint64), codes, codes
    )


def test_a_quiet_card_takes_the_short_road() -> None:
    """What the property above would not notice: that nothing takes it."""
    minutes = [BEGIN_MS + i * 60_000 for i in range(30)]
    few = append_few(unpack([None, None]), pack_words(entries(minutes[:3])), np.array([1, 0, 1]), WEEK_MS)
    assert few is not None
    assert few.position.tolist() == [1, 0, 2]
    assert few.aggregates.week.count.tolist() == [1, 1, 2]
    assert few.aggregates.countries.tolist() == [1, 1, 2]


@pytest.mark.parametrize("second_ms", [BEGIN_MS - 1, BEGIN_MS], ids=["late", "known"])
def test_a_card_that_is_not_quiet_does_not(second_ms: int) -> None:
    twice = entries([BEGIN_MS, second_ms])
    twice.identity[1] = twice.identity[0] + np.uint64(second_ms < BEGIN_MS)
    assert append_few(unpack([None]), pack_words(twice), np.array([0, 0]), WEEK_MS) is None


def test_nothing_is_a_batch_too() -> None:
    nothing, no = np.empty(0, np.int64), np.empty(0, np.bool_)
    batch = Batch(entries([]), nothing, nothing, nothing, no)
    applied = apply.apply_batch(unpack([None]), batch, retention_ms=WEEK_MS, clock_skew_ms=0)
    assert applied.position.tolist() == []
    assert feature_matrix(applied.aggregates, nothing).shape == (0, len(FEATURES))


needs_native = pytest.mark.skipif(NATIVE is None, reason="the native piece was not built here")


@needs_native
@examples(80)
@given(small_streams(), st.lists(st.integers(1, 8), max_size=40))
def test_lists_and_words_say_the_same(events: list[Event], sizes: list[int]) -> None:
    one, other = Cards(), Cards()
    for batch in split(events, [*sizes, *[1] * len(events)]):
        answers = one.apply(batch)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(few_module, "NATIVE", None)
            assert other.apply(batch) == answers
        assert one.values == other.values


@needs_native
def test_many_of_one_moment_are_told_apart_or_left_to_columns() -> None:
    many = [BEGIN_MS] * 100
    new, card = pack_words(entries(many)), np.zeros(100, np.int64)
    few, slow = append_few(unpack([None]), new, card, WEEK_MS), append_in_python(unpack([None]), new, card, WEEK_MS)
    assert few is not None
    assert slow is not None
    assert few.aggregates.countries.tolist() == slow.aggregates.countries.tolist() == list(range(1, 101))
    three_hundred = pack_words(entries([BEGIN_MS] * 300))
    assert append_few(unpack([None]), three_hundred, np.zeros(300, np.int64), WEEK_MS) is None


@needs_native
@pytest.mark.parametrize("broken", range(9))
def test_arrays_that_do_not_belong_together_are_refused(broken: int) -> None:
    words, counts = pack_words(entries([BEGIN_MS, BEGIN_MS + 1])), np.array([2], np.int64)
    new, card = pack_words(entries([BEGIN_MS + 9])), np.zeros(1, np.int64)
    arguments = [
        words, counts, new, card, np.empty((3, 3), np.uint64), np.empty(2, np.int64), np.empty(1, np.int64),
        np.empty((14, 1), np.int64), WEEK_MS,
    ]  # fmt: skip
    assert NATIVE.append(*arguments)
    wrong = [words[:1], counts + 1, new[:0], card + 1, words, counts, np.empty(2, np.int64), np.empty(14, np.int32), -1]
    with pytest.raises(ValueError, match="belong together"):
        NATIVE.append(*arguments[:broken], wrong[broken], *arguments[broken + 1 :])
    with pytest.raises(ValueError, match="belong together"):
        NATIVE.append(*arguments[:3], card - 1, *arguments[4:])
    with pytest.raises(TypeError):
        NATIVE.append(*arguments[:-1])
