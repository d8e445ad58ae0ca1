"""A changed key of the card numbers: the decoder names the older tokens, and the store moves a history in one step."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis

from features import pan
from features.decode import Decoder
from features.redis_link import connect
from features.store import OnlineStore
from features.transaction import Transaction
from local.stack import Stack

VISA = "4111111111111111"
A, B, C = b"a" * 32, b"b" * 32, b"c" * 32


def record(**changed: Any) -> bytes:
    base = {"transaction_id": "t", "card_id": "c", "amount": "1.00", "currency": "EUR", "event_time": 1_700_000_000_000}
    return json.dumps({**base, **changed}).encode()


def decoded(key: bytes, *old: bytes, **changed: Any) -> Transaction:
    return Decoder(key, old).decode(record(**changed))


# A null takes the exact way, its absence the quick one.
@pytest.mark.parametrize("way", [{}, {"merchant_id": None}])
def test_a_card_number_is_known_by_its_older_tokens(way):
    transaction = decoded(C, B, A, card_id="4111 1111-11111111", **way)

    assert transaction.card_id == pan.token(C, VISA)
    assert transaction.old_card_ids == (pan.token(B, VISA), pan.token(A, VISA))
    assert transaction.home_id == VISA.encode()


@pytest.mark.parametrize("card", ["c1", "tok_abc", "4111111111111112"])
def test_a_card_that_is_no_number_has_no_older_tokens(card):
    assert decoded(C, B, A, card_id=card).old_card_ids == ()


def test_neither_the_current_key_nor_a_repeated_one_is_an_older_key():
    assert decoded(A, A, B, b"", B, card_id=VISA).old_card_ids == (pan.token(B, VISA),)


@given(st.lists(st.binary(min_size=32, max_size=40), min_size=2, max_size=4, unique=True))
def test_whatever_the_order_of_the_keys_a_card_has_the_same_tokens(keys):
    """So workers before and after the swap read and write the same keys."""
    tokens = [{t.card_id, *t.old_card_ids} for k in keys for t in [decoded(k, *keys, card_id=VISA)]]

    assert all(found == tokens[0] for found in tokens)
    assert len(tokens[0]) == len(keys)


def test_old_and_new_workers_mask_the_ids_of_a_transaction_alike():
    """Copies are recognised by the id: it must not depend on the key."""
    ids = {decoded(key, A, B, card_id=VISA, transaction_id=f"t-{VISA}").transaction_id for key in (A, B)}

    assert ids == {"t-************1111"}


def test_a_move_is_one_commit(servers: Stack, redis_client: Redis, unique: str):
    async def play() -> None:
        client = connect(servers.env()["FRAUD_REDIS_URL"])
        store = OnlineStore(client, key_prefix=unique, ttl_ms=60_000, startup_wait_s=5)
        await store.claim(0)
        await store.commit(0, {"old": b"1", "other": b"2"}, applied_before=None, applied=3)
        await store.commit(0, {"new": b"1", "other": b"3"}, applied_before=3, applied=4, dropped=["old", "absent"])
        # A lost answer: the same commit again.
        await store.commit(0, {"new": b"1", "other": b"3"}, applied_before=3, applied=4, dropped=["old", "absent"])
        await store.commit(0, {"both": b"4"}, applied_before=4, applied=5, dropped=["both"])
        await store.commit(0, {}, applied_before=5, applied=6, dropped=["both"])
        await store.stop()

    asyncio.run(play())

    keys = {key.decode().removeprefix(unique) for key in redis_client.scan_iter(f"{unique}hist*")}
    assert keys == {"hist:{0}:new", "hist:{0}:other"}
    assert redis_client.get(f"{unique}hist:{{0}}:other") == b"3"
    assert redis_client.get(f"{unique}applied:{{0}}") == b"6"
