"""Every route x who asks. A route without a row in `ROWS` fails the first test.

A row says what each of five askers gets: somebody without a token, with an expired token, with the token of
a deleted account, somebody else who names a thing of its owner's, and a moderator who does. Somebody else's
thing is answered exactly as one that was never there.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from starlette.routing import Route

from little_monster.platform.security import Principal

PASSWORD = "correct horse battery"


@dataclass(frozen=True)
class Row:
    """One route. `other` is None where the path names nothing that has an owner; `body` is a good one.

    `anyone` is what everybody gets where no token is needed, `owner` what it is to whom it belongs.
    """

    method: str
    path: str
    other: int | None = None
    moderator: int | None = None
    no_token: int = 401
    expired: int = 401
    deleted: int = 401
    anyone: int | None = None
    owner: int = 200
    body: Any = None
    files: Any = field(default=None, compare=False)

    @property
    def key(self) -> tuple[str, str]:
        return self.method, self.path


def public(method: str, path: str, status: int, **more: Any) -> Row:
    return Row(method, path, anyone=status, **more)


def private(method: str, path: str, **more: Any) -> Row:
    """A route whose path names a thing of one user."""
    return Row(method, path, other=404, moderator=404, **more)


USER, DOCUMENT = "/api/v1/users/{user_id}", "/api/v1/documents/{document_id}"
CONVERSATION = "/api/v1/chat/conversations/{conversation_id}"

ROWS = (
    public("GET", "/livez", 200),
    public("GET", "/readyz", 200),
    public("GET", "/metrics", 200),
    public("GET", "/openapi.json", 200),
    public("GET", "/docs", 200),
    public("POST", "/api/v1/auth/register", 422, body={}),
    public("POST", "/api/v1/auth/login", 422, body={}),
    public("POST", "/api/v1/auth/refresh-token", 401, body={"refresh_token": "A" * 43}),
    public("POST", "/api/v1/auth/logout", 204, body={"refresh_token": "A" * 43}),
    private("GET", USER),
    private("PATCH", USER, body={"display_name": "Eve"}),
    private("DELETE", USER, body={"password": PASSWORD}),
    private("GET", f"{USER}/stats"),
    private("POST", f"{USER}/export"),
    private("GET", f"{USER}/export/{{export_id}}", owner=409),
    Row("POST", "/api/v1/documents/upload", files={"file": ("a.txt", b"text")}),
    Row("GET", "/api/v1/documents"),
    Row("POST", "/api/v1/documents/search", body={"query": "cells"}),
    private("GET", DOCUMENT),
    private("PATCH", DOCUMENT, body={"title": "Eve's"}),
    private("DELETE", DOCUMENT),
    private("GET", f"{DOCUMENT}/chunks"),
    Row("GET", "/api/v1/jobs"),
    private("GET", "/api/v1/jobs/{job_id}"),
    private("GET", "/api/v1/jobs/{job_id}/events"),
    private("POST", "/api/v1/jobs/{job_id}/cancel"),
    Row("POST", "/api/v1/chat/conversations", body={"title": "Cells"}),
    Row("GET", "/api/v1/chat/conversations"),
    private("GET", CONVERSATION),
    private("PATCH", CONVERSATION, body={"title": "Eve's"}),
    private("DELETE", CONVERSATION),
    private("POST", f"{CONVERSATION}/messages", body={"content": "What is a cell?"}),
    Row("GET", "/v1/models"),
    Row("GET", "/v1/models/{model:path}"),
    Row(
        "POST", "/v1/chat/completions", body={"model": "tiny", "messages": [{"role": "user", "content": "a"}]}
    ),
    Row("POST", "/v1/embeddings", body={"model": "fake-embedder", "input": "a"}),
    Row("POST", "/v1/moderations", body={"input": "a"}),
)
OWNED = [row for row in ROWS if row.other is not None]
NEEDS_TOKEN = [row for row in ROWS if row.anyone is None]


def by_key(rows: Any) -> Any:
    return pytest.mark.parametrize("row", rows, ids=lambda row: f"{row.method} {row.path}")


def test_every_route_has_a_row(app: FastAPI) -> None:
    routes = {
        (method, route.path)
        for route in app.routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert len(routes) == len([route for route in app.routes if isinstance(route, Route)])
    assert {row.key for row in ROWS} == routes
    assert len(ROWS) == len(routes)


@dataclass(frozen=True)
class World:
    """What there is: things of Ada's, and the headers of those who ask for them."""

    ids: dict[str, str]
    ada: dict[str, str]
    eve: dict[str, str]
    moderator: dict[str, str]
    expired: dict[str, str]
    deleted: dict[str, str]
    deleted_id: str


