"""The job as a Faust agent: one event at a time, a sorted set of Redis per card.

A round trip to Redis per event (a pipeline adds, trims and reads), a prediction per event, answers sent without waiting
for each; Faust flushes its producer before it commits offsets, every 2.8 s as it does by default. `take()` would give
batches, but acknowledges what an exception has left undone.
"""

from __future__ import annotations

from typing import Any

import faust
import orjson  # type: ignore[import-not-found]  # of its environment
import redis.asyncio

from bench.peers.programs.job import (
    BROKER,
    FOLDER,
    GROUP,
    KEPT_MS,
    REDIS,
    SESSION_TIMEOUT_S,
    SINK,
    SOURCE,
    WEEK_MS,
    Entry,
    Row,
    Scorer,
    decimals,
    entry_of,
    row_of,
)

app = faust.App(
    GROUP, broker=f"kafka://{BROKER}", store="memory://", value_serializer="json", topic_disable_leader=True,
    web_enabled=False, broker_session_timeout=SESSION_TIMEOUT_S, broker_heartbeat_interval=1, producer_linger=0.02,
    datadir=f"{FOLDER}/{GROUP}",
)  # fmt: skip
source, sink = app.topic(SOURCE), app.topic(SINK)
store = redis.asyncio.Redis.from_url(REDIS)
scorer = Scorer()


@app.agent(source)  # type: ignore[arg-type]  # it knows its streams by another name
async def score(events: faust.Stream[dict[str, Any]]) -> None:
    """Answer every transaction."""
    async for event in events.events():
        transaction: dict[str, Any] = event.value  # type: ignore[assignment]  # as JSON gives it
        place = {"partition": event.message.partition, "offset": event.message.offset}
        (outcome,) = scorer.answers([(transaction, place, await apply(transaction))])
        await sink.send(key=event.key, value=outcome)


async def apply(transaction: dict[str, Any]) -> Row | None:
    """Take a transaction into its card's set; returns its features, None of what is not scored."""
    key = f"{GROUP}:{transaction['card_id']}"
    match transaction.get("type"):
        case "history":
            await store.zadd(key, {orjson.dumps(entry): entry[0] for entry in transaction.pop("history")})
            return None
        case "reversal":
            members: list[bytes] = await store.zrange(key, 0, -1)  # type: ignore[assignment]  # without scores
            if found := [one for one in members if orjson.loads(one)[1] == transaction["original_transaction_id"]]:
                await store.zrem(key, *found)
            return None
    entry = entry_of(transaction)
    return row_of(await week_of(key, entry), decimals(transaction))


async def week_of(key: str, entry: Entry) -> list[Entry]:
    """Add an entry to a set, and read the week that ends with it."""
    t_ms, member = entry[0], orjson.dumps(entry)
    pipeline = store.pipeline()
    pipeline.zadd(key, {member: t_ms})
    pipeline.zremrangebyscore(key, "-inf", f"({t_ms - KEPT_MS}")
    pipeline.zrangebyscore(key, t_ms - WEEK_MS, t_ms)
    pipeline.pexpire(key, KEPT_MS)
    members = (await pipeline.execute())[2]
    week = [tuple(orjson.loads(one)) for one in members if one != member]
    first = next((known for known in week if known[1] == entry[1]), None)
    if first is None:
        return [*week, entry]
    await store.zrem(key, member)  # a copy that says something else: what was said first stands
    return [*(known for known in week if known is not first and known[0] <= first[0]), first]


if __name__ == "__main__":
    app.main()
