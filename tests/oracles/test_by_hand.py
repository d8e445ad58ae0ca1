"""The naive oracle and the SQL one against numbers worked out by hand."""

from dataclasses import replace

import pytest

from .naive import DAY_MS, NO_LAST_S, TEN_MINUTES_MS, WEEK_MS, Answer, Event, NaiveCards
from .sql import Row, sql_windows

T = 1_700_000_000_000  # 2023-11-14T22:13:20Z
KEEP_MS = WEEK_MS + DAY_MS


def auth(transaction_id, t_ms, amount_minor=100, **more):
    return Event("c", transaction_id, "authorization", t_ms, amount_minor, **more)


def undo(original, t_ms=T):
    return Event("c", f"undo-{original}", "reversal", t_ms, 100, original=original)


def answers(*events, **how):
    cards = NaiveCards(**how)
    return [cards.apply(event) for event in events]


def counts(answer):
    return answer.features["num_trans_last_10m"], answer.features["num_trans_last_1w"]


def test_every_feature_of_a_third_purchase_by_hand():
    third = answers(
        auth("a", T - DAY_MS, 1_000, mcc="5411", country="US"),
        auth("b", T - 300_000, 200, mcc="5411", country="JP"),
        auth("c", T, 300, mcc=None, country="US"),
    )[2]
    assert third == Answer(
        {
            "amount": 3.0,
            "num_trans_last_10m": 2,
            "num_trans_last_1w": 3,
            "avg_amt_last_10m": 2.5,
            "avg_amt_last_1w": 5.0,
            "amt_ratio1": 0.5,
            "amt_ratio2": 0.6,
            "count_ratio": 2 / 3,
            "secs_since_last": 300.0,
            "prev_amt": 2.0,
            "min_amt_last_10m": 2.0,
            "max_amt_last_10m": 3.0,
            "max_amt_last_1w": 10.0,
            "hour_of_day": 22,
            "num_countries_last_10m": 2,
            "num_mccs_last_10m": 1,
        }
    )


def test_a_new_card_has_counts_and_ratios_of_one():
    (only,) = answers(auth("a", T, 10_000))
    assert counts(only) == (1, 1)
    assert [only.features[name] for name in ("amt_ratio1", "amt_ratio2", "count_ratio")] == [1.0, 1.0, 1.0]
    assert only.features["secs_since_last"] == 604_800.0
    assert only.features["prev_amt"] == 0.0
    assert only.features["num_countries_last_10m"] == only.features["num_mccs_last_10m"] == 0


@pytest.mark.parametrize(("gap_ms", "expected"), [(600_000, (2, 2)), (600_001, (1, 2))])
def test_ten_minutes_are_closed_on_both_sides(gap_ms, expected):
    assert counts(answers(auth("a", T), auth("b", T + gap_ms))[1]) == expected


@pytest.mark.parametrize(("gap_ms", "week", "since"), [(604_800_000, 2, 604_800.0), (604_800_001, 1, NO_LAST_S)])
def test_a_week_is_closed_on_both_sides(gap_ms, week, since):
    second = answers(auth("a", T, 700), auth("b", T + gap_ms))[1]
    assert (second.features["num_trans_last_1w"], second.features["secs_since_last"]) == (week, since)
    assert second.features["prev_amt"] == (7.0 if week == 2 else 0.0)


def test_order_of_application_decides_who_sees_whom():
    a, b, c, d = answers(auth("a", T + 60_000), auth("b", T + 30_000), auth("c", T + 30_000), auth("d", T + 60_000))
    assert [counts(x) for x in (a, b, c, d)] == [(1, 1), (1, 1), (2, 2), (4, 4)]
    assert [x.late_by_ms for x in (a, b, c, d)] == [None, 30_000, 30_000, None]


def test_of_equal_times_the_last_is_the_latest_in_order():
    third = answers(auth("a", T, 100), auth("b", T, 900), auth("c", T - 1, 500), auth("d", T, 100))[3]
    assert (third.features["secs_since_last"], third.features["prev_amt"]) == (0.0, 9.0)


