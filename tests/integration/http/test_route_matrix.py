"""Every route x who asks. A route without a row in `ROWS` fails the first test.

A row says what each of five askers gets: somebody without a token, with an expired token, with the token of
a deleted account, somebody else who names a thing of its owner's, and a moderator who does. Somebody else's
thing is answered exactly as one that was never there, and so is what only moderators see.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import jwt
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.routing import Route

from little_monster.db.repositories import document_chunks, external_identities, notifications
from little_monster.db.repositories.document_chunks import NewChunk
from little_monster.platform.security import Principal
from tests.fixtures.watch import PASSWORD


@dataclass(frozen=True)
class Row:
    """One route. `other` is None where the path names nothing that has an owner; `body` is a good one. What
    `lists` one's own things shows them to nobody else.

    `anyone` is what everybody gets where no token is needed, `owner` what it is to whom it belongs. `path`,
    `query` and `body` name the ids of `World`.
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
    content: bytes | None = None
    query: Any = None
    lists: bool = False

    @property
    def key(self) -> tuple[str, str]:
        return self.method, self.path


def public(method: str, path: str, status: int, **more: Any) -> Row:
    return Row(method, path, anyone=status, **more)


def private(method: str, path: str, **more: Any) -> Row:
    """A route whose path names a thing of one user."""
    return Row(method, path, other=404, moderator=404, **more)


def community(method: str, path: str, *, done: int = 200, **more: Any) -> Row:
    """A route whose path, query or body names a thing that nobody but its user and moderators see."""
    return Row(method, path, other=404, moderator=done, **more)


USER, DOCUMENT = "/api/v1/users/{user_id}", "/api/v1/documents/{document_id}"
CONVERSATION = "/api/v1/chat/conversations/{conversation_id}"
VIDEO, COMMENT = "/api/v1/videos/{video_id}", "/api/v1/comments/{comment_id}"
MODERATED = "/api/v1/moderation/comments/{comment_id}"
MODERATED_VIDEO = "/api/v1/moderation/videos/{video_id}"
EVENT, FEED = "/api/v1/planner/events/{event_id}", "/api/v1/planner/feeds/{feed_id}"
NOTIFICATION = "/api/v1/notifications/{notification_id}"
NEW_VIDEO = {"title": "Cells", "topic": "Walls", "subject": "biology"}
NEW_EVENT = {"title": "Exam", "start_date": "2026-10-19T09:15:00Z"}
PDF = (Path(__file__).parents[3] / "configs/samples/biology-photosynthesis.pdf").read_bytes()
CALENDAR = b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:test\r\nEND:VCALENDAR\r\n"

