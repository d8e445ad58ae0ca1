"""The key of the card numbers is changed under traffic: windows go on counting exactly, and old tokens disappear."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from redis import Redis

from features import pan
from features.errors import ConfigError
from fraudstream.in_force import lines
from streams.settings import load_settings
from tests.streams.pipeline import Pipeline
from tests.streams.records import Raw, now_ms, read_all, value_of, wait_acknowledged

A, B = "a" * 32, "b" * 32
KEYS = {"FRAUD_PAN_KEY": A, "FRAUD_PAN_KEYS_OLD": B}
SWAPPED = {"FRAUD_PAN_KEY": B, "FRAUD_PAN_KEYS_OLD": A}
CARDS = [card for n in range(300) if pan.luhn_valid(card := f"4{n:015d}")]
COUNT = "num_trans_last_1w"


class Traffic:
    """Authorizations on a few cards, and what the week's count of each must be."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline, self._random, self._began_ms = pipeline, random.Random(5), now_ms() - 3_600_000
        self._seen = dict.fromkeys(CARDS, 0)
        self.expected: dict[str, int] = {}

    def send(self, number: int, cards: list[str] = CARDS) -> None:
        """So many transactions of cards drawn by lot; each card has one at least."""
        for card in [*cards, *self._random.choices(cards, k=number - len(cards))]:
            self._seen[card] += 1
            name = f"{len(self.expected)}"
            self.expected[name] = self._seen[card]
            self._pipeline.publish([(card, self._value(card, name))])

    def repeat(self, name: str, card: str) -> None:
        """A transaction once more."""
        self._pipeline.publish([(card, self._value(card, name))])

    def _value(self, card: str, name: str) -> bytes:
        return value_of(transaction_id=name, card_id=card, event_time=self._began_ms + int(name))


def tokens(key: str) -> set[str]:
    return {pan.token(key.encode(), card) for card in CARDS}


def stored(redis: Redis, pipeline: Pipeline) -> set[str]:
    return {key.decode().rpartition(":")[2] for key in redis.scan_iter(f"{pipeline.prefix}hist:*")}


def counts(records: list[Raw]) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for record in records:
        body = record.json()
        found.setdefault(body["transaction_id"], set()).add(body["fraud"]["features"][COUNT])
    return found


@pytest.mark.parametrize(
    ("current", "old", "told"),
    [
        ("", B, "FRAUD_PAN_KEY is not"),
        (A, "short", "at least 32 bytes"),
        (A, f"{B}, {A}", "joined by commas alone"),
        (A, f"{B},", "at least 32 bytes"),
    ],
)
def test_keys_that_cannot_be_used_are_refused_and_not_quoted(monkeypatch, current: str, old: str, told: str) -> None:
    monkeypatch.setenv("FRAUD_PAN_KEY", current)
    monkeypatch.setenv("FRAUD_PAN_KEYS_OLD", old)
    with pytest.raises(ConfigError, match="FRAUD_PAN_KEYS_OLD") as refused:
        load_settings(None)

    assert told in str(refused.value)
    assert A not in str(refused.value)
    assert B not in str(refused.value)


def test_older_keys_keep_their_order(monkeypatch) -> None:
    monkeypatch.setenv("FRAUD_PAN_KEY", A)
    monkeypatch.setenv("FRAUD_PAN_KEYS_OLD", f"{B},{B}x")
    settings = load_settings(None)

    assert settings.old_pan_keys() == [B.encode(), f"{B}x".encode()]
    assert not [line for line in lines(settings) if A in line or B in line]


def test_a_changed_key_finds_every_history(make_pipeline: Callable[..., Pipeline], redis_client: Redis) -> None:
    pipeline = make_pipeline(FRAUD_PAN_KEY=A)
    traffic = Traffic(pipeline)
    role = pipeline.start().wait_ready()
    traffic.send(200)
    wait_acknowledged(pipeline)
    assert role.stop() == 0
    assert stored(redis_client, pipeline) == tokens(A)

    # One card sees nothing but a copy under the new key: it is moved all the same.
    pipeline.variables.update(SWAPPED)
    role = pipeline.start().wait_ready()
    traffic.send(200, CARDS[1:])
    traffic.repeat("0", CARDS[0])
    wait_acknowledged(pipeline)
    assert role.stop() == 0

    found = counts(read_all(pipeline, "processed_transactions"))
    assert found == {name: {count} for name, count in traffic.expected.items()}
    assert stored(redis_client, pipeline) == tokens(B)


def test_workers_of_both_keys_side_by_side_lose_no_history(
    make_pipeline: Callable[..., Pipeline], redis_client: Redis
) -> None:
    pipeline = make_pipeline(**KEYS)
    traffic = Traffic(pipeline)
    one = pipeline.start().wait_ready()
    traffic.send(150)
    wait_acknowledged(pipeline)
    pipeline.variables.update(SWAPPED)
    two = pipeline.start().wait_ready()
    traffic.send(150)
    wait_acknowledged(pipeline)
    # Each has made tokens of its own; now every partition goes to the one, then to the other.
    assert stored(redis_client, pipeline) & tokens(A)
    assert stored(redis_client, pipeline) & tokens(B)
    assert two.stop() == 0
    traffic.send(150)
    wait_acknowledged(pipeline)
    two = pipeline.start().wait_ready()
    assert one.stop() == 0
    traffic.send(150)
    wait_acknowledged(pipeline)
    assert two.stop() == 0

    found = counts(read_all(pipeline, "processed_transactions"))
    assert found == {name: {count} for name, count in traffic.expected.items()}
    assert stored(redis_client, pipeline) == tokens(B)
