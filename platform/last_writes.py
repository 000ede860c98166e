"""When each user last wrote, kept in Redis for all processes, so that a replica that is behind hides none
of it from them.

A time costs a write one command and no question to the database, as its position in the write-ahead log
would. Redis is the clock, so that the clocks of machines need not agree. Whoever cannot ask it reads from the
primary.

A write that could not be noted counts as one of everybody, at the moment when Redis is back; so does a Redis
that has forgotten all, at the moment when that is seen.
"""

import math
from typing import Any
from uuid import UUID

import structlog
from redis.asyncio import Redis

from little_monster.platform.cache import REDIS_AWAY

_PREFIX = "lm:wrote"
_EVERYBODY = f"{_PREFIX}:everybody"
# Who has no note here has not written since: long after an answer of that age would be used.
_SPARE_S = 60

# Microseconds of Redis's clock, as text.
_TIME = """
local time = redis.call('TIME')
local now = string.format('%d%06d', time[1], time[2])
"""
_NOTE = _TIME + "redis.call('SET', KEYS[1], now, 'EX', ARGV[1])"
_NOW = f"""{_TIME}
if ARGV[1] == '1' then redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[1], now, 'NX')
return now
"""

_log = structlog.get_logger(__name__)


class LastWrites:
    """Notes of writes.

    Args:
        max_lag_s: the oldest answer that is read from a replica, in seconds.
    """

    def __init__(self, redis: Redis, max_lag_s: float) -> None:
        self._redis = redis
        self._keep_s = math.ceil(max_lag_s) + _SPARE_S
        self._note = redis.register_script(_NOTE)
        self._now = redis.register_script(_NOW)
        # How often Redis was away, and how often of these it has been told.
        self._missed = self._told = 0

    async def now(self) -> float:
        """Return the time in seconds, and from now on miss no write of any process.

        Raises:
            RedisError, OSError: Redis is away.
        """
        missed = self._missed
        try:
            now = int(await self._now(keys=[_EVERYBODY], args=[int(missed != self._told)]))
        except REDIS_AWAY:
            self._missed += 1
            raise
        self._told = missed
        return now / 1e6

    async def note(self, user_id: UUID) -> None:
        """Remember that the user has written just now."""
        try:
            await self._note(keys=[_key(user_id)], args=[self._keep_s])
        except REDIS_AWAY as error:
            self._missed += 1
            _log.warning("write_not_noted", error=type(error).__name__)

    async def last(self, user_id: UUID) -> float:
        """Return a time since which the user has not written; infinity when Redis is away, or when not even
        this process has noted its last write."""
        if self._missed != self._told:
            return math.inf
        # Its types say text; the answers of our clients are bytes.
        commands: Any = self._redis
        try:
            everybody, own = await commands.mget(_EVERYBODY, _key(user_id))
        except REDIS_AWAY:
            self._missed += 1
            return math.inf
        return math.inf if everybody is None else max(int(everybody), int(own or 0)) / 1e6


def _key(user_id: UUID) -> str:
    return f"{_PREFIX}:{user_id}"
