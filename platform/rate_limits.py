"""How often somebody may do something: a sliding window counter in Redis, shared by all replicas.

The count of the last minute is that of this window and, of the window before it, the share that still lies
within the minute. Refused requests do not count. Redis computes it all, by its own clock. While it is away
each process counts for itself.
"""

import asyncio
import contextlib
import hashlib
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from redis.asyncio import Redis

from little_monster.platform.cache import REDIS_AWAY
from little_monster.platform.local_limits import LocalWindows

REQUESTS = "requests"
"""Name of the limit that counts every request, by user."""
WINDOW_S = 60
MAX_BATCH = 64
RETRY_S = 1.0
"""Seconds between two looks whether Redis is back; no request waits for them."""

# For each key and its limit: how many more may pass, -1 where this one may not, in how many milliseconds that
# changes for the better, and 1 where the key is marked; as one text, which the client reads faster than a
# list. A key holds the number of its window and the counts of that and the one before; until when it is
# marked; or that it is shut, which is answered with -2.
_COUNT = """
local time, width, answers = redis.call('TIME'), tonumber(ARGV[1]), {}
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local window, left = math.floor(now / width), width - now % width
for i, key in ipairs(KEYS) do
    local held = redis.call('HMGET', key, 'window', 'count', 'before', 'shut', 'marked')
    local age = window - (tonumber(held[1]) or 0)
    local count, before = tonumber(held[2]) or 0, tonumber(held[3]) or 0
    if age == 1 then count, before = 0, count elseif age ~= 0 then count, before = 0, 0 end
    local limit, wait = tonumber(ARGV[i + 1]), left
    local free = limit - count - math.floor(before * left / width)
    if held[4] then
        free, wait = -1, redis.call('PTTL', key)
    elseif free > 0 then
        redis.call('HSET', key, 'window', window, 'count', count + 1, 'before', before)
        -- A key that is marked lives as long as its mark.
        if not held[5] or redis.call('PTTL', key) < width + left then
            redis.call('PEXPIRE', key, width + left)
        end
    elseif count < limit then
        wait = left - width * (limit - count) / before + 1
    end
    local rest = held[4] and -2 or math.max(free, 0) - 1
    local marked = (tonumber(held[5]) or 0) > now and 1 or 0
    answers[i] = string.format('%d %d %d', rest, math.ceil(wait), marked)
end
return table.concat(answers, ' ')
"""
_MARK = """
local time, span = redis.call('TIME'), tonumber(ARGV[1])
redis.call('HSET', KEYS[1], 'marked', time[1] * 1000 + math.floor(time[2] / 1000) + span)
if redis.call('PTTL', KEYS[1]) < span then redis.call('PEXPIRE', KEYS[1], span) end
"""

_SHUT = -2

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a request may pass: `remaining` of `limit` requests are left. `reset_s` is in how many seconds
    the next one may pass when this one may not, else in how many this window ends. `shut` is one whose key
    was shut: nothing passes, however few they are. `marked` is one whose key was marked: it passes, and what
    is remembered of it is to be looked up again."""

    name: str
    allowed: bool
    limit: int
    remaining: int
    reset_s: int
    shut: bool = False
    marked: bool = False


@dataclass(frozen=True, slots=True)
class _Hit:
    """A request that waits to be counted; `answer` gets what is left (-1: refused, -2: shut), milliseconds,
    and 1 when the key is marked."""

    key: str
    limit: int
    answer: asyncio.Future[tuple[int, int, int]]


class RateLimiter:
    """Counts requests by name and key over one minute. Requests that come together are counted together, in
    one round trip."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._count, self._mark = redis.register_script(_COUNT), redis.register_script(_MARK)
        self._waiting: deque[_Hit] = deque()
        self._sender: asyncio.Task[None] | None = None
        self._local = LocalWindows()
        self._watch: asyncio.Task[None] | None = None

    async def hit(self, name: str, key: str, per_minute: int) -> Decision:
        """Count one request: with all replicas, or in this process alone while Redis is away."""
        full = _key(name, key)
        answer = await self._shared(full, per_minute)
        left, wait_ms, marked = answer or (*self._local.hit(full, per_minute, WINDOW_S), 0)
        reset_s = max(1, math.ceil(wait_ms / 1000))
        return Decision(
            name, left >= 0, per_minute, max(0, left), reset_s, shut=left == _SHUT, marked=marked == 1
        )

    async def shut(self, name: str, key: str, seconds: int) -> None:
        """Let nothing of this key pass for so long. With Redis away it is shut in this process alone."""
        try:
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.hset(_key(name, key), "shut", "1")
                pipe.expire(_key(name, key), seconds)
                await pipe.execute()
        except REDIS_AWAY as error:
            _log.warning("rate_limit_not_shut", limit=name, error=type(error).__name__)
            self._local.shut(_key(name, key), seconds)

    async def _shared(self, key: str, limit: int) -> tuple[int, int, int] | None:
        """Return Redis' answer; None while it is away."""
        if self._watch is not None:
            return None
        loop = asyncio.get_running_loop()
        hit = _Hit(key, limit, loop.create_future())
        self._waiting.append(hit)
        if self._sender is None:
            self._sender = loop.create_task(self._send())
        try:
            return await hit.answer
        except REDIS_AWAY as error:
            if self._watch is None:
                _log.warning("rate_limits_counted_here", error=type(error).__name__)
                self._watch = loop.create_task(self._wait_for_redis())
            return None

    async def _wait_for_redis(self) -> None:
        """Return when it answers; what was counted here meanwhile is forgotten then."""
        ping: Any = self._redis.ping
        while True:
            await asyncio.sleep(RETRY_S)
            with contextlib.suppress(*REDIS_AWAY):
                await ping()
                break
        self._watch = None
        self._local.clear()
        _log.info("rate_limits_counted_together")

    async def mark(self, name: str, key: str, seconds: int) -> None:
        """Let each hit of this key say that it is marked, for so long. With Redis away it is not."""
        try:
            await self._mark(keys=[_key(name, key)], args=[seconds * 1000])
        except REDIS_AWAY as error:
            _log.warning("rate_limit_not_marked", limit=name, error=type(error).__name__)

    async def _send(self) -> None:
        """Count what waits, and then what came meanwhile. No request's own task does it, as it may be
        cancelled."""
        batch: list[_Hit] = []
        try:
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_BATCH))]
                await self._answer(batch)
        finally:
            self._sender = None
            for hit in (*batch, *self._waiting):
                hit.answer.cancel()
            self._waiting.clear()

    async def _answer(self, batch: Sequence[_Hit]) -> None:
        try:
            reply = await self._count(
                keys=[hit.key for hit in batch], args=[WINDOW_S * 1000, *(hit.limit for hit in batch)]
            )
        except Exception as error:
            for hit in batch:
                if not hit.answer.done():
                    hit.answer.set_exception(error)
            return
        answers = [int(number) for number in reply.split()]
        numbers = zip(answers[::3], answers[1::3], answers[2::3], strict=True)
        for hit, answer in zip(batch, numbers, strict=True):
            if not hit.answer.done():
                hit.answer.set_result(answer)


def digest_account(account: str) -> str:
    """Return what stands for an account in keys: 32 hex digits."""
    return hashlib.sha256(account.encode()).hexdigest()[:32]


def _key(name: str, key: str) -> str:
    return f"lm:rate:{name}:{key}"
