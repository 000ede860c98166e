"""Hostile input in every text of every body is refused as a problem, or stored and given back as it is."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from little_monster.db.repositories import notifications
from little_monster.db.repositories.users import find_login
from little_monster.db.session import Database
from little_monster.platform.rate_limits import Decision
from tests.fixtures.operations import Operation, operations, replaced, texts

HOSTILE = {
    "sql": "'); DROP TABLE users; --",
    "sql union": "' UNION SELECT password_hash FROM users WHERE '1'='1",
    "html": "<script>alert(document.cookie)</script><img src=x onerror=alert(1)>",
    "template": "{{7*7}} ${7*7} %s %(a)s {0}",
    "format": "%00 \\x00 \\u0000 &#0; \r\n\t\v Set-Cookie: a=b",
    "direction": "\u202egnp.exe\u202c \u200b\ufeff e\u0301",
    "beyond": "\U0001d56c\U0001d589\U0001d586 \U0001f469\u200d\U0001f52c \U0010ffff",
    "path": "../../../../etc/passwd",
}
REFUSED = {"nul": "a\x00b", "half": "a\ud800b"}

LISTED_BY = ("cursor", "limit", "status", "subject", "context_type", "unknown", "q", "tags", "sort")
LISTED_BY += ("created_by", "difficulty", "video_id", "from", "to", "type", "is_completed", "unread")
IGNORE_MORE = ("/v1/embeddings", "/v1/moderations")


def is_fine(response: httpx.Response, path: str) -> bool:
    """Say whether it is an answer that the API gives on purpose."""
    if response.status_code < 400:
        return True
    kind = "application/json" if path.startswith("/v1/") else "application/problem+json"
    return response.status_code < 500 and response.headers["content-type"] == kind


Send = Callable[..., Awaitable[httpx.Response]]


@pytest.fixture
async def account(register_as: Callable[[str], Awaitable[Any]]) -> Any:
    """A moderator, to whom every route is open."""
    return await register_as("moderator")


@pytest.fixture
async def ids(client: httpx.AsyncClient, account: Any, database: Database) -> dict[str, str]:
    files = {"file": ("a.txt", uuid4().hex.encode())}
    added = await client.post("/api/v1/documents/upload", files=files, headers=account.headers)
    begun = await client.post("/api/v1/chat/conversations", json={}, headers=account.headers)
    video = await _made(client, account, "videos", title="Cells", topic="Walls", subject="biology")
    comment = await _made(client, account, "comments", video_id=video, text="Clear.")
    event = await _made(client, account, "planner/events", title="Exam", start_date="2026-10-19T09:15:00Z")
    owner = UUID(account.user["id"])
    async with database.session(owner) as session:
        told = await notifications.create(session, user_id=owner, kind="test", title="T")
    return {
        "user_id": "me",
        "video_id": video,
        "comment_id": comment,
        "event_id": event,
        "notification_id": str(told.id),
        "document_id": added.json()["document"]["id"],
        "conversation_id": begun.json()["id"],
    }


async def _made(client: httpx.AsyncClient, account: Any, path: str, **body: Any) -> str:
    made = await client.post(f"/api/v1/{path}", json=body, headers=account.headers)
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


@pytest.fixture
def send(client: httpx.AsyncClient, account: Any, ids: dict[str, str]) -> Send:
    async def send(operation: Operation, body: Any) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {**account.headers, "Content-Type": "application/json"}
        # Registering and ending an account count attempts by address and account.
        return await client.request(
            operation.method, operation.path.format(**ids), content=content, headers=headers
        )

    return send


@pytest.fixture
def all_operations(app: FastAPI, ids: dict[str, str]) -> list[Operation]:
    found = [_of_there(one, ids) for one in operations(app.openapi()) if one.example is not None]
    with_body = [route for route in app.routes if isinstance(route, APIRoute) and route.body_field]
    assert len(found) == len(with_body) > 25
    return found


def _of_there(operation: Operation, ids: dict[str, str]) -> Operation:
    """Let the body name what there is, so that the rest of it is read."""
    named = operation.example.keys() & ids.keys()
    return replace(operation, example={**operation.example, **{name: ids[name] for name in named}})


@pytest.fixture(autouse=True)
def _unlimited(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let more through than one user sends in a minute: what is refused for that is not read."""

    async def hit(name: str, _key: str, limit: int) -> Decision:
        return Decision(name, allowed=True, limit=limit, remaining=limit, reset_s=60)

    monkeypatch.setattr(app.state.resources.limiter, "hit", hit)