def test_a_reversed_one_is_not_the_last():
    third = answers(auth("a", T, 400), auth("b", T + 1_000, 900), undo("b"), auth("c", T + 2_500))[3]
    assert (third.features["secs_since_last"], third.features["prev_amt"]) == (2.5, 4.0)


@pytest.mark.parametrize(("currency", "exponent", "avg"), [("JPY", 0, 150.0), ("USD", 2, 1.5), ("KWD", 3, 0.15)])
def test_amounts_are_in_major_units(currency, exponent, avg):
    first, second = (auth(i, T, amount, currency=currency, exponent=exponent) for i, amount in (("a", 100), ("b", 200)))
    assert answers(first, second)[1].features["avg_amt_last_10m"] == avg


def test_a_copy_changes_nothing_and_answers_the_first_again():
    a, b, again, after = answers(auth("a", T, 100), auth("b", T + 1, 300), auth("a", T, 100), auth("x", T + 2, 500))
    assert again == replace(a, duplicate=True)
    assert counts(b) == (2, 2)
    assert (counts(after), after.features["avg_amt_last_10m"]) == ((3, 3), 3.0)


def test_a_copy_of_a_late_one_is_late_by_as_much_as_the_first():
    _, late, _, again = answers(auth("a", T + 5_000), auth("b", T), auth("x", T + DAY_MS), auth("b", T))
    assert late.late_by_ms == again.late_by_ms == 5_000
    assert (again.duplicate, again.beyond_grace) == (True, False)


@pytest.mark.parametrize("other", [{"amount_minor": 101}, {"t_ms": T + 1}, {"currency": "EUR"}])
def test_a_contradicting_copy_is_a_conflict_and_the_first_stands(other):
    first, copy, after = answers(auth("a", T), replace(auth("a", T), **other), auth("b", T + TEN_MINUTES_MS))
    assert copy == replace(first, duplicate=True, conflict=True)
    assert (counts(after), after.features["max_amt_last_1w"], after.late_by_ms) == ((2, 2), 1.0, None)


def test_a_copy_knows_only_reversals_up_to_the_first():
    _, _, copied, _, again, after = answers(
        auth("a", T, 100), undo("nobody"), auth("b", T, 300), undo("a"), auth("b", T, 300), auth("x", T, 500)
    )
    assert counts(copied) == counts(again) == (2, 2)
    assert again.features["avg_amt_last_1w"] == 2.0
    assert (counts(after), after.features["avg_amt_last_1w"]) == ((2, 2), 4.0)


def test_a_reversal_takes_out_once_and_keeps_the_newest_time():
    _, applied, repeated, unknown, after = answers(
        auth("a", T), undo("a", T + DAY_MS), undo("a"), undo("z"), auth("b", T - 1)
    )
    assert applied == Answer(None, reversal="applied", reversed="a")
    assert repeated == Answer(None, reversal="repeated", reversed="a")
    assert unknown == Answer(None, reversal="unknown_original", reversed="z")
    assert (counts(after), after.late_by_ms) == ((1, 1), 1)


def test_a_reversal_before_its_original_spares_the_originals_own_windows():
    _, early, late, again, after, copy = answers(
        auth("a", T, 100), undo("x"), auth("x", T, 300), undo("x"), auth("b", T, 500), auth("x", T, 300)
    )
    assert early.reversal == "unknown_original"
    assert (counts(late), late.features["avg_amt_last_10m"]) == ((2, 2), 2.0)
    assert again.reversal == "repeated"
    assert (counts(after), after.features["avg_amt_last_10m"]) == ((2, 2), 3.0)
    assert copy == replace(late, duplicate=True)


