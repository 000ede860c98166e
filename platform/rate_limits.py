"""How often somebody may do something: a sliding window counter in Redis, shared by all replicas."""

import math
import time
from dataclasses import dataclass

import structlog
from limits import RateLimitItemPerMinute
from limits.aio.storage import RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from redis.asyncio import Redis

from little_monster.platform.cache import REDIS_AWAY

WINDOW_S = 60

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a request may pass: `remaining` of `limit` requests are left, all are back after `reset_s`
    seconds."""

    name: str
    allowed: bool
    limit: int
    remaining: int
    reset_s: int


class RateLimiter:
    """Counts requests by name and key over one minute."""

    def __init__(self, redis: Redis) -> None:
        self._storage = RedisStorage(
            "redis://", implementation="redispy", connection_pool=redis.connection_pool, key_prefix="lm:rate"
        )
        self._window = SlidingWindowCounterRateLimiter(self._storage)

    async def hit(self, name: str, key: str, per_minute: int) -> Decision | None:
        """Count one request; None when Redis is away, as an answer matters more than a count then."""
        item = RateLimitItemPerMinute(per_minute, namespace=name)
        try:
            allowed = await self._window.hit(item, key)
            stats = await self._window.get_window_stats(item, key)
        except REDIS_AWAY as error:
            _log.warning("rate_limit_skipped", limit=name, error=type(error).__name__)
            return None
        reset_s = max(1, math.ceil(stats.reset_time - time.time()))
        return Decision(name, allowed, per_minute, max(0, stats.remaining), min(reset_s, WINDOW_S))
