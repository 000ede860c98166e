"""A repeated POST creates nothing."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from redis.asyncio import Redis

from little_monster.db.base import new_id
from little_monster.db.errors import CommitUnknown, DatabaseUnavailable
from little_monster.platform.errors import Unavailable
from little_monster.platform.services.chat import conversations

PATH = "/api/v1/chat/conversations"
UPLOAD = "/api/v1/documents/upload"


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


async def slot_of(redis: Redis, account: Any) -> bytes:
    (name,) = [name async for name in redis.scan_iter(f"lm:idempotency:{account.user['id']}:*")]
    return bytes(name)


async def how_many(client: httpx.AsyncClient, account: Any, path: str = PATH) -> int:
    return len((await client.get(path, headers=account.headers)).json()["items"])


async def test_answers_are_kept_for_a_day(client: httpx.AsyncClient, account: Any, redis: Redis) -> None:
    assert (await create(client, account, str(new_id()))).status_code == 201
    assert 86_390 <= await redis.ttl(await slot_of(redis, account)) <= 86_400


async def test_every_request_is_counted(client: httpx.AsyncClient, account: Any) -> None:
    """One that is answered from what is kept, one whose key was used for another, and one that is new."""
    key = str(new_id())
    answers = [
        await create(client, account, key),
        await create(client, account, key),
        await create(client, account, key, title="Atoms"),
        await client.post(PATH, json={}, headers=account.headers),
    ]
    assert [answer.status_code for answer in answers] == [201, 201, 422, 201]
    left = [int(answer.headers["ratelimit"].split("r=")[1].split(";")[0]) for answer in answers]
    assert left == [left[0] - number for number in range(4)]


async def test_replays_are_limited(
    settings: Any, running: Callable[..., Any], client_of: Callable[..., httpx.AsyncClient], account: Any
) -> None:
    api, key = settings.api.model_copy(update={"requests_per_minute": 3}), str(new_id())
    async with running(settings.model_copy(update={"api": api})) as app, client_of(app) as client:
        answers = [(await create(client, account, key)).status_code for _ in range(4)]
    assert answers == [201, 201, 201, 429]


async def test_a_client_that_goes_away_finds_the_answer(
    app: FastAPI, client: httpx.AsyncClient, account: Any, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server cancels its request when it already stands in the database."""
    key, committed, go_on, make = str(new_id()), asyncio.Event(), asyncio.Event(), _maker()

    async def make_slowly(*args: Any, **values: Any) -> Any:
        row = await make(*args, **values)
        committed.set()
        await go_on.wait()
        return row

    monkeypatch.setattr(conversations, "create_conversation", make_slowly)
    first = asyncio.create_task(create(client, account, key))
    await committed.wait()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    meanwhile = await create(client, account, key)
    assert (meanwhile.status_code, meanwhile.json()["code"]) == (409, "in_flight")
    assert 590 <= await redis.ttl(await slot_of(redis, account)) <= 600
    go_on.set()
    await app.state.resources.background.drain()
    again = await create(client, account, key)
    assert (again.status_code, again.headers["idempotent-replayed"]) == (201, "true")
    assert await how_many(client, account) == 1


@pytest.mark.parametrize("error", [RuntimeError("bug"), CommitUnknown("08006")])
async def test_who_may_have_created_keeps_the_key(
    client: httpx.AsyncClient, account: Any, redis: Redis, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    key, make = str(new_id()), _maker()

    async def make_and_fail(*args: Any, **values: Any) -> Any:
        await make(*args, **values)
        raise error

    monkeypatch.setattr(conversations, "create_conversation", make_and_fail)
    assert (await create(client, account, key)).status_code >= 500
    monkeypatch.undo()
    again = await create(client, account, key)
    assert (again.status_code, again.json()["code"]) == (409, "in_flight")
    assert 590 <= await redis.ttl(await slot_of(redis, account)) <= 600
    assert await how_many(client, account) == 1


@pytest.mark.parametrize("error", [Unavailable("away"), DatabaseUnavailable("no connection")])
async def test_who_created_nothing_frees_the_key(
    client: httpx.AsyncClient, account: Any, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def fail(*_args: Any, **_values: Any) -> Any:
        raise error

    key = str(new_id())
    monkeypatch.setattr(conversations, "create_conversation", fail)
    assert (await create(client, account, key)).status_code == 503
    monkeypatch.undo()
    assert (await create(client, account, key)).status_code == 201


def _maker() -> Callable[..., Awaitable[Any]]:
    return conversations.create_conversation


async def upload(
    client: httpx.AsyncClient, account: Any, key: str, content: bytes, *, boundary: str = "xyz", **fields: str
) -> httpx.Response:
    headers = {
        **account.headers,
        "Idempotency-Key": key,
        "Content-Type": f"multipart/form-data; boundary={boundary}",
    }
    files = {"file": ("notes.txt", content)}
    return await client.post(UPLOAD, files=files, data=fields, headers=headers)


async def test_an_upload_is_the_same_whatever_its_boundary(client: httpx.AsyncClient, account: Any) -> None:
    key, content = str(new_id()), f"Cells {new_id()}".encode()
    first = await upload(client, account, key, content)
    second = await upload(client, account, key, content, boundary="another-one")
    assert (first.status_code, second.status_code) == (202, 202)
    assert second.json() == first.json()
    assert second.headers["idempotent-replayed"] == "true"


@pytest.mark.parametrize(
    ("old", "new", "fields"), [(b"one", b"two", {}), (b"one", b"one", {"title": "B"}), (b"1", b"long", {})]
)
async def test_another_upload_with_the_same_key(
    client: httpx.AsyncClient, account: Any, old: bytes, new: bytes, fields: dict[str, str]
) -> None:
    key = str(new_id())
    first = await upload(client, account, key, old, title="A")
    assert first.status_code == 202
    second = await upload(client, account, key, new, **{"title": "A", **fields})
    assert (second.status_code, second.json()["code"]) == (422, "idempotency_key_reused")
    assert (await upload(client, account, key, old, title="A")).json() == first.json()
    assert await how_many(client, account, "/api/v1/documents") == 1


async def test_an_upload_that_broke_off_frees_its_key(client: httpx.AsyncClient, account: Any) -> None:
    key, content, begun = str(new_id()), f"Cells {new_id()}".encode(), asyncio.Event()
    head = b'--xyz\r\nContent-Disposition: form-data; name="file"; filename="notes.txt"\r\n\r\n'

    async def half() -> AsyncIterator[bytes]:
        yield head + content[:9]
        begun.set()
        await asyncio.Event().wait()

    headers = {
        **account.headers,
        "Idempotency-Key": key,
        "Content-Type": "multipart/form-data; boundary=xyz",
    }
    first = asyncio.create_task(client.post(UPLOAD, content=half(), headers=headers))
    await begun.wait()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await asyncio.sleep(0.2)
    assert (await upload(client, account, key, content)).status_code == 202