@pytest.mark.parametrize("kind", [*HOSTILE, *REFUSED])
async def test_every_text_of_every_body(all_operations: list[Operation], send: Send, kind: str) -> None:
    hostile = (HOSTILE | REFUSED)[kind]
    sent = 0
    for operation in all_operations:
        for place in texts(operation.example):
            response = await send(operation, replaced(operation.example, place, hostile))
            assert is_fine(response, operation.path), (operation.path, place, response.text)
            # What /v1 gets goes to the engine as it is.
            if kind in REFUSED and operation.path.startswith("/api/"):
                assert response.status_code in (400, 422), (operation.path, place, response.text)
            sent += 1
    assert sent > 45


@pytest.mark.parametrize("kind", HOSTILE)
async def test_what_is_kept_is_given_back_as_it_is(
    client: httpx.AsyncClient, account: Any, ids: dict[str, str], kind: str
) -> None:
    text = HOSTILE[kind]
    kept = text.strip()
    document, conversation = (
        f"/api/v1/documents/{ids['document_id']}",
        f"/api/v1/chat/conversations/{ids['conversation_id']}",
    )
    profile = {"display_name": text, "subjects": [text[:50]], "preferences": {text: {"a": [text]}}}
    for path, body in (
        ("/api/v1/users/me", profile),
        (document, {"title": text}),
        (conversation, {"title": text}),
    ):
        assert (await client.patch(path, json=body, headers=account.headers)).status_code == 200
    shown = await client.get("/api/v1/users/me", headers=account.headers)
    assert shown.headers["content-type"] == "application/json"
    assert shown.headers["x-content-type-options"] == "nosniff"
    assert shown.json()["display_name"] == kept
    assert shown.json()["subjects"] == [text[:50].strip()]
    assert shown.json()["preferences"] == {text: {"a": [text]}}
    for path in (document, conversation):
        assert (await client.get(path, headers=account.headers)).json()["title"] == kept
    asked = await client.post(f"{conversation}/messages", json={"content": text}, headers=account.headers)
    assert asked.status_code == 200
    messages = (await client.get(conversation, headers=account.headers)).json()["messages"]
    assert messages[0]["content"] == kept


@pytest.mark.parametrize("kind", HOSTILE)
async def test_what_others_read_is_given_back_as_it_is(
    client: httpx.AsyncClient, account: Any, ids: dict[str, str], kind: str
) -> None:
    text = HOSTILE[kind]
    kept, tag = text.strip(), text[:40].strip().lower()
    video, comment = f"/api/v1/videos/{ids['video_id']}", f"/api/v1/comments/{ids['comment_id']}"
    event = f"/api/v1/planner/events/{ids['event_id']}"
    # A calendar file has no control characters, and ends of lines of one kind.
    line, shown_line = text.replace("\v", ""), text.replace("\v", "").replace("\r\n", "\n")
    for path, sent, shown in (
        (video, {"title": text, "topic": text, "tags": [tag]}, {"title": kept, "topic": kept, "tags": [tag]}),
        (comment, {"text": text}, {"text": kept}),
        (
            event,
            {"title": line, "location": line, "description": line},
            {"title": shown_line.strip(), "location": shown_line.strip(), "description": shown_line},
        ),
    ):
        changed = await client.patch(path, json=sent, headers=account.headers)
        assert changed.status_code == 200, changed.text
        found = (await client.get(path, headers=account.headers)).json()
        assert {name: found[name] for name in shown} == shown
    decision = {"status": "rejected", "reason": text}
    judged = await client.patch(
        f"/api/v1/moderation/comments/{ids['comment_id']}", json=decision, headers=account.headers
    )
    assert judged.json()["moderation_reason"] == kept
    body = {"name": text, "scopes": ["read"]}
    token = await client.post("/api/v1/auth/tokens", json=body, headers=account.headers)
    assert token.json()["details"]["name"] == kept
    query = {"q": text, "tags": tag, "status": "draft"}
    found = await client.get("/api/v1/videos", params=query, headers=account.headers)
    assert found.status_code == 200, found.text


