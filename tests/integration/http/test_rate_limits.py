"""Limits, counted in the real Valkey."""

import asyncio
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from little_monster.db.base import new_id
from little_monster.platform.rate_limits import Decision, RateLimiter
from little_monster.platform.settings import Settings


@pytest.fixture
def strict(settings: Settings) -> Settings:
    api = settings.api.model_copy(update={"requests_per_minute": 3, "login_attempts_per_minute": 2})
    return settings.model_copy(update={"api": api})


async def test_each_answer_says_what_is_left(client: httpx.AsyncClient, account: Any) -> None:
    response = await client.get("/api/v1/users/me", headers=account.headers)
    assert response.headers["ratelimit-policy"] == '"requests";q=600;w=60'
    assert response.headers["ratelimit"].startswith('"requests";r=59')


async def test_user_over_the_limit(strict: Settings, running: Any, client_of: Any) -> None:
    async with running(strict) as app, client_of(app) as client:
        answers = [await client.get("/api/v1/users/me") for _ in range(5)]
        assert [answer.status_code for answer in answers] == [401, 401, 401, 429, 429]
        refused = answers[-1]
        assert refused.json()["code"] == "rate_limited"
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert refused.headers["ratelimit"].startswith('"requests";r=0;t=')
        async with client_of(app) as other:
            assert (await other.get("/api/v1/users/me")).status_code == 401
        assert (await client.get("/livez")).status_code == 200


async def test_attempts_on_one_account(strict: Settings, running: Any, client_of: Any) -> None:
    body = {"email": f"{new_id()}@example.com", "password": "wrong password"}
    async with running(strict) as app, client_of(app) as client:
        answers = [await client.post("/api/v1/auth/login", json=body) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [401, 401, 429]
        assert answers[2].headers["ratelimit-policy"] == '"attempts";q=2;w=60'


async def test_count_is_shared_and_by_key(redis: Redis) -> None:
    one, other = RateLimiter(redis), RateLimiter(redis)
    key = str(new_id())
    decisions = [await limiter.hit("test", key, 2) for limiter in (one, other, one)]
    assert [decision and decision.allowed for decision in decisions] == [True, True, False]
    assert [decision and decision.remaining for decision in decisions] == [1, 0, 0]
    fresh = await one.hit("test", str(new_id()), 2)
    assert fresh is not None
    assert fresh.allowed


async def test_requests_that_come_together_are_counted_one_by_one(redis: Redis) -> None:
    limiter, key, other = RateLimiter(redis), str(new_id()), str(new_id())
    decisions = await asyncio.gather(*(limiter.hit("test", one, 100) for one in [key, other] * 130))
    allowed = [decision.remaining for decision in decisions[::2] if decision and decision.allowed]
    assert allowed == [*range(99, -1, -1)]
    refused = decisions[-1]
    assert refused is not None
    assert (refused.allowed, refused.remaining) == (False, 0)
    assert 1 <= refused.reset_s <= 60


async def test_one_that_gives_up_takes_no_other_with_it(redis: Redis) -> None:
    limiter, key = RateLimiter(redis), str(new_id())
    hits = [asyncio.create_task(limiter.hit("test", key, 10)) for _ in range(3)]
    await asyncio.sleep(0)
    hits[0].cancel()
    _, *decisions = await asyncio.gather(*hits, return_exceptions=True)
    assert [decision.remaining for decision in decisions if isinstance(decision, Decision)] == [8, 7]


@pytest.mark.parametrize(
    ("windows_ago", "count", "left"),
    [(0, 7, 2), (1, 0, 9), (2, 10, 9), (900, 10, 9)],
)
async def test_what_counts_of_earlier_windows(redis: Redis, windows_ago: int, count: int, left: int) -> None:
    key = str(new_id())
    seconds, _ = await redis.time()
    held = {"window": seconds // 60 - windows_ago, "count": count, "before": 0}
    await redis.hset(f"lm:rate:test:{key}", mapping=held)
    decision = await RateLimiter(redis).hit("test", key, 10)
    assert decision is not None
    assert decision.remaining == left


async def test_the_window_before_fades(redis: Redis) -> None:
    key = str(new_id())
    seconds, _ = await redis.time()
    await redis.hset(f"lm:rate:test:{key}", mapping={"window": seconds // 60 - 1, "count": 600, "before": 0})
    decision = await RateLimiter(redis).hit("test", key, 600)
    assert decision is not None
    # Ten of them come back in each second of this window.
    assert abs(decision.remaining - 10 * (seconds % 60)) <= 15
    assert await redis.pttl(f"lm:rate:test:{key}") <= 120_000
