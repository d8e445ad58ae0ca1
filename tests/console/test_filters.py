"""What the queue is asked for: from an address, to OpenSearch."""

from __future__ import annotations

from urllib.parse import parse_qsl

import pytest

from console.filters import Filters, order_of, query_of, read_filters
from console.library import Cursor, read_cursor
from tests.console.seed import PAN


def asked(**given: str) -> list[dict]:
    return query_of(read_filters(given), now_ms=10 * 86_400_000, name="ana", claimed=["c1"])["bool"]["filter"]


def test_at_first_the_queue_is_what_waits_for_an_answer():
    assert asked() == [{"terms": {"review.state": ["open", "escalated"]}}]


def test_whoever_searches_searches_everywhere():
    assert read_filters({"q": "merchant-7"}).state == "any"
    assert read_filters({"q": "merchant-7", "state": "open"}).state == "open"


def test_every_filter_becomes_a_condition():
    found = asked(
        state="closed", outcome="block", rule="r1", country="DE", mcc="5411", min_amount="10", max_amount="99.5",
        min_score="300", max_score="900", age="1d",
    )  # fmt: skip

    assert {"terms": {"review.state": ["closed"]}} in found
    assert {"term": {"fraud.outcome": "block"}} in found
    assert {"term": {"fraud.rule": "r1"}} in found
    assert {"term": {"country": "DE"}} in found
    assert {"term": {"merchant_category": "5411"}} in found
    assert {"range": {"amount": {"gte": 10.0, "lte": 99.5}}} in found
    assert {"range": {"fraud.score": {"gte": 300, "lte": 900}}} in found
    assert {"range": {"review.opened_at": {"lte": "1970-01-10T00:00:00.000Z"}}} in found


def test_mine_is_what_i_hold_and_what_i_have_answered():
    (mine,) = asked(mine="1")

    assert mine["bool"]["should"] == [{"ids": {"values": ["c1"]}}, {"term": {"label.analyst": "ana"}}]


@pytest.mark.parametrize("text", ["nan", "inf", "-5", "1e99", "abc", "", "٣"])
def test_what_makes_no_sense_is_left_out(text):
    assert read_filters({"min_amount": text, "max_score": text, "state": text, "sort": text, "age": text}) in {
        Filters(), Filters(min_amount=3.0, max_score=3),
    }  # fmt: skip


@pytest.mark.parametrize("text", [PAN, "4111 1111 1111 1111", "4111-1111-1111-1111"])
def test_a_card_number_is_never_looked_for(text):
    found = read_filters({"q": text})

    assert (found.q, found.hidden_card) == ("1111", True)
    assert PAN not in str(asked(q=text))


def test_filters_survive_the_way_through_an_address():
    filters = read_filters({"q": "a&b=c <x>", "state": "closed", "min_amount": "10.5", "mine": "1", "sort": "score"})

    assert read_filters(dict(parse_qsl(filters.query_string()))) == filters


def test_the_order_backwards_is_the_opposite():
    forwards, backwards = order_of("loss", backwards=False), order_of("loss", backwards=True)

    assert [next(iter(one)) for one in forwards] == [next(iter(one)) for one in backwards]
    for one, other in zip(forwards, backwards, strict=True):
        (ours,), (theirs,) = one.values(), other.values()
        assert {ours["order"], theirs["order"]} == {"asc", "desc"}
        assert {ours["missing"], theirs["missing"]} == {"_first", "_last"}


@pytest.mark.parametrize("text", ["", "x", "!!!!", "e30=", "bnVsbA==", "WzEsMg==", "ñ", "W3siYSI6MX1d"])
def test_a_cursor_that_is_none_is_the_start(text):
    assert read_cursor(text) is None


def test_a_cursor_is_a_place_in_the_list():
    assert read_cursor("W1sxLjUsIngiXSxmYWxzZV0=") == Cursor([1.5, "x"], backwards=False)