@pytest.fixture(scope="module")
async def world(app: FastAPI, postgres: Any, client_of: Callable[..., httpx.AsyncClient]) -> World:
    async with client_of(app) as client:
        ada, eve, moderator, gone = [await _register(client) for _ in range(4)]
        ada_headers = _bearer(ada["tokens"]["access_token"])
        files = {"file": ("a.txt", uuid4().hex.encode())}
        added = (await client.post("/api/v1/documents/upload", files=files, headers=ada_headers)).json()
        begun = (await client.post("/api/v1/chat/conversations", json={}, headers=ada_headers)).json()
        export = (await client.post("/api/v1/users/me/export", headers=ada_headers)).json()
        gone_headers = _bearer(gone["tokens"]["access_token"])
        ended = await client.request(
            "DELETE", "/api/v1/users/me", json={"password": PASSWORD}, headers=gone_headers
        )
        assert ended.status_code == 204, ended.text
    await _promote(postgres, moderator["user"]["id"])
    tokens = app.state.resources.tokens
    past = datetime.now(UTC) - timedelta(minutes=15, seconds=1)
    return World(
        ids={
            "user_id": ada["user"]["id"],
            "document_id": added["document"]["id"],
            "job_id": added["job"]["id"],
            "export_id": export["id"],
            "conversation_id": begun["id"],
        },
        ada=ada_headers,
        eve=_bearer(eve["tokens"]["access_token"]),
        moderator=_bearer(tokens.issue(Principal(UUID(moderator["user"]["id"]), "moderator"))),
        expired=_bearer(tokens.issue(Principal(UUID(ada["user"]["id"]), "student"), past)),
        deleted=gone_headers,
        deleted_id=gone["user"]["id"],
    )


async def _register(client: httpx.AsyncClient) -> Any:
    body = {"email": f"{uuid4()}@example.com", "password": PASSWORD, "display_name": "Ada"}
    made = await client.post("/api/v1/auth/register", json=body)
    assert made.status_code == 201, made.text
    return made.json()


async def _promote(postgres: Any, user_id: str) -> None:
    connection = await asyncpg.connect(postgres.owner_url)
    try:
        await connection.execute("UPDATE users SET role = 'moderator' WHERE id = $1", UUID(user_id))
    finally:
        await connection.close()


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


Ask = Callable[..., Awaitable[httpx.Response]]


@pytest.fixture
def ask(client: httpx.AsyncClient) -> Ask:
    async def send(row: Row, ids: dict[str, str], headers: dict[str, str]) -> httpx.Response:
        path = row.path.replace(":path", "").format(**{"model": "tiny", **ids})
        return await client.request(row.method, path, json=row.body, files=row.files, headers=headers)

    return send


def assert_problem(response: httpx.Response, row: Row, status: int) -> None:
    assert response.status_code == status, response.text
    if row.path.startswith("/v1/"):
        assert set(response.json()) == {"error"}
    else:
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["status"] == status


@by_key(NEEDS_TOKEN)
async def test_without_a_token(row: Row, world: World, ask: Ask) -> None:
    assert_problem(await ask(row, world.ids, {}), row, row.no_token)


@by_key(NEEDS_TOKEN)
async def test_with_an_expired_token(row: Row, world: World, ask: Ask) -> None:
    assert_problem(await ask(row, world.ids, world.expired), row, row.expired)


@by_key(NEEDS_TOKEN)
async def test_with_the_token_of_a_deleted_account(row: Row, world: World, ask: Ask) -> None:
    ids = {**world.ids, "user_id": world.deleted_id}
    assert_problem(await ask(row, ids, world.deleted), row, row.deleted)


@by_key([row for row in ROWS if row.anyone is not None])
async def test_what_is_public_is_the_same_for_all(row: Row, world: World, ask: Ask) -> None:
    for headers in ({}, world.expired, world.deleted, world.eve):
        answer = await ask(row, world.ids, headers)
        assert answer.status_code == row.anyone, answer.text


@pytest.mark.parametrize("asker", ["other", "moderator"])
@by_key(OWNED)
async def test_somebody_elses_thing_looks_like_a_missing_one(
    row: Row, asker: str, world: World, ask: Ask
) -> None:
    headers = world.eve if asker == "other" else world.moderator
    theirs = await ask(row, world.ids, headers)
    nobodys = await ask(row, {name: str(uuid4()) for name in world.ids}, headers)
    assert_problem(theirs, row, row.other if asker == "other" else row.moderator)  # type: ignore[arg-type]
    assert _told(theirs) == _told(nobodys)


@by_key([row for row in OWNED if row.method == "GET"])
async def test_what_is_hidden_is_there(row: Row, world: World, ask: Ask) -> None:
    """After all who tried, the owner still finds it."""
    assert (await ask(row, world.ids, world.ada)).status_code == row.owner


def _told(response: httpx.Response) -> tuple[int, dict[str, Any], set[str]]:
    body = {**response.json(), "instance": "", "request_id": ""}
    return response.status_code, body, set(response.headers)
