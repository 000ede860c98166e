"""Notes of who wrote when: one that is missing must never look like nobody having written."""

import math
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from little_monster.db.base import new_id
from little_monster.platform.last_writes import LastWrites

DATABASE = 9


@pytest.fixture
async def redis(valkey_url: str) -> AsyncIterator[Redis]:
    """A database that no other test uses."""
    async with Redis.from_url(valkey_url, db=DATABASE) as redis:
        await redis.flushdb()
        yield redis


@pytest.fixture
def writes(redis: Redis) -> LastWrites:
    return LastWrites(redis, max_lag_s=5)


def away(*_: Any, **__: Any) -> None:
    raise ConnectionError


async def test_a_write_is_known_to_other_processes(redis: Redis, writes: LastWrites) -> None:
    user, other = new_id(), new_id()
    began = await writes.now()
    await writes.note(user)
    elsewhere = LastWrites(redis, max_lag_s=5)
    noted = await elsewhere.last(user)
    assert began < noted < await elsewhere.now()
    assert await elsewhere.last(other) == began, "who wrote nothing has written before notes were taken"


async def test_a_redis_that_knows_nothing_says_so(redis: Redis, writes: LastWrites) -> None:
    user = new_id()
    assert await writes.last(user) == math.inf
    await writes.now()
    assert await writes.last(user) < math.inf
    await redis.flushdb()
    assert await writes.last(user) == math.inf
    begun = await writes.now()
    assert await writes.last(user) == begun, "what it has forgotten was written before"


async def test_a_write_that_could_not_be_noted_counts_for_all(
    redis: Redis, writes: LastWrites, monkeypatch: pytest.MonkeyPatch
) -> None:
    user, elsewhere = new_id(), LastWrites(redis, max_lag_s=5)
    before = await writes.now()
    monkeypatch.setattr(writes, "_note", away)
    await writes.note(user)
    assert await writes.last(new_id()) == math.inf
    back = await writes.now()
    assert await writes.last(user) == await elsewhere.last(user) == back > before


async def test_a_redis_that_does_not_answer_knows_nothing(
    redis: Redis, writes: LastWrites, monkeypatch: pytest.MonkeyPatch
) -> None:
    await writes.now()
    monkeypatch.setattr(redis, "mget", away)
    assert await writes.last(new_id()) == math.inf
    monkeypatch.setattr(writes, "_now", away)
    with pytest.raises(ConnectionError):
        await writes.now()


async def test_notes_end(redis: Redis, writes: LastWrites) -> None:
    user = new_id()
    await writes.note(user)
    assert 60 < await redis.ttl(f"lm:wrote:{user}") <= 65
