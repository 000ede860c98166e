"""What becomes of tokens when a role changes, and that one admin stays."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from redis.asyncio import Redis

from little_monster.platform.rate_limits import RateLimiter
from tests.fixtures.watch import PASSWORD

ADMIN, QUEUE = "/api/v1/admin/users", "/api/v1/moderation/comments"
RegisterAs = Callable[[str], Awaitable[Any]]


@pytest.fixture
async def alone(postgres: Any) -> Any:
    """Nobody is an admin but those whom the test makes."""
    owner = await asyncpg.connect(postgres.owner_url)
    await owner.execute("UPDATE users SET role = 'student' WHERE role = 'admin'")
    yield
    await owner.close()


async def give(client: httpx.AsyncClient, by: Any, target: Any, role: str) -> None:
    path = f"{ADMIN}/{target.user['id']}"
    answer = await client.patch(path, json={"role": role}, headers=by.headers)
    assert answer.status_code == 200, answer.text


async def leave(client: httpx.AsyncClient, account: Any) -> httpx.Response:
    body = {"password": PASSWORD}
    return await client.request("DELETE", "/api/v1/users/me", json=body, headers=account.headers)


async def test_a_token_counts_with_the_role_of_now(
    client: httpx.AsyncClient, register_as: RegisterAs, account: Any
) -> None:
    admin = await register_as("admin")
    seen = [(await client.get(QUEUE, headers=account.headers)).status_code]
    for role in ("moderator", "student", "moderator"):
        await give(client, admin, account, role)
        seen.append((await client.get(QUEUE, headers=account.headers)).status_code)
    assert seen == [403, 200, 403, 200]


async def test_without_the_mark_the_token_says_the_role(
    client: httpx.AsyncClient, register_as: RegisterAs, account: Any, redis: Redis
) -> None:
    admin, key = await register_as("admin"), f"lm:rate:requests:{account.user['id']}"
    await give(client, admin, account, "moderator")
    assert 14 * 60 < await redis.ttl(key) <= 15 * 60
    # Counting leaves the mark alone.
    assert (await client.get(QUEUE, headers=account.headers)).status_code == 200
    assert 14 * 60 < await redis.ttl(key) <= 15 * 60
    await redis.hset(key, "marked", 1)
    assert (await client.get(QUEUE, headers=account.headers)).status_code == 403


async def test_the_token_of_a_marked_account_that_is_gone_is_like_none(
    app: FastAPI, client: httpx.AsyncClient, account: Any, postgres: Any
) -> None:
    limiter: RateLimiter = app.state.resources.limiter
    await limiter.mark("requests", account.user["id"], 60)
    assert (await client.get("/api/v1/jobs", headers=account.headers)).status_code == 200
    owner = await asyncpg.connect(postgres.owner_url)
    await owner.execute("DELETE FROM users WHERE id = $1", account.user["id"])
    await owner.close()
    answer = await client.get("/api/v1/jobs", headers=account.headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


async def test_a_mark_ends_by_itself(redis: Redis) -> None:
    limiter = RateLimiter(redis)
    await limiter.mark("test", "marked", 1)
    found = [await limiter.hit("test", "marked", 10)]
    await asyncio.sleep(1.1)
    found.append(await limiter.hit("test", "marked", 10))
    assert [one and (one.marked, one.remaining) for one in found] == [(True, 9), (False, 8)]


async def test_the_last_admin_cannot_leave(
    client: httpx.AsyncClient, register_as: RegisterAs, account: Any, alone: None
) -> None:
    admin = await register_as("admin")
    files = {"file": ("a.txt", b"text")}
    await client.post("/api/v1/documents/upload", files=files, headers=admin.headers)
    refused = await leave(client, admin)
    assert (refused.status_code, refused.json()["code"]) == (409, "last_admin")
    kept = await client.get("/api/v1/documents", headers=admin.headers)
    assert len(kept.json()["items"]) == 1
    await give(client, admin, account, "admin")
    assert (await leave(client, admin)).status_code == 204
    refused = await leave(client, account)
    assert (refused.status_code, refused.json()["code"]) == (409, "last_admin")


async def test_of_two_admins_who_leave_at_once_one_stays(
    client: httpx.AsyncClient, register_as: RegisterAs, alone: None, postgres: Any
) -> None:
    first = await register_as("admin")
    for _ in range(3):
        second = await register_as("admin")
        answers = await asyncio.gather(leave(client, first), leave(client, second))
        assert sorted(answer.status_code for answer in answers) == [204, 409]
        owner = await asyncpg.connect(postgres.owner_url)
        assert await owner.fetchval("SELECT count(*) FROM users WHERE role = 'admin'") == 1
        await owner.close()
        first = second if answers[0].status_code == 204 else first


async def test_of_one_who_leaves_and_one_who_takes_the_others_role_one_stays(
    client: httpx.AsyncClient, register_as: RegisterAs, alone: None, postgres: Any
) -> None:
    owner = await asyncpg.connect(postgres.owner_url)
    for _ in range(3):
        await owner.execute("UPDATE users SET role = 'student' WHERE role = 'admin'")
        first, second = await register_as("admin"), await register_as("admin")
        path = f"{ADMIN}/{first.user['id']}"
        await asyncio.gather(
            leave(client, second),
            client.patch(path, json={"role": "student"}, headers=second.headers),
        )
        assert await owner.fetchval("SELECT count(*) FROM users WHERE role = 'admin'") >= 1
    await owner.close()


async def test_students_leave_as_they_like(client: httpx.AsyncClient, account: Any, alone: None) -> None:
    assert (await leave(client, account)).status_code == 204