@pytest.mark.parametrize("kind", [*HOSTILE, "nul"])
async def test_a_hostile_calendar(client: httpx.AsyncClient, account: Any, kind: str) -> None:
    text = (HOSTILE | REFUSED)[kind]
    for name in (
        "UID",
        "SUMMARY",
        "DESCRIPTION",
        "RRULE",
        "DTSTART",
        "DTEND",
        "EXDATE",
        "X-WR-CALNAME",
        text,
    ):
        entry = {"UID": uuid4().hex, "DTSTART": "20261019T091500Z", "SUMMARY": "Exam", name: text}
        lines = "".join(f"{key}:{value}\r\n" for key, value in entry.items())
        file = f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\n{lines}END:VEVENT\r\nEND:VCALENDAR\r\n"
        for zone in ("UTC", text):
            sent = await client.post(
                "/api/v1/planner/import",
                params={"time_zone": zone},
                content=file.encode(),
                headers={**account.headers, "Content-Type": "text/calendar"},
            )
            assert sent.status_code in (200, 422), (name, zone, sent.text)
            assert is_fine(sent, "/api/v1/planner/import")
    listed = await client.get("/api/v1/planner/events", headers=account.headers)
    for event in listed.json()["items"]:
        assert "\x00" not in "".join(str(value) for value in event.values())


async def test_sql_in_every_place_leaves_the_tables_alone(
    client: httpx.AsyncClient, account: Any, database: Database
) -> None:
    sql = HOSTILE["sql"]
    for method, path in (
        ("GET", "/api/v1/documents"),
        ("GET", "/api/v1/jobs"),
        ("GET", "/api/v1/chat/conversations"),
        ("GET", "/api/v1/videos"),
        ("GET", "/api/v1/comments"),
        ("PATCH", "/api/v1/moderation/comments"),
        ("GET", "/api/v1/planner/events"),
        ("DELETE", "/api/v1/planner/feeds"),
        ("PATCH", "/api/v1/notifications"),
        ("DELETE", "/api/v1/auth/sessions"),
        ("DELETE", "/api/v1/auth/tokens"),
    ):
        for name in LISTED_BY:
            answer = await client.get(path, params={name: sql}, headers=account.headers)
            assert answer.status_code in (200, 422), answer.text
        gone = await client.request(method, f"{path}/{sql}", json={"read": True}, headers=account.headers)
        assert gone.status_code in (404, 422)
    login = {"email": "' OR '1'='1'@example.com", "password": sql}
    assert (await client.post("/api/v1/auth/login", json=login)).status_code in (401, 422)
    async with database.session(None) as session:
        assert await find_login(session, account.email) is not None
        assert await find_login(session, "' OR '1'='1") is None


def _nested(depth: int, opening: bytes, closing: bytes) -> bytes:
    return opening * depth + b"1" + closing * depth


@pytest.mark.parametrize("depth", [100, 300, 900, 10_000])
@pytest.mark.parametrize("shape", ["arrays", "objects"])
async def test_deep_json(all_operations: list[Operation], send: Send, depth: int, shape: str) -> None:
    opening, closing = (b"[", b"]") if shape == "arrays" else (b'{"a":', b"}")
    deep = _nested(depth, opening, closing)
    for operation in all_operations:
        whole = await send(operation, deep)
        assert whole.status_code in (400, 422), (operation.path, whole.text)
        assert is_fine(whole, operation.path)
        for name in operation.example:
            rest = {key: value for key, value in operation.example.items() if key != name}
            body = (
                json.dumps(rest).encode()[:-1]
                + (b", " if rest else b"")
                + f'"{name}": '.encode()
                + deep
                + b"}"
            )
            inner = await send(operation, body)
            assert is_fine(inner, operation.path), (operation.path, name, inner.text)
            assert inner.status_code in (400, 422), (operation.path, name, inner.text)
        added = await send(
            operation, json.dumps(operation.example).encode()[:-1] + b', "zzz": ' + deep + b"}"
        )
        assert is_fine(added, operation.path), (operation.path, added.text)
        assert added.status_code in (400, 422) or operation.path in IGNORE_MORE


