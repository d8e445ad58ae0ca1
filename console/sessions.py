"""Logins: sessions in Redis, and the limit on failures."""

from __future__ import annotations

import hashlib
import secrets
from functools import partial
from typing import Any, Final

import msgspec
import redis.asyncio as redis

from console.users import Account
from features.redis_link import ask

_WINDOW_MS: Final = 15 * 60 * 1000
# Failures in a quarter of an hour: of one name from one address, of one address, of one name from anywhere.
_LIMITS: Final = {"both": 5, "address": 20, "name": 50}


class Session(msgspec.Struct, frozen=True):
    """One login.

    Attributes:
        name: who.
        mark: of the password at that time: with a new password old sessions end.
        csrf: what a form must carry.
        since_ms: when it began.
        via: `password` or `proxy`.
    """

    name: str
    mark: str
    csrf: str
    since_ms: int
    via: str


class Sessions:
    """Server-side sessions; Redis knows the hash of a token only.

    Every call raises ServerUnavailable where Redis does not answer.

    Args:
        client: of Redis.
        key_prefix: put before every key.
        longest_ms: how long a login lasts at most.
        idle_ms: how long it lasts without a request.
    """

    def __init__(self, client: redis.Redis, key_prefix: str, *, longest_ms: int, idle_ms: int) -> None:
        self._client: Any = client
        self._prefix = f"{key_prefix}{{console}}:"
        self._longest_ms, self._idle_ms = longest_ms, min(idle_ms, longest_ms)

    async def begin(self, account: Account, via: str, now_ms: int) -> tuple[str, Session]:
        """A new session and the token that names it."""
        token = secrets.token_urlsafe(32)
        session = Session(account.name, account.mark, secrets.token_urlsafe(24), now_ms, via)
        await ask(partial(self._client.set, self._key(token), msgspec.json.encode(session), px=self._idle_ms))
        return token, session

    async def find(self, token: str, now_ms: int, *, active: bool = True) -> Session | None:
        """The session of a token; None where there is none.

        Args:
            token: from the cookie.
            now_ms: the clock.
            active: whether somebody did something, so that it lasts longer.
        """
        longer = {"px": self._idle_ms} if active else {}
        raw = await ask(partial(self._client.getex, self._key(token), **longer))
        if raw is None:
            return None
        session = msgspec.json.decode(raw, type=Session)
        if now_ms - session.since_ms > self._longest_ms:
            await self.end(token)
            return None
        return session

    async def end(self, token: str) -> None:
        """Log out."""
        await ask(partial(self._client.delete, self._key(token)))

    async def locked_s(self, name: str, address: str) -> int:
        """For how many seconds no further attempt is looked at; 0: go on."""
        longest_ms = 0
        for kind, key in self._counters(name, address).items():
            raw = await ask(partial(self._client.get, key))
            if raw is not None and int(raw) >= _LIMITS[kind]:
                longest_ms = max(longest_ms, int(await ask(partial(self._client.pttl, key))))
        return -(-longest_ms // 1000)

    async def failed(self, name: str, address: str) -> None:
        """Count a failure."""
        for key in self._counters(name, address).values():
            if int(await ask(partial(self._client.incr, key))) == 1:
                await ask(partial(self._client.pexpire, key, _WINDOW_MS))

    async def succeeded(self, name: str, address: str) -> None:
        """Forget the failures of this name from this address."""
        await ask(partial(self._client.delete, self._counters(name, address)["both"]))

    def _key(self, token: str) -> str:
        return f"{self._prefix}session:{hashlib.sha256(token.encode()).hexdigest()}"

    def _counters(self, name: str, address: str) -> dict[str, str]:
        parts = {"both": f"{name}\n{address}", "address": address, "name": name}
        return {
            kind: f"{self._prefix}failed:{kind}:{hashlib.sha256(text.encode()).hexdigest()[:32]}"
            for kind, text in parts.items()
        }
