"""Quiet cards go a road of their own, and nobody can tell."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features import quiet as quiet_module
from features import stored as stored_module
from features.catalogue import FEATURES, feature_matrix
from features.history import FOLDED, Entries, header, pack_words
from features.quiet import NATIVE, Quiet, apply_quiet
from features.stored import Limits, apply_stored
from features.walk import Batch, Delivery
from features.windows import WEEK_MS
from tests.features.driver import Cards, split
from tests.oracles.naive import Event
from tests.oracles.traffic import small_streams
from tests.properties import examples

BEGIN_MS = 1_700_000_000_000
DAY_MS = 86_400_000
LIMITS = Limits(WEEK_MS + DAY_MS, DAY_MS, 300_000, 4096)
needs_native = pytest.mark.skipif(NATIVE is None, reason="the native piece was not built here")


def entries(times_ms: list[int]) -> Entries:
    n = len(times_ms)
    no, clamped, codes = np.zeros(n, np.bool_), np.zeros(n, np.bool_), np.arange(1, n + 1)
    times = np.array(times_ms, np.int64)
    return Entries(
        times, times % 997 + 1, no, clamped, times.astype(np.uint64) + np.arange(n).astype(np.uint64), codes, codes
    )


def batch_of(times_ms: list[int], card: list[int], redelivered: int = 0) -> Batch:
    n = len(times_ms)
    offset = np.arange(n)
    return Batch(entries(times_ms), np.array(card, np.int64), np.array(times_ms), offset, offset < redelivered)


def packed(times_ms: list[int]) -> bytes:
    return header(0, 0) + pack_words(entries(times_ms)).tobytes()


def new(cards: int, last: int) -> Delivery:
    """None of the cards has met a record of the batch before."""
    return Delivery(np.full(cards, 8), np.full(cards, last))


def quiet_of(stored: list[bytes | None], batch: Batch, limit: int = 4096) -> Quiet:
    assert NATIVE is not None
    return apply_quiet(NATIVE, stored, batch, new(len(stored), 7), limit=limit, retention_ms=LIMITS.retention_ms)


@needs_native
@examples(120)
@given(small_streams(), st.lists(st.integers(1, 12), max_size=40), st.sampled_from([16, 1_000_000]))
def test_cards_are_answered_and_stored_as_columns_do_it(events: list[Event], sizes: list[int], limit: int) -> None:
    one, other = Cards(hot_card_records=limit), Cards(hot_card_records=limit)
    for number, batch in enumerate(split(events, [*sizes, *[1] * len(events)])):
        answers = one.apply(batch, commit=number % 3 > 0)
        again = one.apply(batch)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(stored_module, "NATIVE", None)
            assert other.apply(batch, commit=number % 3 > 0) == answers
            assert other.apply(batch) == again
        assert one.values == other.values


@needs_native
def test_a_quiet_card_takes_the_short_road() -> None:
    """What the property above would not notice: that nothing takes it."""
    minutes = [BEGIN_MS + i * 60_000 for i in range(30)]
    quiet = quiet_of([None, packed(minutes[:2])], batch_of(minutes[2:5], [1, 0, 1]))
    assert quiet.is_quiet.tolist() == [True, True]
    applied = stored_module.all_first(quiet_module.aggregates_of(quiet.columns), np.zeros(3, np.bool_))
    assert applied.ordinary
    assert applied.aggregates.week.count.tolist() == [3, 1, 4]
    assert applied.aggregates.previous_ms.tolist() == [minutes[1], -1, minutes[2]]
    assert quiet.packed[1] is not None
    assert quiet.packed[1][:8] == header(2, 7)


@needs_native
@pytest.mark.parametrize(
    ("stored", "batch"),
    [
        (packed([BEGIN_MS]), batch_of([BEGIN_MS - 1], [0])),
        (packed([BEGIN_MS + 1, BEGIN_MS]), batch_of([BEGIN_MS + 2], [0])),
        (packed([BEGIN_MS]), batch_of([BEGIN_MS], [0])),
        (None, batch_of([BEGIN_MS, BEGIN_MS + 1], [0, 0], redelivered=1)),
        (packed([BEGIN_MS])[:-1], batch_of([BEGIN_MS + 9], [0])),
        (b"short", batch_of([BEGIN_MS + 9], [0])),
        (packed([BEGIN_MS])[:7] + bytes([FOLDED]) + packed([BEGIN_MS])[8:], batch_of([BEGIN_MS + 9], [0])),
        (packed(list(range(BEGIN_MS, BEGIN_MS + 600))), batch_of([BEGIN_MS + 900], [0])),
    ],
    ids=["late", "disorder", "known", "again", "cut off", "short", "folded", "long"],
)
def test_a_card_that_is_not_quiet_does_not(stored: bytes | None, batch: Batch) -> None:
    quiet = quiet_of([stored], batch)
    assert quiet.is_quiet.tolist() == [False]
    assert quiet.packed == [None]


@needs_native
@pytest.mark.parametrize(("first", "is_quiet"), [(7, False), (8, True), (2**32 + 7, False), (2**32 + 8, True)])
def test_nor_does_one_that_has_met_a_part_of_the_batch(first: int, is_quiet: bool) -> None:
    """It was written at offset 7."""
    assert NATIVE is not None
    stored, delivery = header(0, 7) + packed([BEGIN_MS])[8:], Delivery(np.array([first]), np.array([first + 2]))
    found = apply_quiet(NATIVE, [stored], batch_of([BEGIN_MS + 1], [0]), delivery, limit=16, retention_ms=WEEK_MS)
    assert found.is_quiet.tolist() == [is_quiet]


@needs_native
def test_nor_does_one_that_may_be_folded() -> None:
    minutes = [BEGIN_MS + i * 60_000 for i in range(20)]
    assert quiet_of([packed(minutes[:15])], batch_of(minutes[15:16], [0]), limit=16).is_quiet.all()
    assert not quiet_of([packed(minutes[:16])], batch_of(minutes[16:17], [0]), limit=16).is_quiet.any()


@needs_native
def test_what_is_beyond_the_retention_leaves_with_the_next_batch() -> None:
    old, new = [BEGIN_MS, BEGIN_MS + 1, BEGIN_MS + 2], BEGIN_MS + 1 + LIMITS.retention_ms
    first = quiet_of([packed(old)], batch_of([new], [0]))
    second = quiet_of(first.packed, batch_of([new + 5], [0]))
    sizes = [None if value is None else (len(value) - 8) // 24 for value in (first.packed[0], second.packed[0])]
    assert sizes == [4, 4]
    assert second.packed[0] is not None
    assert second.packed[0][:8] == header(3, 7)


@pytest.mark.parametrize("native", [NATIVE, None])
def test_cards_of_both_kinds_keep_their_places(monkeypatch: pytest.MonkeyPatch, native: object) -> None:
    """The second card has a late record and a copy, the third is folded; the others are quiet."""
    monkeypatch.setattr(stored_module, "NATIVE", native)
    stored = [
        None,
        packed([BEGIN_MS]),
        packed([BEGIN_MS - DAY_MS + i * 600_000 for i in range(30)]),
        packed([BEGIN_MS - 9]),
    ]
    minutes = [BEGIN_MS + 60_000 * i for i in (1, 1, 0, 3, 0, 5, 6, 7)]
    batch = batch_of(minutes, [0, 1, 1, 3, 1, 0, 2, 3])
    batch.entries.identity[4] = batch.entries.identity[2]
    delivery = Delivery(np.full(4, 8), np.array([5, 6, 9, 7]))
    found = apply_stored(list(stored), batch, delivery, Limits(WEEK_MS, 0, 300_000, 16))
    assert found.applied.duplicate.tolist() == [False] * 4 + [True] + [False] * 3
    assert found.applied.aggregates.time_ms.tolist() == minutes
    assert found.applied.aggregates.week.count.tolist() == [1, 2, 2, 2, 2, 2, 31, 3]
    assert found.applied.aggregates.late_by_ms.tolist() == [0, 0, 60_000, 0, 60_000, 0, 0, 0]
    assert found.folded == 1
    assert [None if value is None else value[:4] for value in found.packed] == [
        offset.to_bytes(4, "little") for offset in delivery.last.tolist()
    ]


@pytest.mark.parametrize("native", [NATIVE, None])
def test_a_record_that_was_put_back_in_time_is_not_ordinary(monkeypatch: pytest.MonkeyPatch, native: object) -> None:
    monkeypatch.setattr(stored_module, "NATIVE", native)
    batch = batch_of([BEGIN_MS, BEGIN_MS + 1], [0, 1])
    batch.entries.clamped[:] = [False, True]
    applied = apply_stored([None, None], batch, new(2, 1), LIMITS).applied
    assert applied.clamped.tolist() == [False, True]
    assert not applied.ordinary


def test_nothing_is_a_batch_too() -> None:
    batch = batch_of([], [])
    applied = apply_stored([], batch, new(0, 1), LIMITS).applied
    assert applied.authorization.tolist() == []
    assert feature_matrix(applied.aggregates, np.empty(0, np.int64)).shape == (0, len(FEATURES))


@needs_native
def test_many_of_one_moment_are_told_apart_or_left_to_columns() -> None:
    quiet = quiet_of([None], batch_of([BEGIN_MS] * 100, [0] * 100))
    assert quiet_module.aggregates_of(quiet.columns).countries.tolist() == list(range(1, 101))
    assert not quiet_of([None], batch_of([BEGIN_MS] * 300, [0] * 300)).is_quiet.any()


@needs_native
@pytest.mark.parametrize("broken", range(10))
def test_arrays_that_do_not_belong_together_are_refused(broken: int) -> None:
    assert NATIVE is not None
    entry, card = pack_words(entries([BEGIN_MS + 9])), np.zeros(1, np.int64)
    arguments = [
        [packed([BEGIN_MS])], entry, card, np.zeros(1, np.bool_), card + 1, card, np.empty((14, 1), np.int64),
        np.empty(1, np.bool_), WEEK_MS, 512,
    ]  # fmt: skip
    assert NATIVE.apply(*arguments) == [header(1, 0) + packed([BEGIN_MS])[8:] + entry.tobytes()]
    wrong = [
        [],
        entry[:0],
        card + 1,
        np.zeros(2, np.bool_),
        card[:0],
        card[:0],
        np.empty(14, np.int32),
        np.empty(2, np.bool_),
        -1,
    ]
    if broken < len(wrong):
        with pytest.raises(ValueError, match="belong together"):
            NATIVE.apply(*arguments[:broken], wrong[broken], *arguments[broken + 1 :])
    with pytest.raises(ValueError, match="belong together"):
        NATIVE.apply(*arguments[:2], card - 1, *arguments[3:])
    with pytest.raises(TypeError):
        NATIVE.apply(*arguments[:-1])
