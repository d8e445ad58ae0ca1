"""Lists in Redis: what the command writes is what look-ups find, until it ends, and card numbers are nowhere."""

from __future__ import annotations

import asyncio
import math
import re
from pathlib import Path

import pytest
from redis import Redis

from features.errors import ConfigError, ServerUnavailable
from features.pan import token
from features.redis_link import connect
from local.ports import HOST, free_port
from scoring.rules.entries import list_entry
from scoring.rules.lists import ListDefinition
from streams.lists import ListBook, ListStore
from tests.fraudstream.test_cli import run

SECURITY = Path(__file__).resolve().parents[2] / "docs" / "security.md"
CARD = "4111 1111 1111 1111"
KEY = "k" * 32
CARDS = {"cards": ListDefinition("cards", "card_id", redis=True)}


def on_redis(url: str, prefix: str, steps):
    """Run an async function of a store and a book."""

    async def all_steps():
        client = connect(url)
        store = ListStore(client, prefix)
        try:
            return await steps(store, ListBook(store))
        finally:
            await client.aclose()

    return asyncio.run(all_steps())


@pytest.fixture
def url(servers):
    return servers.env()["FRAUD_REDIS_URL"]


def test_what_is_added_is_found_until_it_ends_or_is_removed(url, unique):
    async def steps(store, book):
        assert book.members == {}
        assert await book.refresh(CARDS, 1_000)
        assert not book.members["cards"].has("a")
        await store.add("cards", "card_id", ["a", "b"], 5_000, 1_000)
        await store.add("cards", "card_id", ["c"], math.inf, 1_000)
        assert await book.refresh(CARDS, 1_001)
        assert [book.members["cards"].has(v) for v in "abcd"] == [True, True, True, False]
        assert not await book.refresh(CARDS, 1_002)
        await store.remove("cards", ["b"])
        assert await book.refresh(CARDS, 1_003)
        assert [book.members["cards"].has(v) for v in "abc"] == [True, False, True]
        # Nobody changes it any more: it ends by itself.
        assert not await book.refresh(CARDS, 4_999)
        assert await book.refresh(CARDS, 5_000)
        assert [book.members["cards"].has(v) for v in "abc"] == [False, False, True]
        assert await store.entries("cards", 5_000) == [("c", math.inf)]

    on_redis(url, unique, steps)


def test_an_entry_that_is_added_again_lasts_longer(url, unique):
    async def steps(store, book):
        await store.add("cards", "card_id", ["a"], 2_000, 1_000)
        await book.refresh(CARDS, 1_000)
        assert await store.add("cards", "card_id", ["a"], 9_000, 1_000) == 0
        await book.refresh(CARDS, 3_000)
        assert book.members["cards"].has("a")

    on_redis(url, unique, steps)


def test_a_list_of_100_000_entries(url, unique):
    async def steps(store, book):
        entries = [f"card-{n}" for n in range(100_000)]
        assert await store.add("cards", "card_id", entries, math.inf, 1_000) == 100_000
        await book.refresh(CARDS, 1_000)
        assert len(book.members["cards"].values) == 100_000
        assert book.members["cards"].has("card-99999")

    on_redis(url, unique, steps)


def test_a_list_of_another_field_is_refused_and_not_used(url, unique):
    async def steps(store, book):
        await store.add("cards", "merchant_id", ["a"], math.inf, 1_000)
        with pytest.raises(ConfigError, match="is one of merchant_id"):
            await store.add("cards", "card_id", ["a"], math.inf, 1_000)
        await book.refresh(CARDS, 1_000)
        assert book.members == {}

    on_redis(url, unique, steps)


def test_without_redis_the_lists_stay_as_they_were():
    async def steps(_store, book):
        with pytest.raises(ServerUnavailable):
            await book.refresh(CARDS, 1_000)
        assert book.members == {}

    on_redis(f"redis://{HOST}:{free_port()}/0", "", steps)