@pytest.mark.parametrize(("behind_ms", "beyond"), [(86_400_000, False), (86_400_001, True)])
def test_beyond_grace_begins_one_millisecond_after_grace(behind_ms, beyond):
    edge = auth("edge", T - behind_ms - WEEK_MS)
    _, first, _, late, copy = answers(
        edge, auth("a", T - behind_ms), auth("b", T), auth("x", T - behind_ms), auth("a", T - behind_ms)
    )
    assert (late.late_by_ms, late.beyond_grace, copy.beyond_grace) == (behind_ms, beyond, beyond)
    assert (first.beyond_grace, counts(first)) == (False, (1, 2))
    assert counts(late) == ((2, 2) if beyond else (2, 3))  # beyond grace the edge is already gone
    assert copy.features == first.features


def test_grace_is_an_argument():
    late = answers(auth("a", T), auth("b", T - 1_001), grace_ms=1_000)[1]
    assert (late.late_by_ms, late.beyond_grace) == (1_001, True)


def test_a_copy_is_known_to_the_end_of_the_history_and_new_after_it():
    *_, known = answers(auth("a", T), auth("b", T + KEEP_MS), auth("a", T))
    assert (known.duplicate, known.beyond_grace, known.late_by_ms) == (True, True, None)
    *_, new, again = answers(auth("a", T), auth("b", T + KEEP_MS + 1), auth("a", T), auth("a", T))
    assert new == again == replace(new, duplicate=False, late_by_ms=691_200_001, beyond_grace=True)
    assert counts(new) == (1, 1)


def test_what_is_gone_cannot_be_reversed_and_a_new_one_of_its_id_comes_reversed():
    _, _, undone, fresh, after = answers(
        auth("a", T), auth("b", T + KEEP_MS + 1), undo("a"), auth("a", T + KEEP_MS + 1), auth("x", T + KEEP_MS + 1)
    )
    assert undone.reversal == "unknown_original"
    assert (counts(fresh), fresh.duplicate) == ((2, 2), False)
    assert counts(after) == (2, 2)


@pytest.mark.parametrize(("later_ms", "week"), [(691_200_000, 2), (691_200_001, 3)])
def test_a_remembered_reversal_lasts_a_week_and_grace(later_ms, week):
    now = T + later_ms
    *_, after = answers(auth("a", T), undo("x", T - DAY_MS), auth("b", now), auth("x", now), auth("d", now))
    assert after.features["num_trans_last_1w"] == week


def test_a_remembered_reversal_with_an_old_time_counts_from_the_newest():
    *_, repeated, x, after = answers(auth("a", T), undo("x", T - 30 * DAY_MS), undo("x"), auth("x", T), auth("b", T))
    assert repeated.reversal == "repeated"
    assert (counts(x), counts(after)) == ((2, 2), (2, 2))


def test_an_id_belongs_to_its_card():
    other = replace(auth("a", T), card="other")
    cross = replace(undo("a"), card="other")
    a, b, undone, again = answers(auth("a", T), other, cross, auth("a", T))
    assert (b.duplicate, undone.reversal) == (False, "applied")
    assert (again.duplicate, a.features) == (True, b.features)


def test_copies_and_reversals_of_folded_records_change_nothing():
    _, _, _, copy, undone, after = answers(
        auth("a", T), auth("b", T + 1), auth("x", T + 2), auth("a", T), undo("a"), auth("d", T + 3), hot=2
    )
    assert (copy.duplicate, copy.beyond_grace) == (True, True)
    assert (undone.reversed, undone.beyond_grace) == ("a", True)
    assert counts(after) == (4, 4)


def test_sql_windows_by_hand():
    rows = [
        Row(0, "c", T - WEEK_MS, 1_000, None),
        Row(1, "c", T - TEN_MINUTES_MS, 200, 3),
        Row(2, "c", T, 10**15, None),
        Row(3, "other", T, 5, None),
        Row(4, "c", T, 10**15, None),
    ]
    found = sql_windows(rows)
    assert [(w["num_10m"], w["num_1w"]) for w in found] == [(1, 1), (1, 2), (2, 3), (1, 1), (2, 3)]
    assert [w["sum_1w"] for w in found] == [1_000, 1_200, 10**15 + 1_200, 5, 2 * 10**15 + 1_000]
    assert [w["prev_amount"] for w in found] == [None, 1_000, 200, None, 10**15]