@pytest.mark.parametrize(
    "number", ["1" * 30, "1" * 5000, "-" + "9" * 400, "1e400", "-1e400", "NaN", "-Infinity", "0.1e-400"]
)
async def test_enormous_numbers(all_operations: list[Operation], send: Send, number: str) -> None:
    for operation in all_operations:
        names = [*operation.example, "limit", "dimensions", "max_tokens", "temperature", "seed"]
        for name in dict.fromkeys(names):
            rest = {key: value for key, value in operation.example.items() if key != name}
            content = json.dumps(rest)[:-1] + (", " if rest else "") + f'"{name}": {number}}}'
            response = await send(operation, content.encode())
            assert is_fine(response, operation.path), (operation.path, name, response.text)


@pytest.mark.parametrize("value", [None, True, 0, -1, 1.5, "", [], {}, [[]], [None], {"a": None}])
async def test_wrong_types(all_operations: list[Operation], send: Send, value: Any) -> None:
    for operation in all_operations:
        whole = await send(operation, value)
        assert is_fine(whole, operation.path), (operation.path, whole.text)
        for name in operation.example:
            response = await send(operation, {**operation.example, name: value})
            assert is_fine(response, operation.path), (operation.path, name, response.text)


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/documents/%00",
        "/api/v1/documents/..%2f..%2fetc%2fpasswd",
        "/api/v1/jobs/" + "9" * 5000,
        "/api/v1/users/%ff%fe",
        "/api/v1/chat/conversations/00000000-0000-0000-0000-000000000000",
        "/api/v1/jobs?limit=" + "9" * 400,
        "/api/v1/jobs?cursor=%00",
        "/api/v1/jobs?cursor=%F0%9F%91%A9",
        "/v1/models/%00%ff",
        "/api/v1/videos/%00",
        "/api/v1/videos?q=%00",
        "/api/v1/videos?tags=%00",
        "/api/v1/videos?sort=most_viewed&cursor=" + "9" * 400,
        "/api/v1/videos?sort=top_rated&cursor=%F0%9F%91%A9",
        "/api/v1/comments?video_id=%00",
        "/api/v1/comments/" + "9" * 5000,
        "/api/v1/ratings/user/%00/video/..%2f..",
        "/api/v1/planner/events/%ff%fe",
        "/api/v1/planner/events?from=%00&to=9999-12-31T23:59:59-23:59",
        "/api/v1/planner/events?from=0001-01-01T00:00:00%2B23:59&to=0001-01-02T00:00:00%2B23:59",
        "/api/v1/planner/calendar/%00.ics",
        "/api/v1/planner/calendar/" + "A" * 64 + ".ics",
        "/api/v1/planner/calendar/%F0%9F%91%A9.ics",
    ],
)
async def test_hostile_paths(client: httpx.AsyncClient, account: Any, path: str) -> None:
    response = await client.get(path, headers=account.headers)
    assert response.status_code in (404, 422), response.text
    assert is_fine(response, path)


async def test_a_hostile_file_name(client: httpx.AsyncClient, account: Any) -> None:
    for name in (*HOSTILE.values(), "a\x00.txt", "..", "x" * 5000):
        files = {"file": (f"{name}.txt", uuid4().hex.encode())}
        sent = await client.post("/api/v1/documents/upload", files=files, headers=account.headers)
        assert sent.status_code in (202, 415, 422), sent.text
        assert is_fine(sent, "/api/v1/")
