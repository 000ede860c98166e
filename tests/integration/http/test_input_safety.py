"""Hostile input in every text of every body is refused as a problem, or stored and given back as it is."""

import json
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from little_monster.db.repositories.users import find_login
from little_monster.db.session import Database
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

IGNORE_MORE = ("/v1/embeddings", "/v1/moderations")


def is_fine(response: httpx.Response, path: str) -> bool:
    """Say whether it is an answer that the API gives on purpose."""
    if response.status_code < 400:
        return True
    kind = "application/json" if path.startswith("/v1/") else "application/problem+json"
    return response.status_code < 500 and response.headers["content-type"] == kind


Send = Callable[..., Awaitable[httpx.Response]]


@pytest.fixture
async def ids(client: httpx.AsyncClient, account: Any) -> dict[str, str]:
    files = {"file": ("a.txt", uuid4().hex.encode())}
    added = await client.post("/api/v1/documents/upload", files=files, headers=account.headers)
    begun = await client.post("/api/v1/chat/conversations", json={}, headers=account.headers)
    return {
        "user_id": "me",
        "document_id": added.json()["document"]["id"],
        "conversation_id": begun.json()["id"],
    }


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
def all_operations(app: FastAPI) -> list[Operation]:
    found = [one for one in operations(app.openapi()) if one.example is not None]
    with_body = [route for route in app.routes if isinstance(route, APIRoute) and route.body_field]
    assert len(found) == len(with_body) > 10
    return found


@pytest.fixture(autouse=True)
def _unlimited(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let more through than one user sends in a minute: what is refused for that is not read."""

    async def hit(*_args: Any) -> None:
        return None

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
    assert sent > 15


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


async def test_sql_in_every_place_leaves_the_tables_alone(
    client: httpx.AsyncClient, account: Any, database: Database
) -> None:
    sql = HOSTILE["sql"]
    for path in ("/api/v1/documents", "/api/v1/jobs", "/api/v1/chat/conversations"):
        for name in ("cursor", "limit", "status", "subject", "context_type", "unknown"):
            answer = await client.get(path, params={name: sql}, headers=account.headers)
            assert answer.status_code in (200, 422), answer.text
        gone = await client.get(f"{path}/{sql}", headers=account.headers)
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