def test_the_commands(url, unique, tmp_path, redis_client: Redis):
    variables = {"FRAUD_REDIS_URL": url, "FRAUD_KEY_PREFIX": unique, "FRAUD_PAN_KEY": KEY}
    (tmp_path / "cards.txt").write_text(f"# a note\n\ntok_x\n{CARD}\n")

    added = run(tmp_path, "list", "add", "cards", "tok_y", "--file", "cards.txt", "--for", "2d", **variables)
    assert added.returncode == 0, added.stderr
    assert "3 entries, 3 of them new" in added.stdout
    shown = run(tmp_path, "list", "show", "cards", **variables).stdout
    assert {line.split()[0] for line in shown.splitlines()} == {
        "tok_x",
        "tok_y",
        token(KEY.encode(), CARD.replace(" ", "")),
    }
    removed = run(tmp_path, "list", "remove", "cards", CARD, "none", **variables)
    assert "1 of 2 entries were in it" in removed.stdout
    assert run(tmp_path, "list", "show", **variables).stdout == "cards  card_id\n"

    everything = b"".join(
        key + b"".join(redis_client.zrange(key, 0, -1)) if redis_client.type(key) == b"zset" else key
        for key in redis_client.scan_iter(f"{unique}*")
    )
    assert b"1111" not in everything


def test_what_the_commands_refuse(url, unique, tmp_path):
    variables = {"FRAUD_REDIS_URL": url, "FRAUD_KEY_PREFIX": unique}
    for words, said in (
        (("add", "cards", CARD), "set FRAUD_PAN_KEY"),
        (("add", "mccs", CARD, "--field", "merchant_category"), "is a card number"),
        (("add", "cards", "x", "--field", "amount"), "there is no field amount"),
        (("add", "cards", "x", "--for", "soon"), "--for: a number"),
        (("add", "a b", "x"), "the name of a list"),
        (("add", "cards"), "name entries"),
        (("remove", "nothing", "x"), "there is no list nothing"),
    ):
        done = run(tmp_path, "list", *words, **variables)
        assert done.returncode == 78, (words, done.stderr)
        assert said in done.stderr
        assert "4111" not in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("text", "field", "expected"),
    [
        (" x ", "card_id", "x"),
        (CARD, "card_id", token(KEY.encode(), CARD.replace(" ", ""))),
        ("shop-4111111111111111", "merchant_id", None),
    ],
)
def test_entries_are_what_decode_makes_of_them(text, field, expected):
    from features.decode import Decoder

    value = {
        "transaction_id": "1",
        "card_id": "c",
        "amount": 1,
        "currency": "EUR",
        "event_time": 0,
        field: text.strip(),
    }
    import json

    decoded = getattr(Decoder(KEY.encode()).decode(json.dumps(value).encode()), field)
    assert list_entry(text, field, KEY.encode()) == decoded
    assert expected in {None, decoded}


def test_the_rights_that_the_documentation_names_suffice(url, unique, tmp_path, redis_client: Redis):
    user = f"lists-{unique}"
    (rule,) = re.findall(r"^ACL SETUSER lists (.+)$", SECURITY.read_text(), re.MULTILINE)
    rights = rule.replace("PREFIX", unique).replace("PASSWORD", "secret").split()
    redis_client.execute_command("ACL", "SETUSER", user, *rights)
    try:
        address = url.replace("redis://", f"redis://{user}:secret@")
        variables = {"FRAUD_REDIS_URL": address, "FRAUD_KEY_PREFIX": unique}
        for words in (("add", "cards", "a", "b"), ("remove", "cards", "b"), ("show", "cards"), ("show",)):
            done = run(tmp_path, "list", *words, **variables)
            assert done.returncode == 0, (words, done.stderr)
        assert "NOPERM" not in done.stderr
    finally:
        redis_client.execute_command("ACL", "DELUSER", user)
