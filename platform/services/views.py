"""Views of videos: counted in Redis, and added to the videos in batches, so that no view waits for a row."""

import asyncio
import contextlib
from typing import Any
from uuid import UUID

import structlog
from redis.asyncio import Redis
from redis.exceptions import LockError, ResponseError

from little_monster.db import transactions
from little_monster.db.repositories import videos
from little_monster.db.transactions import Outcome
from little_monster.platform.cache import REDIS_AWAY
from little_monster.platform.resources import Resources

COUNTS = "lm:views"
"""Hash of views by video that are not yet taken into a batch."""
BATCH = "lm:views:batch"
"""Hash of views by video that a flush adds now, or that one which broke off left behind."""
WRITER = b"transaction"
"""Field of the batch: the number of the transaction that adds it, known before it commits."""
STOP_S = 5.0
"""Seconds that the last flush of a process may take."""

_LOCK = "lm:views:lock"
# Longer than the statement may take: two flushes at once would add a batch twice.
_LOCK_S = 60

_log = structlog.get_logger(__name__)


async def count_view(redis: Redis, video_id: UUID) -> None:
    """Count one view; it is lost when Redis is away, as showing the video matters more."""
    commands: Any = redis
    try:
        await commands.hincrby(COUNTS, str(video_id), 1)
    except REDIS_AWAY as error:
        _log.warning("view_not_counted", error=type(error).__name__)


async def flush_views(resources: Resources) -> int:
    """Add what was counted to the videos and return how many views that were; 0 also when another replica is
    at it.

    A batch that broke off, wherever that was, is added once: the next flush asks the database what became of
    the transaction that was to add it.

    Raises:
        DatabaseUnavailable, RedisError: nothing is lost, the next flush adds it.
    """
    lock = resources.redis.lock(_LOCK, timeout=_LOCK_S, blocking=False)
    if not await lock.acquire():
        return 0
    try:
        return await _flush(resources)
    finally:
        # It expired: whoever has it now releases it.
        with contextlib.suppress(LockError):
            await lock.release()


async def flush_forever(resources: Resources) -> None:
    """Flush again and again, whatever goes wrong with one of them."""
    while True:
        await asyncio.sleep(resources.settings.content.view_flush_s)
        try:
            await flush_views(resources)
        except Exception as error:
            _log.warning("views_not_flushed", error=type(error).__name__)


async def flush_last(resources: Resources) -> None:
    """Flush before the process stops. What cannot be flushed stays in Redis, for who flushes next."""
    try:
        async with asyncio.timeout(STOP_S):
            # One that was left behind goes first, and alone.
            while await flush_views(resources):
                pass
    except Exception as error:
        _log.warning("views_not_flushed", error=type(error).__name__)


async def _flush(resources: Resources) -> int:
    redis: Any = resources.redis
    if not await _settle(resources):
        return 0
    # Nothing was counted, which Redis calls an error; a batch that was left behind stays and goes first.
    with contextlib.suppress(ResponseError):
        await redis.renamenx(COUNTS, BATCH)
    held = await redis.hgetall(BATCH)
    counts = {UUID(key.decode()): int(count) for key, count in held.items() if key != WRITER}
    if not counts:
        return 0
    async with resources.database.session(None) as session:
        await videos.add_views(session, counts)
        await redis.hset(BATCH, WRITER, await transactions.number_of(session))
    await redis.delete(BATCH)
    return sum(counts.values())


async def _settle(resources: Resources) -> bool:
    """Forget a batch that was added by who then broke off; False while that is not known."""
    redis: Any = resources.redis
    number: bytes | None = await redis.hget(BATCH, WRITER)
    if number is None:
        return True
    async with resources.database.session(None) as session:
        became = await transactions.outcome(session, number.decode())
    if became is Outcome.COMMITTED:
        await redis.delete(BATCH)
    return became is not Outcome.IN_PROGRESS
