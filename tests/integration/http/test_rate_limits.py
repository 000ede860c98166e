"""Limits, counted in the real Valkey."""

from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from little_monster.db.base import new_id
from little_monster.platform.rate_limits import RateLimiter
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
