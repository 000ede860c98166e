"""A repeated POST creates nothing."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
from redis.asyncio import Redis

from little_monster.db.base import new_id

PATH = "/api/v1/chat/conversations"


async def create(client: httpx.AsyncClient, account: Any, key: str, title: str = "Cells") -> httpx.Response:
    headers = {**account.headers, "Idempotency-Key": key}
    return await client.post(PATH, json={"title": title}, headers=headers)


async def test_first_answer_is_given_again(client: httpx.AsyncClient, account: Any) -> None:
    key = str(new_id())
    first, second = await create(client, account, key), await create(client, account, key)
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert first.headers["location"] == second.headers["location"]
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert len((await client.get(PATH, headers=account.headers)).json()["items"]) == 1


async def test_same_key_with_another_body(client: httpx.AsyncClient, account: Any) -> None:
    key = str(new_id())
    await create(client, account, key)
    response = await create(client, account, key, title="Atoms")
    assert (response.status_code, response.json()["code"]) == (422, "idempotency_key_reused")


async def test_keys_belong_to_their_user(
    client: httpx.AsyncClient, register: Callable[[], Awaitable[Any]]
) -> None:
    ada, eve, key = await register(), await register(), str(new_id())
    one, other = await create(client, ada, key), await create(client, eve, key)
    assert (one.status_code, other.status_code) == (201, 201)
    assert one.json()["id"] != other.json()["id"]


async def test_of_two_at_once_one_creates(client: httpx.AsyncClient, account: Any) -> None:
    key = str(new_id())
    answers = await asyncio.gather(*(create(client, account, key) for _ in range(4)))
    assert {answer.status_code for answer in answers} <= {201, 409}
    created = {answer.json()["id"] for answer in answers if answer.status_code == 201}
    assert len(created) == 1
    assert len((await client.get(PATH, headers=account.headers)).json()["items"]) == 1


async def test_first_one_in_flight(client: httpx.AsyncClient, account: Any, redis: Redis) -> None:
    key = str(new_id())
    await create(client, account, key)
    (name,) = [name async for name in redis.scan_iter(f"lm:idempotency:{account.user['id']}:*")]
    held = json.loads(await redis.get(name))
    await redis.set(name, json.dumps({**held, "answer": None}))
    response = await create(client, account, key)
    assert (response.status_code, response.json()["code"]) == (409, "in_flight")


async def test_refused_request_frees_its_key(client: httpx.AsyncClient, account: Any) -> None:
    key = str(new_id())
    headers = {**account.headers, "Idempotency-Key": key}
    refused = await client.post(PATH, json={"title": 7}, headers=headers)
    assert refused.status_code == 422
    assert (await create(client, account, key)).status_code == 201


async def test_key_of_a_wrong_form(client: httpx.AsyncClient, account: Any) -> None:
    for key in ("x" * 201, "with space", ""):
        assert (await create(client, account, key)).status_code == 422


async def test_key_without_a_token(client: httpx.AsyncClient) -> None:
    response = await client.post(PATH, json={}, headers={"Idempotency-Key": "a"})
    assert response.status_code == 401
