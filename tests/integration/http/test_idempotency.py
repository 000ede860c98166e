"""A repeated POST creates nothing."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
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


async def test_keys_belong_to_their_route(client: httpx.AsyncClient, account: Any) -> None:
    key = str(new_id())
    headers = {**account.headers, "Idempotency-Key": key}
    body = {"title": "Cells", "topic": "Walls", "subject": "biology"}
    conversation = await create(client, account, key)
    video = await client.post("/api/v1/videos", json=body, headers=headers)
    assert (conversation.status_code, video.status_code) == (201, 201)
    for path, sent, first in ((PATH, {"title": "Cells"}, conversation), ("/api/v1/videos", body, video)):
        again = await client.post(path, json=sent, headers=headers)
        assert (again.json(), again.headers["idempotent-replayed"]) == (first.json(), "true")


async def test_an_answer_is_kept_for_a_day(client: httpx.AsyncClient, account: Any, redis: Redis) -> None:
    key = str(new_id())
    await create(client, account, key)
    await create(client, account, key)
    (name,) = [name async for name in redis.scan_iter(f"lm:idempotency:{account.user['id']}:*")]
    assert await redis.ttl(name) > 24 * 3600 - 60


@pytest.mark.parametrize("sent", [b'{"title": "Atoms"}', b'{"title":"Cells"}', b"{}"])
async def test_another_body_creates_nothing(client: httpx.AsyncClient, account: Any, sent: bytes) -> None:
    """Byte for byte, as what else is the same no two parties agree on."""
    headers = {
        **account.headers,
        "Idempotency-Key": str(new_id()),
        "Content-Type": "application/json",
    }
    first = await client.post(PATH, content=b'{"title": "Cells"}', headers=headers)
    other = await client.post(PATH, content=sent, headers=headers)
    assert (first.status_code, other.status_code) == (201, 422)
    assert other.json()["code"] == "idempotency_key_reused"
    assert len((await client.get(PATH, headers=account.headers)).json()["items"]) == 1


@pytest.mark.parametrize("parties", [2, 20])
async def test_of_two_replicas_at_once_one_creates(
    settings: Any, running: Any, client_of: Any, client: httpx.AsyncClient, account: Any, parties: int
) -> None:
    """One row, whoever answers; who came too early gets the first answer afterwards."""
    key = str(new_id())
    async with running(settings) as other, client_of(other) as elsewhere:
        answers = await asyncio.gather(
            *(create((client, elsewhere)[number % 2], account, key) for number in range(parties))
        )
        assert {answer.status_code for answer in answers} <= {201, 409}
        assert {answer.json()["code"] for answer in answers if answer.status_code == 409} <= {"in_flight"}
        made = {answer.json()["id"] for answer in answers if answer.status_code == 201}
        assert len(made) == 1
        items = (await client.get(PATH, headers=account.headers)).json()["items"]
        assert [item["id"] for item in items] == [*made]
        assert (await create(elsewhere, account, key)).json()["id"] in made


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
