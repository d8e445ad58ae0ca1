"""Live traffic and the demo's play."""

from __future__ import annotations

import itertools
from datetime import datetime

import msgspec
import pytest

from features.decode import Decoder
from local.traffic import Traffic, natural_cards, scenario

START_MS = 1_767_225_600_000
DAY_MS = 86_400_000


@pytest.fixture(scope="module")
def events():
    return list(itertools.islice(Traffic(24_000, 3, START_MS, 20.0, 0.02), 40_000))


@pytest.fixture(scope="module")
def play():
    return scenario(START_MS, 4)


def event_ms(transaction):
    return round(datetime.fromisoformat(transaction["event_time"]).timestamp() * 1000)


def test_traffic_comes_in_order_at_its_rate(events):
    due = [event.due_ms for event in events]
    assert due == sorted(due)
    assert due[0] >= START_MS
    assert len(events) / ((due[-1] - due[0]) / 1000) == pytest.approx(20.0, rel=0.05)
    assert all(event_ms(event.transaction) == event.due_ms for event in events)


def test_traffic_is_the_same_for_the_same_arguments_only(events):
    again = list(itertools.islice(Traffic(24_000, 3, START_MS, 20.0, 0.02), 2_000))
    assert again == events[:2_000]
    later = next(iter(Traffic(24_000, 3, START_MS + 1, 20.0, 0.02)))
    assert later.transaction["transaction_id"] != events[0].transaction["transaction_id"]


def test_traffic_ids_are_unique(events):
    assert len({event.transaction["transaction_id"] for event in events}) == len(events)


def test_attack_share_and_gaps(events):
    frauds = [event for event in events if event.label.is_fraud]
    assert len(frauds) / len(events) == pytest.approx(0.02, rel=0.25)
    attacks = itertools.groupby(
        sorted(frauds, key=lambda event: (event.label.attack_id, event.due_ms)), key=lambda event: event.label.attack_id
    )
    for _, group in attacks:
        attack = list(group)
        assert len({event.transaction["card_id"] for event in attack}) == 1
        assert [event.label.attack_position for event in attack] == list(range(1, len(attack) + 1))
        gaps = [after.due_ms - before.due_ms for before, after in itertools.pairwise(attack)]
        assert all(30_000 <= gap <= 120_000 for gap in gaps)


def test_no_attacks_when_none_are_asked_for():
    quiet = itertools.islice(Traffic(100, 3, START_MS, 20.0, 0.0), 5_000)
    assert not any(event.label.is_fraud for event in quiet)


def test_labels_stay_outside_the_transaction(events):
    fields = set(itertools.chain.from_iterable(event.transaction for event in events))
    assert fields == {
        "transaction_id", "card_id", "amount", "currency", "event_time", "merchant_id", "merchant_category",
        "country", "channel", "device_id", "ip_address", "email",
    }  # fmt: skip
    assert msgspec.json.decode(msgspec.json.encode(events[0].transaction)) == events[0].transaction


def test_every_transaction_is_one_of_the_contract(events, play):
    decoder = Decoder(None)
    for event in [*events[:5_000], *(one.event for one in play)]:
        transaction = decoder.decode(msgspec.json.encode(event.transaction))
        assert transaction.event_ms == event.due_ms
        assert transaction.dropped_fields == ()
        assert transaction.card_last4 is None


def test_amounts_are_exact_decimal_strings(events):
    assert all(event.transaction["amount"][-3] == "." for event in events)
    assert min(float(event.transaction["amount"]) for event in events) >= 0.01


@pytest.mark.parametrize(
    ("cards", "rate", "share"), [(0, 1.0, 0.1), (1, 0.0, 0.1), (1, 1.0, 1.0), (1, 1.0, -0.1), (1, float("nan"), 0.1)]
)
def test_impossible_traffic_is_refused(cards, rate, share):
    with pytest.raises(ValueError, match="must be"):
        Traffic(cards, 1, START_MS, rate, share)


def test_natural_cards_are_used_as_often_as_in_the_reference():
    assert 2.0 * 86_400 / natural_cards(2.0) == pytest.approx(3.6)


def test_scenario_is_in_order_and_inside_its_span(play):
    due = [one.event.due_ms for one in play]
    assert due == sorted(due)
    assert due[0] >= START_MS
    assert due[-1] <= START_MS + DAY_MS
    assert play == scenario(START_MS, 4)


def test_scenario_one_off_cards_are_used_once(play):
    one_off = [one for one in play if one.part == "one-off"]
    cards = [one.event.transaction["card_id"] for one in play]
    assert len(one_off) == 3
    assert all(one.expected == "approve" and cards.count(one.event.transaction["card_id"]) == 1 for one in one_off)
    assert "100.00" in [one.event.transaction["amount"] for one in one_off]


def test_scenario_attacks_test_the_card_and_are_alone_on_it(play):
    attacks = {one.event.label.attack_id for one in play if one.part == "attack"}
    assert attacks == set(range(5))
    for attack in attacks:
        hits = [one for one in play if one.event.label.attack_id == attack]
        card = hits[0].event.transaction["card_id"]
        first, last = hits[0].event.due_ms, hits[-1].event.due_ms
        assert [one.expected for one in hits] == [None] + ["flagged"] * (len(hits) - 1)
        assert float(hits[1].event.transaction["amount"]) <= 2
        around = [one for one in play if one.event.transaction["card_id"] == card]
        near = [one for one in around if first - 600_000 <= one.event.due_ms <= last + 600_000]
        assert near == hits


def test_scenario_background_is_ordinary(play):
    background = [one for one in play if one.part == "background"]
    assert len(background) == 4_000
    assert not any(one.event.label.is_fraud or one.expected for one in background)


def test_scenario_needs_some_time():
    with pytest.raises(ValueError, match="at least"):
        scenario(START_MS, 1, span_ms=60_000)
