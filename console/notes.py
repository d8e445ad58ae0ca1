"""What the console keeps in Redis: claims, answers on their way, the outbox, the outcomes that are looked at.

{console}:claim:<case>       who works on it; expires
{console}:claims:<user>      sorted set: cases by the end of the claim
{console}:answer:<case>      the answer that stands, until OpenSearch has it for long
{console}:answered:<id>      an answer's id, so that the same one counts once
{console}:trail:<case>       list: its newest events, until OpenSearch has them for long
{console}:outcome:<case>     the document as last looked at, so that it can be answered while OpenSearch is away
{console}:outbox             hash: what Kafka has not confirmed yet

`FRAUD_KEY_PREFIX` goes before each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

import msgspec
import redis.asyncio as redis

from console.cases import CaseKey, Said
from console.events import ReviewEvent, decode_event, encode_event
from console.scripts import ANSWER, CLAIM, RELEASE
from features.redis_link import ask

KEEP_MS: Final = 24 * 3600 * 1000
"""How long an answer stays in Redis: far longer than it takes to reach OpenSearch."""
_OUTCOME_MS: Final = 12 * 3600 * 1000
_MOST_TRAIL: Final = 200


class Parcel(msgspec.Struct, frozen=True):
    """One record that must reach Kafka."""

    topic: str
    key: str
    value: str


class Entry(msgspec.Struct, frozen=True):
    """What belongs together in the outbox."""

    at_ms: int
    parcels: tuple[Parcel, ...]


class Result(msgspec.Struct, frozen=True):
    """What became of an attempt.

    Attributes:
        word: `done`; `kept`: it was so already; `held`: somebody else works on the case; `changed`: somebody has
            answered meanwhile.
        other: who holds it, or held it.
        said: the answer that was given meanwhile.
    """

    word: str
    other: str = ""
    said: Said | None = None


class Standing(msgspec.Struct, frozen=True):
    """What Redis knows of a case."""

    holder: str = ""
    said: Said | None = None


class Notes:
    """Reads and writes them; every call raises ServerUnavailable where Redis does not answer.

    Args:
        client: of Redis.
        key_prefix: put before every key.
        claim_ms: how long a claim lasts.
    """

    def __init__(self, client: redis.Redis, key_prefix: str, claim_ms: int) -> None:
        # Its annotations give every answer of every command as one union.
        self._client: Any = client
        self._prefix = f"{key_prefix}{{console}}:"
        self._claim_ms = claim_ms

    async def claim(self, owner: str, event: ReviewEvent, entry: Entry, *, now_ms: int, take_over: bool) -> Result:
        """Claim the event's case, or make one's own claim last longer."""
        key = _case(event)
        arguments = (
            owner, self._claim_ms, now_ms, key.id, event.event_id, _json(entry), encode_event(event), KEEP_MS,
            int(take_over),
        )  # fmt: skip
        return await self._run(CLAIM, owner, key, event.event_id, arguments)

    async def release(self, owner: str, event: ReviewEvent, entry: Entry, *, force: bool) -> Result:
        """Let the event's case go."""
        key = _case(event)
        arguments = owner, key.id, event.event_id, _json(entry), encode_event(event), KEEP_MS, int(force)
        return await self._run(RELEASE, owner, key, event.event_id, arguments)

    async def answer(self, owner: str, event: ReviewEvent, entry: Entry, said: Said, *, seen: str) -> Result:
        """Give the event's case an answer; `seen` is the time of the newest answer that the owner knew of."""
        key = _case(event)
        arguments = (
            owner, key.id, event.event_id, _json(entry), encode_event(event), KEEP_MS, _json(said), seen,
        )  # fmt: skip
        return await self._run(ANSWER, owner, key, event.event_id, arguments)

    async def standing(self, ids: Sequence[str]) -> list[Standing]:
        """What is known of cases, in their order."""
        if not ids:
            return []
        names = [self._key("claim", one) for one in ids] + [self._key("answer", one) for one in ids]
        found = await ask(partial(self._client.mget, names))
        pending = await ask(partial(self._client.hkeys, self._key("outbox")))
        waiting = {name.decode() for name in pending}
        claims, answers = found[: len(ids)], found[len(ids) :]
        return [
            Standing("" if held is None else held.decode(), _said(answer, waiting))
            for held, answer in zip(claims, answers, strict=True)
        ]

    async def claimed_by(self, owner: str, now_ms: int) -> list[str]:
        """Ids of the cases that somebody works on."""
        found = await ask(partial(self._client.zrangebyscore, self._key("claims", owner), now_ms, "+inf"))
        ids = [one.decode() for one in found]
        return [one for one, at in zip(ids, await self.standing(ids), strict=True) if at.holder == owner]

    async def trail(self, case: CaseKey) -> list[ReviewEvent]:
        """The case's newest events."""
        found = await ask(partial(self._client.lrange, self._key("trail", case.id), -_MOST_TRAIL, -1))
        return [event for event in map(decode_event, found) if event is not None]

    async def remember(self, case: CaseKey, fields: Mapping[str, Any]) -> None:
        """Keep a document that is being looked at."""
        await ask(partial(self._client.set, self._key("outcome", case.id), msgspec.json.encode(fields), px=_OUTCOME_MS))

    async def remembered(self, case: CaseKey) -> dict[str, Any] | None:
        """The document as it was last looked at."""
        found = await ask(partial(self._client.get, self._key("outcome", case.id)))
        return None if found is None else msgspec.json.decode(found, type=dict[str, Any])

    async def remembered_by(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        """The documents of these cases, as far as they were looked at."""
        if not ids:
            return []
        found = await ask(partial(self._client.mget, [self._key("outcome", one) for one in ids]))
        return [msgspec.json.decode(raw, type=dict[str, Any]) for raw in found if raw is not None]

    async def put(self, entry_id: str, entry: Entry) -> None:
        """Put something into the outbox."""
        await ask(partial(self._client.hset, self._key("outbox"), entry_id, _json(entry)))

    async def outbox(self) -> dict[str, Entry]:
        """What Kafka has not confirmed yet."""
        found = await ask(partial(self._client.hgetall, self._key("outbox")))
        return {name.decode(): msgspec.json.decode(value, type=Entry) for name, value in found.items()}

    async def waits(self, entry_id: str) -> bool:
        """Whether an entry is still in the outbox."""
        return bool(await ask(partial(self._client.hexists, self._key("outbox"), entry_id)))

    async def outbox_size(self) -> int:
        """How much that is."""
        return int(await ask(partial(self._client.hlen, self._key("outbox"))))

    async def confirmed(self, entry_ids: Sequence[str]) -> None:
        """Kafka has them."""
        await ask(partial(self._client.hdel, self._key("outbox"), *entry_ids))

    async def _run(self, script: str, owner: str, case: CaseKey, event_id: str, arguments: Sequence[Any]) -> Result:
        keys = (
            self._key("claim", case.id),
            self._key("claims", owner),
            self._key("outbox"),
            self._key("trail", case.id),
            self._key("answer", case.id),
            self._key("answered", event_id),
        )
        word, detail = await ask(partial(self._client.eval, script, len(keys), *keys, *arguments))
        if word == b"changed":
            return Result("changed", said=msgspec.json.decode(detail, type=Said))
        return Result(word.decode(), detail.decode())

    def _key(self, *parts: str) -> str:
        return self._prefix + ":".join(parts)


def _case(event: ReviewEvent) -> CaseKey:
    assert isinstance(event.card_id, str)
    assert isinstance(event.transaction_id, str)
    return CaseKey(event.card_id, event.transaction_id)


def _said(raw: bytes | None, waiting: set[str]) -> Said | None:
    if raw is None:
        return None
    said = msgspec.json.decode(raw, type=Said)
    return msgspec.structs.replace(said, saved=said.label_id not in waiting)


def _json(value: object) -> bytes:
    return msgspec.json.encode(value)