ROWS = (
    public("GET", "/livez", 200),
    public("GET", "/readyz", 200),
    public("GET", "/metrics", 200),
    public("GET", "/openapi.json", 200),
    public("GET", "/docs", 200),
    # Tokens are signed with a secret here.
    public("GET", "/.well-known/jwks.json", 404),
    public("POST", "/api/v1/auth/register", 422, body={}),
    public("POST", "/api/v1/auth/login", 422, body={}),
    public("POST", "/api/v1/auth/refresh-token", 401, body={"refresh_token": "A" * 43}),
    public("POST", "/api/v1/auth/logout", 204, body={"refresh_token": "A" * 43}),
    Row("POST", "/api/v1/auth/logout-everywhere"),
    public("POST", "/api/v1/auth/verify-email", 422, body={"code": "A" * 43}),
    Row("POST", "/api/v1/auth/verify-email/request"),
    Row(
        "POST",
        "/api/v1/auth/password/change",
        body={"current_password": PASSWORD, "new_password": "another horse at the door"},
    ),
    public("POST", "/api/v1/auth/password/reset/request", 202, body={"email": "nobody@example.com"}),
    public(
        "POST",
        "/api/v1/auth/password/reset",
        422,
        body={"code": "A" * 43, "new_password": "another horse at the door"},
    ),
    Row("GET", "/api/v1/auth/sessions", lists=True),
    private("DELETE", "/api/v1/auth/sessions/{session_id}"),
    Row("POST", "/api/v1/auth/tokens", body={"name": "backup", "scopes": ["read"]}),
    Row("GET", "/api/v1/auth/tokens", lists=True),
    private("DELETE", "/api/v1/auth/tokens/{token_id}"),
    Row("POST", "/api/v1/auth/identities", body={"token": "e30.e30.e30"}),
    Row("GET", "/api/v1/auth/identities", lists=True),
    private("DELETE", "/api/v1/auth/identities/{identity_id}"),
    Row("POST", "/api/v1/auth/totp", body={"password": PASSWORD}),
    Row("POST", "/api/v1/auth/totp/confirm", body={"code": "287082"}),
    Row("DELETE", "/api/v1/auth/totp", body={"password": PASSWORD}),
    Row("GET", "/api/v1/auth/events", lists=True),
    private("GET", USER),
    private("PATCH", USER, body={"display_name": "Eve"}),
    private("DELETE", USER, body={"password": PASSWORD}),
    private("GET", f"{USER}/stats"),
    private("POST", f"{USER}/export"),
    private("GET", f"{USER}/export/{{export_id}}", owner=409),
    Row("POST", "/api/v1/documents/upload", files={"file": ("a.txt", b"text")}),
    Row("GET", "/api/v1/documents", lists=True),
    Row("POST", "/api/v1/documents/search", body={"query": "cells"}),
    private("GET", DOCUMENT),
    private("PATCH", DOCUMENT, body={"title": "Eve's"}),
    private("DELETE", DOCUMENT),
    private("GET", f"{DOCUMENT}/chunks"),
    private("GET", f"{DOCUMENT}/chunks/{{chunk_id}}"),
    private("POST", f"{DOCUMENT}/reprocess"),
    private("GET", f"{DOCUMENT}/events"),
    private("GET", f"{DOCUMENT}/download"),
    private("GET", f"{DOCUMENT}/pages/{{page}}/image"),
    Row("GET", "/api/v1/jobs", lists=True),
    private("GET", "/api/v1/jobs/{job_id}"),
    private("GET", "/api/v1/jobs/{job_id}/events"),
    private("POST", "/api/v1/jobs/{job_id}/cancel"),
    Row("POST", "/api/v1/chat/conversations", body={"title": "Cells"}),
    Row("GET", "/api/v1/chat/conversations", lists=True),
    private("GET", CONVERSATION),
    private("PATCH", CONVERSATION, body={"title": "Eve's"}),
    private("DELETE", CONVERSATION),
    private("POST", f"{CONVERSATION}/messages", body={"content": "What is a cell?"}),
    private("GET", f"{CONVERSATION}/runs"),
    private("GET", "/api/v1/chat/runs/{run_id}"),
    private("GET", "/api/v1/chat/runs/{run_id}/events"),
    private("POST", "/api/v1/chat/runs/{run_id}/cancel"),
    Row("GET", "/api/v1/videos", lists=True, query={"status": "draft"}),
    Row("POST", "/api/v1/videos", body=NEW_VIDEO),
    community("GET", VIDEO),
    community("PATCH", VIDEO, body={"title": "Seen by a moderator"}),
    community("DELETE", VIDEO, done=204),
    community("GET", "/api/v1/comments", query={"video_id": "{video_id}"}),
    community("POST", "/api/v1/comments", body={"video_id": "{video_id}", "text": "Clear."}, done=201),
    community("GET", COMMENT),
    private("PATCH", COMMENT, body={"text": "Somebody else's"}),
    community("DELETE", COMMENT, done=204),
    Row("GET", "/api/v1/moderation/comments", other=403, moderator=200),
    Row("PATCH", MODERATED, other=403, moderator=200, body={"reason": "Looked at."}),
    Row("GET", "/api/v1/moderation/videos", other=403, moderator=200),
    Row("PATCH", MODERATED_VIDEO, other=403, moderator=200, body={"status": "rejected"}),
    community("POST", "/api/v1/ratings", body={"video_id": "{video_id}", "stars": 4}, done=201),
    community("GET", "/api/v1/ratings", query={"video_id": "{video_id}"}),
    private("GET", "/api/v1/ratings/user/{user_id}/video/{video_id}"),
    Row("GET", "/api/v1/planner/events", lists=True),
    Row("POST", "/api/v1/planner/events", body=NEW_EVENT),
    private("GET", EVENT),
    private("PATCH", EVENT, body={"title": "Eve's"}),
    private("DELETE", EVENT),
    Row("POST", "/api/v1/planner/feed"),
    Row("DELETE", "/api/v1/planner/feed"),
    Row("GET", "/api/v1/planner/feeds", lists=True),
    private("GET", FEED),
    private("DELETE", FEED),
    public("GET", "/api/v1/planner/calendar/{token}.ics", 200),
    Row("POST", "/api/v1/planner/import", content=CALENDAR),
    Row("GET", "/api/v1/notifications", lists=True),
    Row("POST", "/api/v1/notifications/read-all"),
    private("GET", NOTIFICATION),
    private("PATCH", NOTIFICATION, body={"read": True}),
    Row("GET", "/api/v1/admin/users", other=403, moderator=403),
    Row("GET", "/api/v1/admin/users/{user_id}", other=403, moderator=403),
    Row("PATCH", "/api/v1/admin/users/{user_id}", other=403, moderator=403, body={"role": "admin"}),
    Row("GET", "/api/v1/admin/index/collections", other=403, moderator=403),
    Row("POST", "/api/v1/admin/index/changes", other=403, moderator=403, body={"action": "rebuild"}),
    Row("POST", "/api/v1/admin/index/verifications", other=403, moderator=403, body={"repair": True}),
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


# Both askers, with the rows that refuse them.
REFUSED = [
    pytest.param(row, asker, id=f"{row.method} {row.path} {asker}")
    for row in OWNED
    for asker, status in (("other", row.other), ("moderator", row.moderator))
    if status is not None and status >= 400
]


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
        files = {"file": ("a.pdf", PDF + uuid4().hex.encode())}
        added = (await client.post("/api/v1/documents/upload", files=files, headers=ada_headers)).json()
        begun = (await client.post("/api/v1/chat/conversations", json={}, headers=ada_headers)).json()
        question = f"/api/v1/chat/conversations/{begun['id']}/messages"
        asked = await client.post(question, json={"content": "What is a cell?"}, headers=ada_headers)
        content = await _content(client, ada_headers)
        rating = {"video_id": content["video_id"], "stars": 5}
        event = await _made(client, "/api/v1/planner/events", NEW_EVENT, ada_headers)
        feed = await _made(client, "/api/v1/planner/feed", None, ada_headers)
        token = await _made(client, "/api/v1/auth/tokens", {"name": "a", "scopes": ["read"]}, ada_headers)
        await _made(client, "/api/v1/ratings", rating, ada_headers)
        export = (await client.post("/api/v1/users/me/export", headers=ada_headers)).json()
        gone_headers = _bearer(gone["tokens"]["access_token"])
        ended = await client.request(
            "DELETE", "/api/v1/users/me", json={"password": PASSWORD}, headers=gone_headers
        )
        assert ended.status_code == 204, ended.text
    await _promote(postgres, moderator["user"]["id"])
    told = await _tell(app, UUID(ada["user"]["id"]))
    chunk = await _read(app, UUID(ada["user"]["id"]), UUID(added["document"]["id"]))
    identity = await _link(app, UUID(ada["user"]["id"]))
    tokens = app.state.resources.tokens
    past = datetime.now(UTC) - timedelta(minutes=15, seconds=1)
    return World(
        ids={
            "user_id": ada["user"]["id"],
            "document_id": added["document"]["id"],
            "chunk_id": chunk,
            "job_id": added["job"]["id"],
            "export_id": export["id"],
            "conversation_id": begun["id"],
            "run_id": asked.headers["content-location"].rpartition("/")[2],
            **content,
            "event_id": event["id"],
            "feed_id": feed["id"],
            "token": feed["url"].rpartition("/")[2].removesuffix(".ics"),
            "notification_id": told,
            "identity_id": identity,
            "session_id": str(_session_of(ada)),
            "token_id": token["details"]["id"],
        },
        ada=ada_headers,
        eve=_bearer(eve["tokens"]["access_token"]),
        moderator=_bearer(
            tokens.issue(Principal(UUID(moderator["user"]["id"]), "moderator", _session_of(moderator)))
        ),
        expired=_bearer(tokens.issue(Principal(UUID(ada["user"]["id"]), "student"), past)),
        deleted=gone_headers,
        deleted_id=gone["user"]["id"],
    )


async def _register(client: httpx.AsyncClient) -> Any:
    body = {"email": f"{uuid4()}@example.com", "password": PASSWORD, "display_name": "Ada"}
    made = await client.post("/api/v1/auth/register", json=body)
    assert made.status_code == 201, made.text
    return made.json()


async def _made(client: httpx.AsyncClient, path: str, body: Any, headers: dict[str, str]) -> Any:
    made = await client.post(path, json=body, headers=headers)
    assert made.status_code == 201, made.text
    return made.json()


async def _content(client: httpx.AsyncClient, headers: dict[str, str]) -> dict[str, str]:
    """A draft, which its creator and moderators see, and its creator's comment on it."""
    video = await _made(client, "/api/v1/videos", NEW_VIDEO, headers)
    body = {"video_id": video["id"], "text": "Not yet."}
    comment = await _made(client, "/api/v1/comments", body, headers)
    return {"video_id": video["id"], "comment_id": comment["id"]}


async def _tell(app: FastAPI, user_id: UUID) -> str:
    async with app.state.resources.database.session(user_id) as session:
        row = await notifications.create(session, user_id=user_id, kind="test", title="T")
    return str(row.id)


async def _read(app: FastAPI, user_id: UUID, document_id: UUID) -> str:
    """Give a document a passage, as a worker would."""
    chunk = NewChunk(uuid4(), 0, "Cells.", "0" * 64, 2, 0, 6)
    async with app.state.resources.database.session(user_id) as session:
        await document_chunks.replace_all(session, user_id=user_id, document_id=document_id, chunks=[chunk])
    return str(chunk.id)


async def _link(app: FastAPI, user_id: UUID) -> str:
    issuer = "https://accounts.example.com"
    async with app.state.resources.database.session(user_id) as session:
        row = await external_identities.create(
            session, user_id=user_id, issuer=issuer, subject=str(user_id), email=None
        )
    return str(row.id)


async def _promote(postgres: Any, user_id: str) -> None:
    connection = await asyncpg.connect(postgres.owner_url)
    try:
        await connection.execute("UPDATE users SET role = 'moderator' WHERE id = $1", UUID(user_id))
    finally:
        await connection.close()


def _session_of(account: Any) -> UUID:
    claims = jwt.decode(account["tokens"]["access_token"], options={"verify_signature": False})
    return UUID(claims["sid"])


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


Ask = Callable[..., Awaitable[httpx.Response]]


@pytest.fixture
def ask(client: httpx.AsyncClient) -> Ask:
    async def send(row: Row, ids: dict[str, str], headers: dict[str, str]) -> httpx.Response:
        path = row.path.replace(":path", "").format(**{"model": "tiny", "page": 1, **ids})
        return await client.request(
            row.method,
            path,
            params=_named(row.query, ids),
            json=_named(row.body, ids),
            content=row.content,
            files=row.files,
            headers={**headers, "Content-Type": "text/calendar"} if row.content else headers,
        )

    return send


def _named(fields: Any, ids: dict[str, str]) -> Any:
    """Put ids in the place of their names."""
    if fields is None:
        return None
    named = {f"{{{name}}}": one for name, one in ids.items()}
    return {
        name: named.get(value, value) if isinstance(value, str) else value for name, value in fields.items()
    }


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


@pytest.mark.parametrize(("row", "asker"), REFUSED)
async def test_somebody_elses_thing_looks_like_a_missing_one(
    row: Row, asker: str, world: World, ask: Ask
) -> None:
    headers = world.eve if asker == "other" else world.moderator
    theirs = await ask(row, world.ids, headers)
    nobodys = await ask(row, {name: str(uuid4()) for name in world.ids}, headers)
    assert_problem(theirs, row, row.other if asker == "other" else row.moderator)  # type: ignore[arg-type]
    assert _told(theirs) == _told(nobodys)


def test_every_list_is_somebodys(app: FastAPI) -> None:
    """A list shows one's own things, or is refused to others as the matrix says."""
    shows_pages = {
        ("GET", route.path)
        for route in app.routes
        if isinstance(route, APIRoute) and "next_cursor" in getattr(route.response_model, "model_fields", {})
    }
    listed = {row.key for row in ROWS if row.lists}
    assert len(listed) == 11
    assert listed < shows_pages
    others = {row.key: row for row in OWNED}
    assert all(others[key].other in (403, 404) for key in shows_pages - listed)


@by_key([row for row in ROWS if row.lists])
async def test_a_list_shows_nothing_of_somebody_elses(row: Row, world: World, ask: Ask) -> None:
    """Not to another user, nor to a moderator; who has something sees it."""
    mine = await _listed(row, world, world.ada, ask)
    assert mine, "nothing is listed"
    assert not mine & await _listed(row, world, world.eve, ask)
    # Of all lists, moderators see more than others in the feed.
    moderators = await _listed(row, world, world.moderator, ask)
    assert bool(mine & moderators) == (row.path == "/api/v1/videos")


async def _listed(row: Row, world: World, headers: dict[str, str], ask: Ask) -> set[str]:
    shown = await ask(row, world.ids, headers)
    assert shown.status_code == 200, shown.text
    # Only the feed is longer than a page, and its newest come first.
    assert shown.json()["next_cursor"] is None or row.path == "/api/v1/videos"
    return {one["id"] for one in shown.json()["items"]}


@by_key([row for row in OWNED if row.moderator is not None and row.moderator < 400])
async def test_what_a_moderator_may(row: Row, world: World, ask: Ask, client: httpx.AsyncClient) -> None:
    ids = {**world.ids, **await _content(client, world.ada)}
    done = await ask(row, ids, world.moderator)
    assert done.status_code == row.moderator, done.text
    if row.other == 404:
        nobodys = await ask(row, {name: str(uuid4()) for name in ids}, world.moderator)
        assert_problem(nobodys, row, 404)


@by_key([row for row in OWNED if row.method == "GET" and row.other == 404])
async def test_what_is_hidden_is_there(row: Row, world: World, ask: Ask) -> None:
    """After all who tried, the owner still finds it."""
    assert (await ask(row, world.ids, world.ada)).status_code == row.owner


@by_key([row for row in ROWS if row.method == "GET"])
async def test_head_answers_as_get(row: Row, world: World, ask: Ask) -> None:
    got = await ask(row, world.ids, world.ada)
    head = await ask(replace(row, method="HEAD"), world.ids, world.ada)
    assert (head.status_code, head.content) == (got.status_code, b"")
    assert head.headers.get("content-type") == got.headers.get("content-type")


async def test_what_is_only_listed_is_there(world: World, client: httpx.AsyncClient) -> None:
    for name, path in (
        ("session_id", "/api/v1/auth/sessions"),
        ("token_id", "/api/v1/auth/tokens"),
        ("identity_id", "/api/v1/auth/identities"),
        ("feed_id", "/api/v1/planner/feeds"),
        ("notification_id", "/api/v1/notifications"),
    ):
        items = (await client.get(path, headers=world.ada)).json()["items"]
        (item,) = [one for one in items if one["id"] == world.ids[name]]
        assert {item.get("revoked_at"), item.get("read_at")} == {None}


def _told(response: httpx.Response) -> tuple[int, dict[str, Any], set[str]]:
    body = {**response.json(), "instance": "", "request_id": ""}
    return response.status_code, body, set(response.headers)
