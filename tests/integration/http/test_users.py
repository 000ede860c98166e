"""Accounts over HTTP: the profile, what it adds up to, and that nothing is left of a deleted one."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from redis.asyncio import Redis

from little_monster.db.base import Base
from little_monster.db.models.chat_messages import MessageRole
from little_monster.db.repositories import chat_messages, users
from little_monster.db.session import Database
from little_monster.db.vectors.edge import EdgeIndex
from little_monster.db.vectors.index import Point
from little_monster.platform.engines.fakes import DIMENSION, FakeEmbedder
from little_monster.platform.services.preferences import MAX_BYTES
from little_monster.platform.settings import Settings
from tests.fixtures.library import Library
from tests.fixtures.shelves import make_changes
from tests.fixtures.watch import NAME, PASSWORD

USERS, ME = "/api/v1/users", "/api/v1/users/me"
TEXT = "Cells make energy in mitochondria.\n\nPlants absorb light with chlorophyll."


async def patch(client: httpx.AsyncClient, account: Any, **body: Any) -> httpx.Response:
    return await client.patch(ME, json=body, headers=account.headers)


async def end(client: httpx.AsyncClient, account: Any, **more: Any) -> httpx.Response:
    request = {"json": {"password": PASSWORD}, "headers": account.headers, **more}
    return await client.request("DELETE", ME, **request)


async def test_ones_own_profile_by_id_and_by_me(client: httpx.AsyncClient, account: Any) -> None:
    mine = await client.get(ME, headers=account.headers)
    by_id = await client.get(f"{USERS}/{account.user['id']}", headers=account.headers)
    assert mine.status_code == by_id.status_code == 200
    assert mine.json() == by_id.json()
    assert (mine.json()["email"], mine.json()["display_name"]) == (account.email, NAME)


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("PATCH", ""), ("DELETE", ""), ("GET", "/stats")])
async def test_anothers_account_looks_like_a_missing_one(
    client: httpx.AsyncClient, register: Callable[[], Awaitable[Any]], method: str, path: str
) -> None:
    ada, eve = await register(), await register()
    body = {"PATCH": {"display_name": "Eve"}, "DELETE": {"password": PASSWORD}}.get(method)
    answers = [
        await client.request(method, f"{USERS}/{user_id}{path}", json=body, headers=eve.headers)
        for user_id in (ada.user["id"], uuid4())
    ]
    assert [one.status_code for one in answers] == [404, 404]
    theirs, missing = (one.json() for one in answers)
    assert theirs["code"] == "user_not_found"
    assert {**theirs, "instance": "", "request_id": ""} == {**missing, "instance": "", "request_id": ""}
    assert (await client.get(ME, headers=ada.headers)).json()["display_name"] == NAME


async def test_what_is_left_out_stays(client: httpx.AsyncClient, account: Any) -> None:
    body = {
        "display_name": " Ada Lovelace ",
        "avatar_color": "#4F46e5",
        "subjects": ["Biology", "Art", "Biology"],
    }
    changed = await patch(client, account, **body)
    assert changed.status_code == 200, changed.text
    shown = changed.json()
    assert (shown["display_name"], shown["avatar_color"]) == ("Ada Lovelace", "#4F46e5")
    assert shown["subjects"] == ["Biology", "Art"]
    assert shown == (await client.get(ME, headers=account.headers)).json()
    cleared = (await patch(client, account, avatar_color=None, subjects=[])).json()
    assert (cleared["display_name"], cleared["avatar_color"], cleared["subjects"]) == (
        "Ada Lovelace",
        None,
        [],
    )
    assert (await client.get(ME, headers=account.headers)).json() == cleared


async def test_preferences_are_merged(client: httpx.AsyncClient, account: Any) -> None:
    await patch(client, account, preferences={"theme": "dark", "a": {"b": 1, "c": [1, None]}, "old": True})
    changed = await patch(
        client, account, preferences={"a": {"b": None, "d": "é\u0001"}, "old": None, "new": {}}
    )
    wanted = {"theme": "dark", "a": {"c": [1, None], "d": "é\u0001"}, "new": {}}
    assert changed.json()["preferences"] == wanted
    assert (await client.get(ME, headers=account.headers)).json()["preferences"] == wanted


async def test_preferences_have_limits_as_a_whole(client: httpx.AsyncClient, account: Any) -> None:
    half = "x" * (MAX_BYTES - 100)
    assert (await patch(client, account, preferences={"a": half})).status_code == 200
    refused = await patch(client, account, preferences={"b": half})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "body.preferences")
    assert (await patch(client, account, preferences={"a": None, "b": half})).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {"display_name": None},
        {"display_name": " "},
        {"display_name": "A\x00"},
        {"display_name": "x" * 101},
        {"avatar_color": "red"},
        {"avatar_color": "#12345"},
        {"avatar_color": "#1234567"},
        {"subjects": None},
        {"subjects": "Biology"},
        {"subjects": [" "]},
        {"subjects": ["x"] * 21},
        {"preferences": None},
        {"preferences": []},
        {"preferences": {"a": "\x00"}},
        {"preferences": {"\x00": "a"}},
        {"preferences": {"a": 2**60}},
        {"preferences": {"a": 10**400}},
        {"preferences": {"a": {"b": {"c": {"d": {"e": {"f": {"g": {"h": {}}}}}}}}}},
        {"preferences": {"a": "x" * MAX_BYTES}},
        {"email": "eve@example.com"},
        {"role": "admin"},
        {"id": str(uuid4())},
    ],
)
async def test_a_bad_change_changes_nothing(client: httpx.AsyncClient, account: Any, body: Any) -> None:
    before = (await client.get(ME, headers=account.headers)).json()
    refused = await patch(client, account, **body)
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_input"), refused.text
    assert (await client.get(ME, headers=account.headers)).json() == before


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999", '"\\ud800"'])
async def test_what_json_cannot_keep_is_refused(client: httpx.AsyncClient, account: Any, number: str) -> None:
    headers = {**account.headers, "Content-Type": "application/json"}
    refused = await client.patch(ME, content=f'{{"preferences": {{"a": {number}}}}}', headers=headers)
    assert refused.status_code in (400, 422), refused.text


async def test_changes_at_once_all_count(client: httpx.AsyncClient, account: Any) -> None:
    await asyncio.gather(*(patch(client, account, preferences={str(number): number}) for number in range(8)))
    kept = (await client.get(ME, headers=account.headers)).json()["preferences"]
    assert kept == {str(number): number for number in range(8)}


@pytest.fixture
async def library(
    settings: Settings,
    running: Callable[..., AbstractAsyncContextManager[FastAPI]],
    database: Database,
    tmp_path: Path,
) -> AsyncIterator[tuple[FastAPI, Library]]:
    """An application with a real index, and what fills it."""
    index, embedder = EdgeIndex(tmp_path, "passages", DIMENSION), FakeEmbedder()
    shelf = Library(database, index, embedder)
    async with running(settings, index=index, embedder=embedder, retriever=shelf) as app:
        yield app, shelf
    await index.close()


async def _fill(client: httpx.AsyncClient, account: Any, shelf: Library) -> UUID:
    """Give an account two documents, one of them uploaded, and a conversation with two messages."""
    owner = UUID(account.user["id"])
    await shelf.add(owner, "Notes", TEXT)
    uploaded = await client.post(
        "/api/v1/documents/upload", files={"file": ("a.txt", b"Some text.")}, headers=account.headers
    )
    assert uploaded.status_code == 202, uploaded.text
    keyed = {**account.headers, "Idempotency-Key": "once"}
    begun = await client.post("/api/v1/chat/conversations", json={}, headers=keyed)
    async with shelf.database.session(owner) as session:
        for role in (MessageRole.USER, MessageRole.ASSISTANT):
            await chat_messages.add(
                session, user_id=owner, conversation_id=UUID(begun.json()["id"]), role=role, content="Hello"
            )
    return owner


async def test_stats_add_up(
    library: tuple[FastAPI, Library], client_of: Callable[..., httpx.AsyncClient], account: Any
) -> None:
    app, shelf = library
    async with client_of(app) as client:
        empty = (await client.get(f"{ME}/stats", headers=account.headers)).json()
        await _fill(client, account, shelf)
        full = (await client.get(f"{ME}/stats", headers=account.headers)).json()
        newest = (await client.get("/api/v1/chat/conversations", headers=account.headers)).json()["items"][0]
    names = ("documents", "chunks", "conversations", "messages", "storage_bytes")
    assert [empty[name] for name in names] == [0, 0, 0, 0, 0]
    assert [full[name] for name in names] == [2, 2, 1, 2, len(TEXT.encode()) + len(b"Some text.")]
    assert full["last_activity_at"] == newest["last_message_at"] > empty["last_activity_at"]


async def test_stats_know_what_one_makes_of_videos_and_the_planner(
    client: httpx.AsyncClient,
    register: Callable[[], Awaitable[Any]],
    new_video: Callable[..., Awaitable[str]],
) -> None:
    ada, eve = await register(), await register()

    async def stats() -> dict[str, Any]:
        shown: dict[str, Any] = (await client.get(f"{ME}/stats", headers=ada.headers)).json()
        return shown

    async def post(account: Any, path: str, **body: Any) -> dict[str, Any]:
        response = await client.post(f"/api/v1/{path}", json=body, headers=account.headers)
        assert response.status_code < 300, response.text
        made: dict[str, Any] = response.json()
        return made

    names = ("videos", "comments", "ratings", "events")
    video = await new_video(eve)
    for _ in range(2):
        await post(eve, "comments", video_id=video, text="Eve's")
    await post(eve, "ratings", video_id=video, stars=1)
    before = await stats()
    assert [before[name] for name in names] == [0, 0, 0, 0]
    await new_video(ada)
    moments = [before["last_activity_at"], (await stats())["last_activity_at"]]
    for path, body, moment in (
        ("comments", {"video_id": video, "text": "Clear."}, "created_at"),
        ("ratings", {"video_id": video, "stars": 5}, "updated_at"),
        ("planner/events", {"title": "Exam", "start_date": "2026-10-19T09:15:00Z"}, "updated_at"),
    ):
        made = await post(ada, path, **body)
        moments.append((await stats())["last_activity_at"])
        assert moments[-1] == made[moment]
    assert moments == sorted(set(moments))
    assert [(await stats())[name] for name in names] == [1, 1, 1, 1]


# What is to be read after the account is gone, and what says for seconds that the rest of it has to go.
KEPT = {"audit_events", "index_outbox"}


async def _rows_of(postgres: Any, owner: UUID) -> dict[str, int]:
    """Count the rows of a user in every table, past row level security."""
    connection = await asyncpg.connect(postgres.owner_url)
    try:
        owners = {
            table.name: "id" if table.name == "users" else "user_id"
            for table in Base.metadata.tables.values()
            if table.name == "users" or ("user_id" in table.columns and table.name not in KEPT)
        }
        return {
            table: await connection.fetchval(f"SELECT count(*) FROM {table} WHERE {column} = $1", owner)
            for table, column in owners.items()
        }
    finally:
        await connection.close()


async def _trail_of(postgres: Any, owner: UUID) -> list[str]:
    connection = await asyncpg.connect(postgres.owner_url)
    try:
        query = "SELECT kind FROM audit_events WHERE user_id = $1 ORDER BY created_at"
        return [row["kind"] for row in await connection.fetch(query, owner)]
    finally:
        await connection.close()


def _files_of(app: FastAPI, owner: UUID) -> list[Path]:
    return [*(Path(app.state.resources.storage.description) / str(owner)).rglob("*")]


async def test_deleting_leaves_nothing(
    library: tuple[FastAPI, Library],
    client_of: Callable[..., httpx.AsyncClient],
    register: Callable[[], Awaitable[Any]],
    postgres: Any,
    redis: Redis,
) -> None:
    app, shelf = library
    ada, bob = await register(), await register()
    async with client_of(app) as client:
        owner, other = await _fill(client, ada, shelf), await _fill(client, bob, shelf)
        before = await _rows_of(postgres, other)
        assert {**before, "refresh_tokens": 1} == await _rows_of(postgres, owner)
        assert before["document_chunks"] == before["user_documents"] == before["chat_messages"] == 2
        # What a worker and an upload left that were killed.
        await app.state.resources.storage.put(f"{owner}/{uuid4()}/original", _chunks(b"orphan"))
        await shelf.index.upsert([Point(uuid4(), owner, uuid4(), [1.0] * DIMENSION)])
        assert (await end(client, ada)).status_code == 204
        await make_changes(app, shelf.index)
        assert set((await _rows_of(postgres, owner)).values()) == {0}
        assert await _rows_of(postgres, other) == before
        assert (await _trail_of(postgres, owner))[-1] == "account_deleted"
        assert (await shelf.index.count(owner), await shelf.index.count(other)) == (0, 2)
        assert (_files_of(app, owner), len(_files_of(app, other))) == ([], 2)
        assert [key async for key in redis.scan_iter(f"lm:idempotency:{owner}:*")] == []
        assert [key async for key in redis.scan_iter(f"lm:idempotency:{other}:*")] != []
        again = await client.post("/api/v1/auth/login", json={"email": ada.email, "password": PASSWORD})
        assert again.status_code == 401
        refreshed = {"refresh_token": ada.tokens["refresh_token"]}
        assert (await client.post("/api/v1/auth/refresh-token", json=refreshed)).status_code == 401
        reborn = {"email": ada.email, "password": PASSWORD, "display_name": "Ada"}
        made = await client.post("/api/v1/auth/register", json=reborn)
        assert made.status_code == 201
        assert made.json()["user"]["id"] != ada.user["id"]


async def _chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def test_tokens_of_a_deleted_account_are_refused(
    client: httpx.AsyncClient, register: Callable[[], Awaitable[Any]], redis: Redis
) -> None:
    account = await register()
    assert (await end(client, account)).status_code == 204
    paths = (ME, "/api/v1/documents", "/api/v1/jobs", "/api/v1/chat/conversations", "/v1/models")
    answers = [await client.get(path, headers=account.headers) for path in paths]
    assert {one.status_code for one in answers} == {401}
    assert 0 < await redis.ttl(f"lm:rate:requests:{account.user['id']}") <= 15 * 60
    # Without Redis' word, the database still lets nothing be added.
    await redis.delete(f"lm:rate:requests:{account.user['id']}")
    begun = await client.post("/api/v1/chat/conversations", json={}, headers=account.headers)
    assert (begun.status_code, begun.json()["code"]) == (401, "unauthenticated")
    files = {"file": ("a.txt", b"text")}
    sent = await client.post("/api/v1/documents/upload", files=files, headers=account.headers)
    assert sent.status_code == 401
    assert (await client.get("/api/v1/documents", headers=account.headers)).json()["items"] == []


@pytest.mark.parametrize(
    ("more", "status", "code"),
    [
        ({"json": {"password": "not the password"}}, 403, "wrong_password"),
        ({"json": {"password": ""}}, 422, "invalid_input"),
        ({"json": {}}, 422, "invalid_input"),
        ({"json": None}, 422, "invalid_input"),
    ],
)
async def test_without_the_password_nothing_is_deleted(
    client: httpx.AsyncClient, account: Any, more: Any, status: int, code: str
) -> None:
    refused = await end(client, account, **more)
    assert (refused.status_code, refused.json()["code"]) == (status, code)
    assert (await client.get(ME, headers=account.headers)).status_code == 200


async def test_the_password_may_come_in_a_header(client: httpx.AsyncClient) -> None:
    password = "pässwörd with ünicode ✓"
    body = {"email": f"{uuid4()}@example.com", "password": password, "display_name": "Ada"}
    made = (await client.post("/api/v1/auth/register", json=body)).json()
    headers: Any = {
        b"Authorization": f"Bearer {made['tokens']['access_token']}".encode(),
        b"X-Password": b"wrong",
    }
    assert (await client.delete(ME, headers=headers)).status_code == 403
    headers[b"X-Password"] = password.encode()
    assert (await client.delete(ME, headers=headers)).status_code == 204


async def test_passwords_cannot_be_tried_without_end(client: httpx.AsyncClient, account: Any) -> None:
    wrong = {"json": {"password": "not the password"}}
    answers = [(await end(client, account, **wrong)).status_code for _ in range(13)]
    # Where a minute ends between them, one or two more pass.
    assert answers[:10] == [403] * 10
    assert answers[-1] == 429


async def test_nothing_is_added_between_the_last_look_and_the_end(
    library: tuple[FastAPI, Library],
    client_of: Callable[..., httpx.AsyncClient],
    account: Any,
    postgres: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app, shelf = library
    delete, uploads = users.delete, []

    async def upload_and_delete(session: Any, user_id: UUID) -> bool:
        files = {"file": ("late.txt", b"Late")}
        sending = client.post("/api/v1/documents/upload", files=files, headers=account.headers)
        uploads.append(asyncio.create_task(sending))
        await asyncio.sleep(0.5)
        return await delete(session, user_id)

    monkeypatch.setattr(users, "delete", upload_and_delete)
    async with client_of(app) as client:
        owner = await _fill(client, account, shelf)
        assert (await end(client, account)).status_code == 204
        assert [(await sent).status_code for sent in uploads] == [401]
    await make_changes(app, shelf.index)
    assert set((await _rows_of(postgres, owner)).values()) == {0}
    assert _files_of(app, owner) == []


async def test_many_uploads_at_once_with_the_deletion_leave_nothing(
    library: tuple[FastAPI, Library],
    client_of: Callable[..., httpx.AsyncClient],
    account: Any,
    postgres: Any,
) -> None:
    app, shelf = library
    async with client_of(app) as client:
        owner = await _fill(client, account, shelf)

        async def send(number: int) -> int:
            await asyncio.sleep(number * 0.005)
            files = {"file": ("a.txt", f"Text {number}".encode())}
            sent = await client.post("/api/v1/documents/upload", files=files, headers=account.headers)
            return sent.status_code

        ended, *sent = await asyncio.gather(end(client, account), *(send(number) for number in range(20)))
    assert ended.status_code == 204
    assert set(sent) <= {202, 401}
    await make_changes(app, shelf.index)
    assert set((await _rows_of(postgres, owner)).values()) == {0}
    assert _files_of(app, owner) == []
