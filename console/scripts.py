"""What the console does to Redis in one atomic step each.

All keys share the tag `{console}`, so that they lie in one slot of a Redis Cluster. Each script also puts what is to be
published into the outbox: what was done and what is told of it cannot part.

KEYS: the case's claim, the owner's claims, the outbox, the case's trail, the case's answer, the answer's own note.
"""

from __future__ import annotations

from typing import Final

_TELL: Final = """
local function tell(id, entry, event, keep)
  redis.call('HSET', KEYS[3], id, entry)
  redis.call('RPUSH', KEYS[4], event)
  redis.call('PEXPIRE', KEYS[4], keep)
end
"""

CLAIM: Final = (
    _TELL
    + """
-- ARGV: owner, claim ms, now ms, case, entry id, entry, event, keep ms, may take over (1)
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] and ARGV[9] ~= '1' then return {'held', held} end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('ZADD', KEYS[2], ARGV[3] + ARGV[2], ARGV[4])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
if held == ARGV[1] then return {'kept', held} end
tell(ARGV[5], ARGV[6], ARGV[7], ARGV[8])
return {'done', held or ''}
"""
)
"""Claim a case, or make one's own claim last longer, which is not told."""

RELEASE: Final = (
    _TELL
    + """
-- ARGV: owner, case, entry id, entry, event, keep ms, may release others' (1)
local held = redis.call('GET', KEYS[1])
if not held then return {'kept', ''} end
if held ~= ARGV[1] and ARGV[7] ~= '1' then return {'held', held} end
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[2])
tell(ARGV[3], ARGV[4], ARGV[5], ARGV[6])
return {'done', held}
"""
)
"""Let a case go."""

ANSWER: Final = (
    _TELL
    + """
-- ARGV: owner, case, answer id, entry, event, keep ms, answer, newest answer that the owner has seen
if redis.call('EXISTS', KEYS[6]) == 1 then return {'kept', ''} end
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] then return {'held', held} end
local last = redis.call('GET', KEYS[5])
if last and cjson.decode(last)['at'] > ARGV[8] then return {'changed', last} end
redis.call('SET', KEYS[6], '1', 'PX', ARGV[6])
redis.call('SET', KEYS[5], ARGV[7], 'PX', ARGV[6])
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[2])
tell(ARGV[3], ARGV[4], ARGV[5], ARGV[6])
return {'done', ''}
"""
)
"""Answer a case: refused while somebody else holds it, or has answered since; the same id counts once."""
