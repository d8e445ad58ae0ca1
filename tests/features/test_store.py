"""The online store on a real Redis: one read, one fenced commit, and losses that do not go unnoticed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis import Redis

from features.errors import ConfigError, ServerUnavailable, StaleEpoch, StoreError, StoreLost
from features.redis_link import connect
from features.store import OnlineStore
from local.stack import Stack

TTL_MS = 60_000


@asynccontextmanager
async def a_store(servers: Stack, prefix: str, **options: Any) -> AsyncIterator[OnlineStore]:
    client = connect(servers.env()["FRAUD_REDIS_URL"], timeout_s=1.0)
    store = OnlineStore(client, key_prefix=prefix, ttl_ms=TTL_MS, startup_wait_s=options.get("startup_wait_s", 5.0))
    try:
        yield store
    finally:
        await store.stop()


def run(scene: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(scene())


def test_a_commit_is_read_back_with_its_offset(servers: Stack, unique: str, redis_client: Redis) -> None:
    async def scene() -> None:
        async with a_store(servers, unique) as store:
            await store.start()
            assert await store.claim(2) is None
            await store.commit(2, {"a": b"A", "b": b"\x00\xff"}, applied_before=None, applied=41)
            snapshot = (await store.read({2: ["b", "c", "a"]}))[2]
            assert snapshot.applied == 41
            assert snapshot.histories == [b"\x00\xff", None, b"A"]
            assert 0 < redis_client.pttl(f"{unique}hist:{{2}}:a") <= TTL_MS

    run(scene)


def test_a_zombie_is_refused_at_read_and_at_commit(servers: Stack, unique: str, redis_client: Redis) -> None:
    async def scene() -> None:
        async with a_store(servers, unique) as zombie, a_store(servers, unique) as owner:
            await zombie.claim(0)
            await zombie.commit(0, {"a": b"1"}, applied_before=None, applied=1)
            assert await owner.claim(0) == 1
            with pytest.raises(StaleEpoch):
                await zombie.read({0: ["a"]})
            with pytest.raises(StaleEpoch):
                await zombie.commit(0, {"a": b"2"}, applied_before=1, applied=2)
            assert redis_client.get(f"{unique}hist:{{0}}:a") == b"1"
            assert redis_client.get(f"{unique}applied:{{0}}") == b"1"

    run(scene)


def test_a_commit_whose_answer_was_lost_may_be_repeated(servers: Stack, unique: str) -> None:
    async def scene() -> None:
        async with a_store(servers, unique) as store:
            await store.claim(0)
            for _ in range(2):
                await store.commit(0, {"a": b"1"}, applied_before=None, applied=7)
            with pytest.raises(StoreLost):
                await store.commit(0, {"a": b"2"}, applied_before=3, applied=8)

    run(scene)


def test_a_loss_is_noticed_before_anything_is_scored(servers: Stack, unique: str, redis_client: Redis) -> None:
    async def scene() -> None:
        async with a_store(servers, unique) as store:
            await store.claim(0)
            await store.commit(0, {"a": b"1"}, applied_before=None, applied=7)
            old = redis_client.get(f"{unique}applied:{{0}}")
            redis_client.delete(f"{unique}epoch:{{0}}")
            with pytest.raises(StoreLost):
                await store.read({0: ["a"]})
            with pytest.raises(StoreLost):
                await store.commit(0, {"a": b"2"}, applied_before=7, applied=8)
            await store.claim(0)
            await store.commit(0, {"a": b"2"}, applied_before=7, applied=8)
            redis_client.set(f"{unique}applied:{{0}}", old)
            with pytest.raises(StoreLost, match="8 was applied"):
                await store.read({0: ["a"]})

    run(scene)


def test_an_epoch_never_comes_back_even_after_a_loss(servers: Stack, unique: str, redis_client: Redis) -> None:
    async def scene() -> None:
        async with a_store(servers, unique) as first, a_store(servers, unique) as second:
            await first.claim(0)
            redis_client.delete(f"{unique}epoch:{{0}}")
            await second.claim(0)
            with pytest.raises(StaleEpoch):
                await first.read({0: ["a"]})

    run(scene)


def test_a_redis_that_may_evict_is_refused(servers: Stack, unique: str, redis_client: Redis) -> None:
    async def scene() -> None:
        async with a_store(servers, unique) as store:
            with pytest.raises(ConfigError, match=r"FRAUD_REDIS_URL.*noeviction"):
                await store.start()

    redis_client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        run(scene)
    finally:
        redis_client.config_set("maxmemory-policy", "noeviction")


def test_a_redis_out_of_memory_is_waited_for(servers: Stack, unique: str, redis_client: Redis) -> None:
    async def scene() -> None:
        async with a_store(servers, unique) as store:
            await store.claim(0)
            redis_client.config_set("maxmemory", "1")
            commit = asyncio.create_task(store.commit(0, {"a": b"1"}, applied_before=None, applied=1))
            done, _ = await asyncio.wait({commit}, timeout=1.0)
            redis_client.config_set("maxmemory", "0")
            assert not done
            await asyncio.wait_for(commit, 10)

    try:
        run(scene)
    finally:
        redis_client.config_set("maxmemory", "0")


def test_a_server_that_is_not_there_is_named() -> None:
    async def scene() -> None:
        store = OnlineStore(connect("redis://127.0.0.1:1/0"), key_prefix="", ttl_ms=TTL_MS, startup_wait_s=0.5)
        with pytest.raises(ServerUnavailable, match="FRAUD_REDIS_URL"):
            await store.start()

    run(scene)


def test_what_redis_refuses_is_an_error_of_ours(servers: Stack, unique: str, redis_client: Redis) -> None:
    async def scene() -> None:
        async with a_store(servers, unique) as store:
            redis_client.rpush(f"{unique}applied:{{0}}", "not a string")
            with pytest.raises(StoreError):
                await store.claim(0)

    run(scene)
    with pytest.raises(ConfigError, match="FRAUD_REDIS_URL"):
        connect("http://example.com")


@pytest.mark.parametrize(
    ("fall_ill", "get_well"),
    [
        (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")),
        (("CONFIG", "SET", "min-replicas-to-write", "1"), ("CONFIG", "SET", "min-replicas-to-write", "0")),
        (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")),
    ],
    ids=["read-only", "no replicas", "out of memory"],
)
def test_a_redis_that_refuses_to_write_for_now_is_waited_for(
    servers: Stack, unique: str, redis_client: Redis, fall_ill: tuple[str, ...], get_well: tuple[str, ...]
) -> None:
    """Whether a command says so or one inside the commit script, in the words of any version of Redis."""

    async def scene() -> None:
        async with a_store(servers, unique) as store:
            await store.claim(0)
            await store.commit(0, {"a": b"1"}, applied_before=None, applied=1)
            redis_client.execute_command(*fall_ill)
            try:
                works = [
                    asyncio.create_task(store.commit(0, {"a": b"2"}, applied_before=1, applied=2)),
                    asyncio.create_task(store.set_built_for(4)),
                ]
                done, _ = await asyncio.wait(works, timeout=1.0)
                assert not done, [work.exception() for work in done]
            finally:
                redis_client.execute_command(*get_well)
            await asyncio.wait_for(asyncio.gather(*works), 20)
            assert redis_client.get(f"{unique}applied:{{0}}") == b"2"

    run(scene)
